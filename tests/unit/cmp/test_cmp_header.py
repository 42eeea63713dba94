"""Headers of messages: versions, identifiers, nonces, time, generalInfo, and who signs as whom."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.cmp_wire import NULL, Pbmac1, Signed, Unprotected, infos, integer, octets, utf8
from tests.support.pki import tlv
from tests.unit.cmp.cmp_house import IMPLICIT, MAC, CmpHouse, ir

MakeHouse = Callable[..., CmpHouse]
GENM = b"\x30\x00"


def profile(value: bytes) -> bytes:
    return infos(cmp_wire.info(cmp_wire.CERT_PROFILE, value))


async def asked(house: CmpHouse, **changes: bytes | None) -> str:
    """What an otherwise good ir with this header becomes."""
    await house.secret()
    return (await house.talk().send("ir", ir(pki.key()), **changes)).outcome


@pytest.mark.parametrize(
    ("pvno", "outcome", "answered"),
    [(1, "unsupportedVersion", 2), (2, "accepted", 2), (3, "accepted", 3), (4, "unsupportedVersion", 3)],
)
async def test_version_decides_and_comes_back(cmp: MakeHouse, pvno: int, outcome: str, answered: int) -> None:
    """cmp.md C15, C16"""
    house = cmp()
    await house.secret()
    reply = await house.talk().send("ir", ir(pki.key()), pvno=integer(pvno))
    assert (reply.outcome, int(reply.field("pvno"))) == (outcome, answered)


@pytest.mark.parametrize(
    ("field", "value", "outcome"),
    [
        ("transactionID", None, "badDataFormat"),
        ("transactionID", octets(b"short"), "badDataFormat"),
        ("transactionID", octets(bytes(65)), "badDataFormat"),
        ("senderNonce", None, "badSenderNonce"),
        ("senderNonce", octets(bytes(15)), "badSenderNonce"),
        ("senderNonce", octets(bytes(65)), "badSenderNonce"),
        ("recipNonce", octets(bytes(16)), "badRecipientNonce"),
        ("generalInfo", infos(cmp_wire.info(cmp_wire.IMPLICIT_CONFIRM)), "badRequest"),
        ("generalInfo", infos(cmp_wire.info(cmp_wire.IMPLICIT_CONFIRM, integer(1))), "badRequest"),
        ("generalInfo", infos(cmp_wire.info(cmp_wire.CONFIRM_WAIT_TIME, integer(9))), "badDataFormat"),
        ("generalInfo", profile(utf8("x")), "badDataFormat"),
        ("generalInfo", profile(tlv(0x30)), "badDataFormat"),
        ("generalInfo", profile(tlv(0x30, integer(1))), "badDataFormat"),
        ("generalInfo", profile(tlv(0x30, utf8("one"), utf8("two"))), "badDataFormat"),
        ("generalInfo", profile(tlv(0x30, utf8("no"))), "badCertTemplate"),
        ("generalInfo", profile(tlv(0x30, utf8(""))), "accepted"),
        ("generalInfo", infos(cmp_wire.info("1.2.3.4", NULL)), "accepted"),
        ("freeText", tlv(0x30, utf8("hello")), "accepted"),
    ],
)
async def test_field_of_the_header_decides(
    cmp: MakeHouse, field: str, value: bytes | None, outcome: str
) -> None:
    """cmp.md C22, C24, C25, C28, C29, C30, C31"""
    assert await asked(cmp(), **{field: value}) == outcome


async def test_implicit_confirm_and_wait_time_exclude_each_other(cmp: MakeHouse) -> None:
    """cmp.md C28"""
    house = cmp()
    wait = cmp_wire.generalized_time(house.clock.now())
    both = infos(
        cmp_wire.info(cmp_wire.IMPLICIT_CONFIRM, NULL), cmp_wire.info(cmp_wire.CONFIRM_WAIT_TIME, wait)
    )
    assert await asked(house, generalInfo=both) == "badRequest"


@pytest.mark.parametrize(
    ("skew_s", "off_s", "outcome"),
    [
        (3600, 3599, "accepted"),
        (3600, -3599, "accepted"),
        (3600, 3601, "badTime"),
        (3600, -3601, "badTime"),
        (0, 10**8, "accepted"),
    ],
)
async def test_message_time_may_be_off_by_the_option(
    cmp: MakeHouse, skew_s: int, off_s: int, outcome: str
) -> None:
    """cmp.md C21: both ways; 0 is for devices without a clock."""
    house = cmp(message_time_skew_s=skew_s)
    at = house.clock.now() + timedelta(seconds=off_s)
    assert await asked(house, messageTime=cmp_wire.generalized_time(at)) == outcome


@pytest.mark.parametrize(("strictness", "outcome"), [("lenient", "accepted"), ("strict", "badTime")])
async def test_missing_message_time_is_for_the_lenient(cmp: MakeHouse, strictness: str, outcome: str) -> None:
    """cmp.md C20"""
    assert await asked(cmp(strictness=strictness), messageTime=None) == outcome


async def test_short_identifiers_are_an_option(cmp: MakeHouse) -> None:
    """cmp.md C22, C24"""
    house = cmp(short_identifiers=True)
    assert await asked(house, transactionID=octets(b"1"), senderNonce=octets(b"2")) == "accepted"


async def test_genm_may_go_without_a_transaction(cmp: MakeHouse) -> None:
    """cmp.md C22: RFC 9810 5.1.1, one request and one answer; the strict want one."""
    house = cmp()
    await house.secret()
    reply = await house.talk().send("genm", GENM, transactionID=None)
    assert reply.body_name == "genp"


@pytest.mark.parametrize(
    ("recipient", "outcome"),
    [
        ("VENDOR", "badRequest"),
        ("CMP ENDPOINT", "genp"),
        ("", "genp"),
    ],
)
async def test_strict_endpoint_is_addressed_by_its_names(
    cmp: MakeHouse, recipient: str, outcome: str
) -> None:
    """cmp.md C19: the signer's subject and NULL-DN; the issuing CA is tried over the wire."""
    house = cmp(strictness="strict")
    await house.secret()
    name = cmp_wire.directory_name(recipient) if recipient else cmp_wire.NULL_DN
    assert (await house.talk().send("genm", GENM, recipient=name)).outcome == outcome


