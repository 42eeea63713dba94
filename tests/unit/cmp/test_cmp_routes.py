"""CMP over HTTP: paths, methods, media types, and messages that are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.cmp.options import OPERATIONS
from gateway.cmp.paths import OPERATION_BODIES, CmpPath, read_path
from gateway.errors import BackendUnavailable, StoreUnavailable
from tests.support import pki
from tests.support.cmp_client import Reply
from tests.support.cmp_wire import Pbm, Unprotected
from tests.unit.cmp.cmp_house import IMPLICIT, PATH, CmpHouse, ir

MakeHouse = Callable[..., CmpHouse]


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        (PATH, CmpPath("default")),
        (f"{PATH}/", CmpPath("default")),
        (f"{PATH}/keyupdate", CmpPath("default", "keyupdate")),
        (f"{PATH}/p/plant", CmpPath("plant")),
        (f"{PATH}/p/plant/", CmpPath("plant")),
        (f"{PATH}/p/plant/getcacerts", CmpPath("plant", "getcacerts")),
        (f"{PATH}/p", None),
        (f"{PATH}/p//pkcs10", None),
        (f"{PATH}/plant", None),
        (f"{PATH}/p/plant/else", None),
        (f"{PATH}/p/plant/pkcs10/more", None),
    ],
)
def test_path_names_endpoint_and_operation(path: str, meaning: CmpPath | None) -> None:
    """cmp.md C7, C8"""
    assert read_path(path) == meaning


def test_no_endpoint_can_be_named_like_an_operation() -> None:
    """cmp.md C8: names of operations and the segment p are reserved."""
    assert {*OPERATION_BODIES, "p"} == OPERATIONS


@pytest.mark.parametrize("path", [f"{PATH}/p/nowhere", f"{PATH}/elsewhere", f"{PATH}/p/a/b/c"])
async def test_unknown_path_is_not_found_and_recorded(cmp: MakeHouse, path: str) -> None:
    """cmp.md C7: the client's text is the same whatever is missing; the record names it."""
    house = cmp()
    response = await house.http(b"\x30\x00", path=path)
    assert response.status == 404
    assert b"/.well-known/cmp/p/ENDPOINT" in response.body
    (row,) = await house.rows()
    assert "no Endpoint document" in str(row.decision)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
async def test_every_method_but_post_is_refused_with_allow(cmp: MakeHouse, method: str) -> None:
    """cmp.md C1"""
    response = await cmp().http(method=method)
    assert (response.status, dict(response.headers)) == (405, {"Allow": "POST"})


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/pkixcmp", 200),
        ("Application/PKIXCMP; charset=utf-8", 200),
        ("application/pkixcmp-poll", 200),
        ("application/octet-stream", 415),
        ("", 415),
    ],
)
async def test_media_type_decides_whether_the_body_is_read(
    cmp: MakeHouse, media_type: str, status: int
) -> None:
    """cmp.md C2: parameters and letter case do not count (RFC 9811 sections 3.2 and 4)."""
    house = cmp()
    await house.secret()
    message = house.talk().message("genm", b"\x30\x00")
    assert (await house.http(message, headers={"content-type": media_type})).status == status


async def test_body_over_the_limit_is_too_large(cmp: MakeHouse) -> None:
    """cmp.md C6"""
    assert (await cmp(max_body_bytes=4096).http(bytes(5000))).status == 413


@pytest.mark.parametrize("octets", [b"", b"hello", b"\x30\x80\x00\x00", b"\x30\x00", b"\x30\x03\x02\x01\x02"])
async def test_what_is_no_message_gets_400_with_an_error_message(cmp: MakeHouse, octets: bytes) -> None:
    """cmp.md C4, C14, C86: the body says badDataFormat, signed, and nothing is echoed."""
    house = cmp()
    response = await house.http(octets)
    reply = Reply(response.status, {"content-type": response.content_type}, response.body)
    assert (response.status, reply.outcome) == (400, "badDataFormat")
    assert reply.signer() == house.signer.certificate
    assert len(await house.rows()) == 1


