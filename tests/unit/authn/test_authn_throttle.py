"""Bounds on guessing: buckets, their keys, and what a success gives back."""

from __future__ import annotations

import asyncio

import pytest

from gateway.authn.throttle import (
    PER_ADDRESS,
    PER_USER,
    PER_USER_AND_ADDRESS,
    Attempts,
    FailureThrottle,
)
from gateway.token_buckets import Allowance, TokenBuckets, source_of


class Now:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def __call__(self) -> float:
        return self.at_s


def test_bucket_is_empty_after_its_burst_and_refills_at_its_rate() -> None:
    now = Now()
    buckets = TokenBuckets(now, Allowance(burst=2, per_s=0.5))
    for _ in range(2):
        assert buckets.retry_after_s("a") == 0
        buckets.take("a")
    assert buckets.retry_after_s("a") == 3
    assert buckets.retry_after_s("b") == 0
    now.at_s += 2
    assert buckets.retry_after_s("a") == 0


def test_what_is_given_back_can_be_taken_again_and_never_exceeds_the_burst() -> None:
    buckets = TokenBuckets(Now(), Allowance(burst=1, per_s=0.001))
    buckets.take("a")
    buckets.give_back("a")
    buckets.give_back("a")
    assert buckets.retry_after_s("a") == 0
    buckets.take("a")
    assert buckets.retry_after_s("a") > 0


def test_least_recently_used_bucket_is_forgotten_beyond_the_size() -> None:
    buckets = TokenBuckets(Now(), Allowance(burst=1, per_s=0.001), size=2)
    for key in ("a", "b", "a", "c"):
        buckets.take(key)
    assert buckets.retry_after_s("a") > 0
    assert buckets.retry_after_s("b") == 0


def test_user_is_bounded_over_all_addresses() -> None:
    throttle = FailureThrottle(Now())
    for number in range(PER_USER.burst):
        assert throttle.charge("anna", f"192.0.2.{number}") == 0
    assert throttle.charge("anna", "198.51.100.1") > 0
    assert throttle.charge("berta", "198.51.100.1") == 0


def test_user_without_a_bound_of_its_own_is_bounded_at_each_address() -> None:
    throttle = FailureThrottle(Now(), per_user=False)
    for number in range(PER_USER.burst * 2):
        assert throttle.charge("kid", f"192.0.{number}.1") == 0
    for _ in range(PER_USER_AND_ADDRESS.burst - 1):
        assert throttle.charge("kid", "192.0.7.1") == 0
    assert throttle.charge("kid", "192.0.7.1") > 0
    throttle.give_back("kid", "192.0.7.1")
    assert throttle.charge("kid", "192.0.7.1") == 0


def test_address_is_bounded_over_all_users() -> None:
    throttle = FailureThrottle(Now())
    for number in range(PER_ADDRESS.burst):
        assert throttle.charge(f"user-{number}", "192.0.2.1") == 0
    assert throttle.charge("somebody", "192.0.2.1") > 0
    assert throttle.charge("somebody", "192.0.2.2") == 0


@pytest.mark.parametrize("spelling", ["ANNA", " anna ", "Anna"])
def test_other_spelling_of_a_user_gives_no_fresh_attempts(spelling: str) -> None:
    throttle = FailureThrottle(Now())
    for _ in range(PER_USER_AND_ADDRESS.burst):
        throttle.charge("anna", "192.0.2.1")
    assert throttle.charge(spelling, "192.0.2.1") > 0


def test_refused_attempt_costs_nothing_more() -> None:
    now = Now()
    throttle = FailureThrottle(now)
    for _ in range(PER_USER_AND_ADDRESS.burst):
        throttle.charge("anna", "192.0.2.1")
    waits = {throttle.charge("anna", "192.0.2.1") for _ in range(50)}
    assert len(waits) == 1


def test_success_leaves_the_allowance_as_it_was() -> None:
    throttle = FailureThrottle(Now())
    for _ in range(1000):
        assert throttle.charge("fleet", "192.0.2.1") == 0
        throttle.give_back("fleet", "192.0.2.1")


def test_neighbours_in_one_ipv6_network_share_their_attempts() -> None:
    throttle = FailureThrottle(Now())
    for number in range(PER_USER_AND_ADDRESS.burst):
        assert throttle.charge("anna", f"2001:db8:1:2::{number:x}") == 0
    assert throttle.charge("anna", "2001:db8:1:2:ffff::1") > 0
    assert throttle.charge("anna", "2001:db8:1:3::1") == 0


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_source_of_an_address_is_its_site(address: str, source: str) -> None:
    assert source_of(address) == source


async def test_who_goes_away_while_it_waits_keeps_nobody_else_waiting() -> None:
    attempts = Attempts(FailureThrottle(Now(), per_user=False))
    for _ in range(PER_USER_AND_ADDRESS.burst):
        assert await attempts.begin("anna", "192.0.2.1") == 0
    gone, waiting = (asyncio.ensure_future(attempts.begin("anna", "192.0.2.1")) for _ in range(2))
    await asyncio.sleep(0)
    assert not gone.done()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    attempts.end("anna", "192.0.2.1", failed=False)
    assert await waiting == 0


async def test_those_that_wait_are_refused_once_all_verdicts_are_against_them() -> None:
    attempts = Attempts(FailureThrottle(Now(), per_user=False))
    for _ in range(PER_USER_AND_ADDRESS.burst):
        assert await attempts.begin("anna", "192.0.2.1") == 0
    waiting = [asyncio.ensure_future(attempts.begin("anna", "192.0.2.1")) for _ in range(5)]
    await asyncio.sleep(0)
    for _ in range(PER_USER_AND_ADDRESS.burst):
        attempts.end("anna", "192.0.2.1", failed=True)
    assert all(wait_s > 0 for wait_s in await asyncio.gather(*waiting))
    assert await attempts.begin("berta", "192.0.2.1") == 0


async def test_other_addresses_wait_for_nobody() -> None:
    attempts = Attempts(FailureThrottle(Now(), per_user=False))
    for _ in range(PER_USER_AND_ADDRESS.burst):
        assert await attempts.begin("anna", "192.0.2.1") == 0
    assert await attempts.begin("anna", "192.0.2.2") == 0
