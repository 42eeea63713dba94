"""Challenges answered and validated by http-01 (acme.md C40, C73 to C77, C80, E1, E13)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.acme import challenges
from gateway.acme.tables import authorizations
from gateway.acme.tables.authorizations import INVALID, VALID
from gateway.store.store import Store
from tests.support import pki
from tests.support.acme_responders import Http01Responder, http01_responder
from tests.support.ports import spare_port
from tests.unit.acme.answering import challenge_of, http_challenge, look_out, looking_house, settled
from tests.unit.acme.authorized import row_of
from tests.unit.acme.house import House, SetClock, document, header, problem


@pytest.fixture
def responder() -> Iterator[Http01Responder]:
    with http01_responder(spare_port()) as running:
        yield running


@pytest_asyncio.fixture
async def looking(
    tmp_path: Path, store: Store, clock: SetClock, responder: Http01Responder
) -> AsyncIterator[House]:
    opened = looking_house(tmp_path, store, clock, http_port=responder.port)
    yield opened
    await opened.aclose()


async def test_answered_challenge_is_validated_and_makes_its_authorization_valid(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md C73, C76, C80"""
    client, url, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key, gate=threading.Event())
    answer = await client.post(challenge["url"], {})
    shown = document(answer)
    assert (answer.status, shown["status"]) == (200, "processing")
    assert (header(answer, "Link"), header(answer, "Retry-After")) == (f'<{url}>;rel="up"', "1")
    assert page.gate is not None
    page.gate.set()
    row = await settled(looking, client, url)
    assert row.status == VALID
    assert row.expires_at == looking.clock.now() + timedelta(days=30)
    assert row.evidence is not None
    assert row.evidence["urls"] == [f"http://a.test/.well-known/acme-challenge/{row.token}"]
    assert row.evidence["addresses"] == [f"127.0.0.1:{responder.port}"]
    assert [(one.host, one.path) for one in responder.asked] == [
        ("a.test", f"/.well-known/acme-challenge/{row.token}")
    ]
    final = document(await client.post(url))
    assert (final["status"], len(final["challenges"])) == ("valid", 1)
    assert "validated" in final["challenges"][0]