async def test_readable_header_of_a_broken_message_is_answered(cmp: MakeHouse) -> None:
    """cmp.md C14, C27: transactionID and nonce come back also where bytes follow the message."""
    house = cmp()
    await house.secret()
    talk = house.talk()
    response = await house.http(talk.message("genm", b"\x30\x00") + b"\x00")
    reply = Reply(response.status, {"content-type": response.content_type}, response.body)
    assert response.status == 400
    assert reply.octets("transactionID") == talk.transaction_id
    assert reply.octets("recipNonce") is not None


async def test_well_formed_message_gets_200_however_wrong_it_is(cmp: MakeHouse) -> None:
    """cmp.md C3, C5, C34"""
    house = cmp()
    response = await house.http(house.talk(Unprotected()).message("genm", b"\x30\x00"))
    assert (response.status, response.content_type) == (200, "application/pkixcmp")
    assert response.headers == (("Cache-Control", "no-store"),)


@pytest.mark.parametrize(
    ("operation", "body", "outcome"),
    [
        ("initialization", "ir", "accepted"),
        ("certification", "cr", "accepted"),
        ("certification", "ir", "badRequest"),
        ("getcacerts", "ir", "badRequest"),
    ],
)
async def test_operation_in_the_path_must_fit_the_body(
    cmp: MakeHouse, operation: str, body: str, outcome: str
) -> None:
    """cmp.md C9"""
    house = cmp()
    await house.secret()
    talk = house.talk()
    talk.path = f"{PATH}/{operation}"
    assert (await talk.send(body, ir(pki.key()), generalInfo=IMPLICIT)).outcome == outcome


async def test_certconf_goes_to_any_path_of_its_transaction(cmp: MakeHouse) -> None:
    """cmp.md C9"""
    house = cmp()
    await house.secret()
    talk = house.talk()
    talk.path = f"{PATH}/initialization"
    certificate = (await talk.send("ir", ir(pki.key()))).certificate
    assert (await talk.confirm(certificate)).body_name == "pkiconf"


async def test_without_a_signer_unprovable_messages_get_503(cmp: MakeHouse) -> None:
    """cmp.md C63: nothing can be protected, so HTTP says it."""
    house = cmp()
    house.identity_fault = BackendUnavailable("no identity")
    response = await house.http(house.talk(Unprotected()).message("genm", b"\x30\x00"))
    assert response.status == 503
    assert dict(response.headers)["Retry-After"] == "5"


async def test_without_a_signer_whoever_has_the_secret_still_enrols(cmp: MakeHouse) -> None:
    """cmp.md C47, C63: a MAC needs no certificate of ours."""
    house = cmp()
    await house.secret()
    house.identity_fault = BackendUnavailable("no identity")
    reply = await house.talk().send("ir", ir(pki.key()))
    assert (reply.outcome, reply.protection_kind) == ("accepted", "pbm")


async def test_store_out_of_reach_is_system_unavail_once_the_sender_is_proven(
    cmp: MakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cmp.md C63: HTTP 200 with systemUnavail, protected as the request was."""
    house = cmp()
    await house.secret()

    async def gone(requests: object) -> None:
        raise StoreUnavailable("the database is out of reach")

    monkeypatch.setattr(house.service, "submit", gone)
    reply = await house.talk().send("ir", ir(pki.key()))
    assert (reply.body_name, reply.outcome) == ("error", "systemUnavail")
    assert reply.mac_is_right(b"the secret of the line")


async def test_guesses_at_a_secret_are_slowed_down(cmp: MakeHouse) -> None:
    """cmp.md C35, C63: systemUnavail, signed, and nothing is derived any more."""
    house = cmp()
    await house.secret()
    wrong = Pbm("line-4", b"guessed")
    outcomes = [(await house.talk(wrong).send("ir", ir(pki.key()))).outcome for _ in range(40)]
    assert outcomes[0] == "badMessageCheck"
    assert outcomes[-1] == "systemUnavail"
    assert set(outcomes) == {"badMessageCheck", "systemUnavail"}


async def test_fault_of_ours_is_system_failure_in_a_message(
    cmp: MakeHouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """cmp.md C63, C86: HTTP 200, no word of the fault, the traceback in the log."""
    house = cmp()
    await house.secret()

    async def broken(requests: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(house.service, "submit", broken)
    reply = await house.talk().send("ir", ir(pki.key()))
    assert (reply.http_status, reply.outcome) == (200, "systemFailure")
    assert "secret detail" not in reply.status.text
    assert "ZeroDivisionError" in caplog.text
