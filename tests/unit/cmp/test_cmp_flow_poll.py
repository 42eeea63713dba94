"""Waiting requests and polls (RFC 9810 section 5.3.22)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from gateway.model.outcome import State
from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.cmp_client import Reply
from tests.unit.cmp.cmp_house import IMPLICIT, CmpHouse, ir

MakeHouse = Callable[..., CmpHouse]


def ids(reply: Reply) -> list[int]:
    return [int(one["certReqId"]) for one in reply.body["response"]]


@pytest.mark.parametrize(("name", "cert_req_id"), [("ir", 0), ("cr", 0), ("p10cr", -1)])
async def test_waiting_request_is_polled_for(cmp: MakeHouse, name: str, cert_req_id: int) -> None:
    """cmp.md C73: waiting, pollRep with checkAfter, then the answer of the first request's own kind."""
    house, private_key = cmp(), pki.key()
    await house.secret()
    talk = house.talk(endpoint="manual")
    body = pki.device_csr(private_key, "dev.test") if name == "p10cr" else ir(private_key)
    waiting = await talk.send(name, body)
    assert (waiting.outcome, waiting.certificates) == ("waiting", ())
    reply = await talk.send("pollReq", cmp_bodies.poll_request(cert_req_id))
    assert reply.body_name == "pollRep"
    (only,) = reply.body
    assert (int(only["certReqId"]), int(only["checkAfter"])) == (cert_req_id, 5)
    (row,) = await house.rows()
    house.approve(row.id)
    async with house.at_work():
        await house.reaches(row.id, State.UNCONFIRMED)
    final = await talk.send("pollReq", cmp_bodies.poll_request(cert_req_id))
    assert (final.body_name, final.outcome, ids(final)) == (waiting.body_name, "accepted", [cert_req_id])
    assert (await talk.confirm(final.certificate, cert_req_id=cert_req_id)).body_name == "pkiconf"


async def test_poll_for_the_whole_message_answers_for_each_request(cmp: MakeHouse) -> None:
    """cmp.md C73, RFC 9810 5.3.22: -1 stands for all; what is ready comes, the rest is still waiting."""
    house, private_key = cmp(), pki.key()
    await house.secret()
    talk = house.talk(endpoint="manual")
    each = [cmp_bodies.request(private_key, f"{number}.test", cert_req_id=number) for number in (0, 1)]
    await talk.send("ir", cmp_bodies.requests(*each))
    row = (await house.rows())[0]
    house.approve(row.id)
    async with house.at_work():
        await house.reaches(row.id, State.UNCONFIRMED)
    reply = await talk.send("pollReq", cmp_bodies.poll_request(-1))
    assert sorted(one.status for one in reply.statuses) == ["accepted", "waiting"]


async def test_implicit_confirm_of_the_first_message_holds_in_a_poll(cmp: MakeHouse) -> None:
    """cmp.md C72"""
    house = cmp()
    await house.secret()
    talk = house.talk(endpoint="manual")
    await talk.send("ir", ir(pki.key()), generalInfo=IMPLICIT)
    (row,) = await house.rows()
    house.approve(row.id)
    async with house.at_work():
        await house.reaches(row.id, State.ISSUED)
    reply = await talk.send("pollReq", cmp_bodies.poll_request(0))
    assert (reply.outcome, cmp_wire.IMPLICIT_CONFIRM in reply.infos) == ("accepted", True)


@pytest.mark.parametrize("numbers", [(1,), (0, 0), (0, 1), (-1, 0), (-7,)])
async def test_poll_for_what_was_not_asked_is_refused(cmp: MakeHouse, numbers: Sequence[int]) -> None:
    """cmp.md C75"""
    house = cmp()
    await house.secret()
    talk = house.talk(endpoint="manual")
    await talk.send("ir", ir(pki.key()))
    assert (await talk.send("pollReq", cmp_bodies.poll_request(*numbers))).outcome == "badRequest"


async def test_poll_in_a_transaction_without_requests_is_refused(cmp: MakeHouse) -> None:
    """cmp.md C75"""
    house = cmp()
    await house.secret()
    talk = house.talk()
    assert (await talk.send("pollReq", cmp_bodies.poll_request(0))).outcome == "badRecipientNonce"
    await talk.send("genm", b"\x30\x00", recipNonce=None)
    assert (await talk.send("pollReq", cmp_bodies.poll_request(0))).outcome == "badRequest"


async def test_ca_out_of_reach_lets_the_client_poll(cmp: MakeHouse) -> None:
    """cmp.md C63, C76: what is recorded goes on; the client waits for it under its transactionID."""
    house = cmp()
    await house.secret()
    talk = house.talk(endpoint="far")
    house.foreign.ca.switches.pending = True
    reply = await talk.send("ir", ir(pki.key()))
    assert reply.outcome == "waiting"
    assert (await talk.send("pollReq", cmp_bodies.poll_request(0))).body_name == "pollRep"


async def test_any_answer_of_the_transaction_can_be_gone_on_from(cmp: MakeHouse) -> None:
    """cmp.md C25: also the second one of two, where the first answer came after all."""
    house = cmp()
    await house.secret()
    talk = house.talk()
    answered = await talk.send("ir", ir(pki.key()))
    again = await talk.post(talk.sent)
    assert again.octets("senderNonce") != answered.octets("senderNonce")
    talk.last = answered
    assert (await talk.confirm(answered.certificate)).body_name == "pkiconf"