async def test_answer_to_the_post_tells_the_result_where_it_is_there_at_once(
    looking: House, responder: Http01Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """acme.md C73: nobody has to ask again."""
    monkeypatch.setattr(challenges, "_WAIT_S", 60)
    client, _, challenge = await http_challenge(looking)
    responder.answer(challenge["token"], client.key)
    answer = await client.post(challenge["url"], {})
    assert (answer.status, document(answer)["status"]) == (200, "valid")
    assert header(answer, "Retry-After") is None
    order = document(await client.new_order(["a.test"]))
    assert order["status"] == "pending"  # of this order's own, another authorization


async def test_reading_a_challenge_does_not_start_it(looking: House, responder: Http01Responder) -> None:
    """acme.md C40"""
    client, url, challenge = await http_challenge(looking)
    responder.answer(challenge["token"], client.key)
    answer = await client.post(challenge["url"])
    assert (answer.status, document(answer)["status"]) == (200, "pending")
    assert header(answer, "Retry-After") is None
    await asyncio.sleep(0.05)
    assert (await row_of(looking, client, url)).status == authorizations.PENDING
    assert not responder.asked


@pytest.mark.parametrize("payload", [[], "x", 1, True, [{}]])
async def test_payload_that_is_no_object_is_malformed(
    looking: House, responder: Http01Responder, payload: object
) -> None:
    """acme.md C73"""
    client, url, challenge = await http_challenge(looking)
    answer = await client.post(challenge["url"], payload)
    assert (answer.status, problem(answer)) == (400, "malformed")
    assert (await row_of(looking, client, url)).status == authorizations.PENDING


async def test_members_of_old_clients_are_tolerated(looking: House, responder: Http01Responder) -> None:
    """acme.md C73"""
    client, url, challenge = await http_challenge(looking)
    responder.answer(challenge["token"], client.key)
    answer = await client.post(
        challenge["url"], {"resource": "challenge", "keyAuthorization": "x", "type": "http-01"}
    )
    assert answer.status == 200
    assert (await settled(looking, client, url)).status == VALID


@pytest.mark.parametrize("right", [True, False])
async def test_challenge_that_has_its_result_is_not_started_again(
    looking: House, responder: Http01Responder, right: bool
) -> None:
    """acme.md C74"""
    client, url, challenge = await http_challenge(looking)
    if right:
        responder.answer(challenge["token"], client.key)
    else:
        responder.show(challenge["token"], b"something else")
    await client.post(challenge["url"], {})
    row = await settled(looking, client, url)
    answer = await client.post(challenge["url"], {})
    assert (answer.status, document(answer)["status"]) == (200, row.status)
    assert header(answer, "Retry-After") is None
    await asyncio.sleep(0.05)
    assert (await row_of(looking, client, url)) == row
    assert responder.times_asked(challenge["token"]) == 1


async def test_other_challenge_of_an_answered_authorization_is_refused(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md C74"""
    client, url, challenge = await http_challenge(looking)
    other = await challenge_of(client, url, "tls-alpn-01")
    responder.answer(challenge["token"], client.key)
    await client.post(challenge["url"], {})
    await settled(looking, client, url)
    answer = await client.post(other["url"], {})
    assert (answer.status, problem(answer)) == (400, "malformed")
    assert "http-01" in document(answer)["detail"]


async def test_challenge_of_an_expired_or_deactivated_authorization_is_refused(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md C75"""
    client, url, challenge = await http_challenge(looking)
    assert (await client.post(url, {"status": "deactivated"})).status == 200
    answer = await client.post(challenge["url"], {})
    assert (answer.status, problem(answer)) == (400, "malformed")
    assert "deactivated" in document(answer)["detail"]
    _, _, late = await http_challenge(looking, "b.test")
    client, _, late = await http_challenge(looking, "c.test")
    looking.clock.advance(days=8)
    client.nonce = None
    answer = await client.post(late["url"], {})
    assert (answer.status, problem(answer)) == (400, "malformed")
    assert "expired" in document(answer)["detail"]
    assert not responder.asked


async def test_challenge_type_that_is_not_offered_is_not_found(looking: House) -> None:
    client, _, challenge = await http_challenge(looking)
    answer = await client.post(challenge["url"].replace("http-01", "device-attest-01"), {})
    assert (answer.status, problem(answer)) == (404, "malformed")


async def test_fifty_answers_at_once_are_one_validation(looking: House, responder: Http01Responder) -> None:
    """acme.md C74, E13: 50 parallel challenge posts, one validation."""
    client, url, challenge = await http_challenge(looking)
    responder.answer(challenge["token"], client.key)
    nonces = [await client.new_nonce() for _ in range(50)]
    answers = await asyncio.gather(*(client.post(challenge["url"], {}, nonce=nonce) for nonce in nonces))
    assert {answer.status for answer in answers} == {200}
    assert {document(answer)["status"] for answer in answers} <= {"processing", "valid"}
    assert (await settled(looking, client, url)).status == VALID
    assert responder.times_asked(challenge["token"]) == 1


async def test_wrong_content_fails_at_once_and_is_not_shown(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md C77, E1: the text tells where and what to do, without the body."""
    client, url, challenge = await http_challenge(looking, endpoint="again")
    responder.show(challenge["token"], b"internal secret page $(id)")
    await client.post(challenge["url"], {})
    row = await settled(looking, client, url)
    assert (row.status, row.evidence) == (INVALID, {"attempts": 1})
    final = document(await client.post(url))
    error = final["challenges"][0]["error"]
    assert (final["status"], error["type"]) == ("invalid", "urn:ietf:params:acme:error:incorrectResponse")
    assert error["status"] == 400
    assert "secret" not in error["detail"]
    assert f"http://a.test/.well-known/acme-challenge/{row.token}" in error["detail"]
    assert "thumbprint" in error["detail"]
    assert len(final["challenges"]) == 1


async def test_thumbprint_of_another_account_key_is_told(looking: House, responder: Http01Responder) -> None:
    client, url, challenge = await http_challenge(looking)
    responder.answer(challenge["token"], pki.key())
    await client.post(challenge["url"], {})
    row = await settled(looking, client, url)
    assert row.error is not None
    assert "another account key" in str(row.error["detail"])


@pytest.mark.parametrize("tail", [b"\n", b" \r\n\t"])
async def test_white_space_at_the_end_is_ignored(
    looking: House, responder: Http01Responder, tail: bytes
) -> None:
    """acme.md C80"""
    client, url, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key)
    page.body += tail
    await client.post(challenge["url"], {})
    assert (await settled(looking, client, url)).status == VALID


@pytest.mark.parametrize("change", [lambda body: b" " + body, lambda body: body + b"x" * 2000, lambda _: b""])
async def test_key_authorization_with_anything_else_is_wrong(
    looking: House, responder: Http01Responder, change: Any
) -> None:
    client, url, challenge = await http_challenge(looking)
    page = responder.answer(challenge["token"], client.key)
    page.body = change(page.body)
    await client.post(challenge["url"], {})
    assert (await settled(looking, client, url)).status == INVALID


async def test_status_other_than_200_is_unauthorized(looking: House, responder: Http01Responder) -> None:
    client, url, challenge = await http_challenge(looking)
    responder.answer(challenge["token"], client.key, status=403)
    await client.post(challenge["url"], {})
    row = await settled(looking, client, url)
    assert row.error is not None
    assert row.error["type"] == "urn:ietf:params:acme:error:unauthorized"
    assert "status 403" in str(row.error["detail"])


async def test_nobody_listening_is_a_connection_error(looking: House) -> None:
    client, url, challenge = await http_challenge(looking)
    look_out(looking, http_port=spare_port())
    await client.post(challenge["url"], {})
    row = await settled(looking, client, url)
    assert row.error is not None
    assert row.error["type"] == "urn:ietf:params:acme:error:connection"
    assert "connection refused" in str(row.error["detail"])


async def test_loopback_without_the_lab_switch_is_a_connection_error(
    looking: House, responder: Http01Responder
) -> None:
    """acme.md C80, E1"""
    client, url, challenge = await http_challenge(looking)
    responder.answer(challenge["token"], client.key)
    look_out(looking, http_port=responder.port, allow_loopback=False)
    await client.post(challenge["url"], {})
    row = await settled(looking, client, url)
    assert row.error is not None
    assert row.error["type"] == "urn:ietf:params:acme:error:connection"
    assert "127.0.0.1 is loopback" in str(row.error["detail"])
    assert not responder.asked


async def test_ip_identifier_is_fetched_with_brackets(looking: House, responder: Http01Responder) -> None:
    """acme.md B8, C80: RFC 8738 section 4. The responder has no IPv6, so nobody is there."""
    client, url, challenge = await http_challenge(looking, "127.0.0.1", kind="ip")
    responder.answer(challenge["token"], client.key)
    await client.post(challenge["url"], {})
    assert (await settled(looking, client, url)).status == VALID
    assert responder.asked[0].host == "127.0.0.1"
    client, url, challenge = await http_challenge(looking, "::1", kind="ip")
    await client.post(challenge["url"], {})
    row = await settled(looking, client, url)
    assert row.error is not None
    assert f"http://[::1]/.well-known/acme-challenge/{row.token}" in str(row.error["detail"])


async def test_redirects_are_written_down(looking: House, responder: Http01Responder) -> None:
    """acme.md F: the chain is evidence."""
    client, url, challenge = await http_challenge(looking)
    there = f"http://b.test/.well-known/acme-challenge/{challenge['token']}-there"
    responder.show(challenge["token"], b"", status=302, headers=(("Location", there),))
    page = responder.answer(challenge["token"], client.key)
    responder.pages[f"{challenge['token']}-there"] = page
    responder.show(challenge["token"], b"", status=302, headers=(("Location", there),))
    await client.post(challenge["url"], {})
    row = await settled(looking, client, url)
    assert row.status == VALID
    assert (row.evidence or {})["urls"] == [f"http://a.test/.well-known/acme-challenge/{row.token}", there]
