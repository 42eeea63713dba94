"""Our senderNonces tell foreign and reused nonces without memory (cmp.md C24-C27, C69)."""

from __future__ import annotations

import pytest

from gateway.cmp.nonces import FollowUp, Nonces

NONCES = Nonces(bytes(range(32)))
TRANSACTION, FIRST, SECOND = b"t" * 16, b"first-nonce-0016", b"second-nonce-016"


def test_nonce_has_sixteen_octets_and_never_comes_twice() -> None:
    made = {NONCES.make(TRANSACTION, FIRST) for _ in range(1000)}
    assert len(made) == 1000
    assert {len(nonce) for nonce in made} == {16}
    assert len({nonce[:4] for nonce in made}) > 990  # nothing of what is inside shows


def test_follow_up_with_our_nonce_and_a_new_one_of_its_own_is_right() -> None:
    ours = NONCES.make(TRANSACTION, FIRST)
    assert NONCES.check(TRANSACTION, ours, SECOND) is FollowUp.RIGHT


def test_another_process_with_the_same_key_knows_the_nonce() -> None:
    ours = Nonces(bytes(range(32))).make(TRANSACTION, FIRST)
    assert NONCES.check(TRANSACTION, ours, SECOND) is FollowUp.RIGHT
    assert Nonces(bytes(32)).check(TRANSACTION, ours, SECOND) is FollowUp.FOREIGN


def test_nonce_of_another_transaction_is_foreign() -> None:
    """cmp.md C25."""
    ours = NONCES.make(b"u" * 16, FIRST)
    assert NONCES.check(TRANSACTION, ours, SECOND) is FollowUp.FOREIGN


@pytest.mark.parametrize("nonce", [None, b"", b"n" * 15, b"n" * 16, b"n" * 17], ids=repr)
def test_nonce_that_is_not_ours_is_foreign(nonce: bytes | None) -> None:
    """cmp.md C25."""
    assert NONCES.check(TRANSACTION, nonce, SECOND) is FollowUp.FOREIGN


def test_each_octet_of_our_nonce_counts() -> None:
    ours = NONCES.make(TRANSACTION, FIRST)
    for position in range(16):
        changed = ours[:position] + bytes((ours[position] ^ 1,)) + ours[position + 1 :]
        assert NONCES.check(TRANSACTION, changed, SECOND) is FollowUp.FOREIGN


def test_nonce_that_the_client_used_in_the_message_before_is_reused() -> None:
    """cmp.md C26."""
    ours = NONCES.make(TRANSACTION, FIRST)
    assert NONCES.check(TRANSACTION, ours, FIRST) is FollowUp.REUSED
    without = NONCES.make(TRANSACTION, None)
    assert NONCES.check(TRANSACTION, without, None) is FollowUp.REUSED