async def test_lenient_endpoint_takes_a_reference_with_any_sender(cmp: MakeHouse) -> None:
    """cmp.md C17: OpenSSL sends the wanted subject as the sender."""
    other = cmp_wire.directory_name("something else")
    assert await asked(cmp(), sender=other) == "accepted"


async def test_strict_endpoint_wants_the_reference_in_the_sender(cmp: MakeHouse) -> None:
    """cmp.md C17"""
    other = cmp_wire.directory_name("something else")
    assert await asked(cmp(strictness="strict"), sender=other) == "badMessageCheck"


async def test_reference_may_stand_in_the_sender_alone(cmp: MakeHouse) -> None:
    """cmp.md C17, RFC 9810 5.1.1: senderKID only where it is needed."""
    assert await asked(cmp(), senderKID=None) == "accepted"


async def test_answer_names_transaction_nonces_and_reference(cmp: MakeHouse) -> None:
    """cmp.md C27, C32"""
    house = cmp()
    await house.secret()
    talk, nonce = house.talk(), os.urandom(16)
    reply = await talk.send("ir", ir(pki.key()), senderNonce=octets(nonce))
    assert reply.octets("transactionID") == talk.transaction_id
    assert reply.octets("recipNonce") == nonce
    assert len(reply.octets("senderNonce") or b"") == 16
    assert reply.octets("senderKID") == b"line-4"
    assert reply.field("messageTime") is not None
    assert reply.mac_is_right(MAC.secret)


# -- who signs --


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"sender": cmp_wire.directory_name("somebody")}, "badMessageCheck"),
        ({"sender": tlv(0x82, b"dev.test")}, "badMessageCheck"),
        ({"senderKID": octets(bytes(20))}, "badMessageCheck"),
        ({"senderKID": None}, "accepted"),
    ],
)
async def test_signer_must_be_whom_the_header_names(
    cmp: MakeHouse, changes: dict[str, bytes | None], outcome: str
) -> None:
    """cmp.md C18"""
    house = cmp()
    await house.secret()
    device = await house.device()
    reply = await house.talk(device).send("cr", ir(pki.key()), **changes)
    assert reply.outcome == outcome
    assert reply.signer() == house.signer.certificate


async def test_signed_message_without_its_certificate_is_refused(cmp: MakeHouse) -> None:
    """cmp.md C40"""
    house = cmp()
    await house.secret()
    device = replace(await house.device(), with_certs=False)
    assert (await house.talk(device).send("cr", ir(pki.key()))).outcome == "badMessageCheck"


async def test_signature_by_another_key_is_refused(cmp: MakeHouse) -> None:
    """cmp.md C35"""
    house = cmp()
    await house.secret()
    device = await house.device()
    forged = Signed(pki.Identity(device.identity.certificate, pki.key()))
    assert (await house.talk(forged).send("cr", ir(pki.key()))).outcome == "badMessageCheck"


async def test_unprotected_message_is_refused_and_the_answer_signed(cmp: MakeHouse) -> None:
    """cmp.md C34, C47"""
    house = cmp()
    reply = await house.talk(Unprotected()).send("genm", GENM)
    assert reply.outcome == "badMessageCheck"
    assert reply.signer() == house.signer.certificate


async def test_unprotected_errors_are_an_option_for_unproven_senders_only(cmp: MakeHouse) -> None:
    """cmp.md C47"""
    house = cmp(unprotected_errors=True)
    await house.secret()
    assert (await house.talk(Unprotected()).send("genm", GENM)).protection_kind == "none"
    proven = await house.talk().send("genm", GENM, transactionID=octets(b"short"))
    assert (proven.outcome, proven.protection_kind) == ("badDataFormat", "pbm")


