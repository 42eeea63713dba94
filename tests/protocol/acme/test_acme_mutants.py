"""Mutants of a good signed request over the wire (acme.md C12-C40, E8): refused, and stored nowhere."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.support.acme_client import AcmeClient
from tests.support.acme_lab import Lab
from tests.support.jws_mutants import Mutant, Target, good, mutants

MUTANTS = mutants()


@pytest.fixture(scope="module")
def target(account: AcmeClient) -> Target:
    assert account.kid is not None
    directory = account.directory
    return Target(account.key, account.kid, directory["newOrder"], directory["newAccount"])


def test_there_are_enough_mutants() -> None:
    """issue 3: at least 200."""
    assert len(MUTANTS) >= 200
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_message_that_they_are_made_from_is_good(account: AcmeClient, target: Target) -> None:
    """acme.md C12-C40: or the refusals would show nothing."""
    assert account.post_body(target.url, good(target, account.take_nonce())).status == 201


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_refused(account: AcmeClient, target: Target, mutant: Mutant) -> None:
    """acme.md C12-C40: status and type as they should be, and a fresh nonce."""
    body = mutant.body(target, account.take_nonce())
    answer = account.post_body(mutant.url(target), body, content_type=mutant.content_type)
    assert (answer.status, answer.problem) in mutant.answers, answer.text
    assert answer.header("Replay-Nonce")
    assert answer.header("Cache-Control") == "no-store"
    detail = answer.json["detail"]
    assert detail.isascii()
    assert len(detail) < 1000


def test_mutants_leave_nothing_but_the_record(lab: Lab, account: AcmeClient, target: Target) -> None:
    """acme.md C38: no account, order, job or certificate; only the audit grows."""
    before = lab.counts()
    for mutant in itertools.islice(MUTANTS, 0, None, 5):
        account.post_body(
            mutant.url(target),
            mutant.body(target, account.take_nonce()),
            content_type=mutant.content_type,
        )
    assert lab.counts() == before


def test_mutants_that_are_not_signed_burn_nobodys_nonce(account: AcmeClient, target: Target) -> None:
    """acme.md C38, E7: one nonce survives every message whose signature is not the account's."""
    nonce = account.new_nonce()
    stranger = account.another()
    message = json.loads(good(target, nonce))
    with stranger:
        for place in range(0, len(message["signature"]) - 2, 4):
            spoiled = list(message["signature"])
            spoiled[place] = "A" if spoiled[place] != "A" else "B"
            body = json.dumps(message | {"signature": "".join(spoiled)}).encode()
            stranger.post_body(target.url, body).refused(400, "malformed")
    assert account.post_body(target.url, good(target, nonce)).status == 201