@pytest.mark.parametrize("reference", ["line-4", "nobody"])
async def test_wrong_secret_and_unknown_reference_are_told_alike(cmp: MakeHouse, reference: str) -> None:
    """cmp.md C35: the record tells them apart."""
    house = cmp()
    await house.secret()
    guessed = replace(MAC, reference=reference, secret=b"guessed")
    reply = await house.talk(guessed).send("ir", ir(pki.key()))
    assert reply.outcome == "badMessageCheck"
    assert reply.status.text.startswith("the reference or the secret that protects the message is wrong [")
    (row,) = await house.rows()
    assert f"reference '{reference}'" in str(row.decision)


# -- messages that go on --


async def test_nonce_of_no_answer_of_ours_is_refused(cmp: MakeHouse) -> None:
    """cmp.md C25"""
    house = cmp()
    await house.secret()
    talk = house.talk()
    certificate = (await talk.send("ir", ir(pki.key()))).certificate
    for nonce in (None, octets(os.urandom(16))):
        assert (await talk.confirm(certificate, recipNonce=nonce)).outcome == "badRecipientNonce"


async def test_nonce_of_another_transaction_is_refused(cmp: MakeHouse) -> None:
    """cmp.md C25"""
    house = cmp()
    await house.secret()
    first, second = house.talk(), house.talk()
    certificate = (await first.send("ir", ir(pki.key()))).certificate
    second.last = first.last
    assert (await second.confirm(certificate)).outcome == "badRecipientNonce"


async def test_nonce_of_the_message_before_is_refused(cmp: MakeHouse) -> None:
    """cmp.md C26"""
    house = cmp()
    await house.secret()
    talk, nonce = house.talk(), octets(os.urandom(16))
    certificate = (await talk.send("ir", ir(pki.key()), senderNonce=nonce)).certificate
    assert (await talk.confirm(certificate, senderNonce=nonce)).outcome == "badSenderNonce"
    assert (await talk.confirm(certificate)).outcome == "badRecipientNonce"  # what an error ended


async def test_protection_of_another_kind_within_a_transaction_is_refused(cmp: MakeHouse) -> None:
    """cmp.md C46: RFC 9483 3.2, another MAC is badMessageCheck, a signature wrongIntegrity."""
    house = cmp()
    await house.secret()
    device = await house.device()
    talk = house.talk()
    answered = await talk.send("ir", ir(pki.key(), "other.test"))
    other_mac = Pbmac1(MAC.reference, MAC.secret)
    reply = await talk.confirm(answered.certificate, protection=other_mac)
    assert reply.outcome == "badMessageCheck"
    talk.last = answered
    assert (await talk.confirm(answered.certificate, protection=device)).outcome == "wrongIntegrity"
    talk.last = answered
    assert (await talk.confirm(answered.certificate)).body_name == "pkiconf"


@pytest.mark.parametrize(
    "name", ["krr", "ccr", "nested", "ckuann", "cann", "rann", "crlann", "popdecr", "ip"]
)
async def test_body_that_is_not_served_is_refused_once_its_sender_is_proven(
    cmp: MakeHouse, name: str
) -> None:
    """cmp.md C13, C84"""
    house = cmp()
    await house.secret()
    reply = await house.talk().send(name, b"\x30\x00")
    assert (reply.body_name, reply.outcome) == ("error", "badRequest")
    assert reply.mac_is_right(MAC.secret)
    unproven = await house.talk(Unprotected()).send(name, b"\x30\x00")
    assert unproven.outcome == "badMessageCheck"


async def test_error_of_a_client_is_answered_by_pkiconf(cmp: MakeHouse) -> None:
    """cmp.md C85: RFC 9810 5.3.21; what it got is withdrawn when the time is up."""
    house = cmp()
    await house.secret()
    talk = house.talk()
    await talk.send("ir", ir(pki.key()))
    assert (await talk.send("error", cmp_bodies.error())).body_name == "pkiconf"
    assert (await talk.send("error", b"\x04\x00")).outcome == "badDataFormat"


async def test_implicit_confirm_comes_back_if_it_was_asked_for_else_the_time_to_confirm(
    cmp: MakeHouse,
) -> None:
    """cmp.md C72, RFC 9810 5.1.1.2"""
    house = cmp()
    await house.secret()
    plain = await house.talk().send("ir", ir(pki.key()))
    asked_for = await house.talk().send("ir", ir(pki.key(), "two.test"), generalInfo=IMPLICIT)
    assert asked_for.infos == {cmp_wire.IMPLICIT_CONFIRM: NULL}
    until = house.clock.now() + timedelta(seconds=300)
    assert plain.infos == {cmp_wire.CONFIRM_WAIT_TIME: cmp_wire.generalized_time(until)}
