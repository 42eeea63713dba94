"""Headers of requests and answers (cmp.md C15 to C32; RFC 9810 section 5.1.1, RFC 9483 section 3)."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.cmp_client import CmpClient
from tests.support.cmp_lab import IMPLICIT, CmpLab, ask, begun, ir
from tests.support.cmp_wire import NULL, info, infos, integer, octets, utf8
from tests.support.devices import device_name
from tests.support.pki import tlv


def _time(**shift: float) -> bytes:
    return cmp_wire.generalized_time(datetime.now(UTC) + timedelta(**shift))


@pytest.mark.parametrize("pvno", [0, 1, 4, 255])
def test_unknown_version_is_refused(client: CmpClient, pvno: int) -> None:
    """cmp.md C15"""
    reply = ask(client, pvno=integer(pvno))
    assert (reply.http_status, reply.body_name, reply.outcome) == (200, "error", "unsupportedVersion")


@pytest.mark.parametrize("pvno", [2, 3])
def test_answer_has_the_version_of_the_request(client: CmpClient, pvno: int) -> None:
    """cmp.md C16"""
    reply = ask(client, pvno=integer(pvno))
    assert reply.outcome == "accepted"
    assert int(reply.field("pvno")) == pvno


def test_strict_endpoint_wants_the_reference_as_sender_too(lab: CmpLab) -> None:
    """cmp.md C17"""
    client = lab.client("strict")
    other = cmp_wire.directory_name("somebody-else")
    assert ask(client).outcome == "accepted"
    assert ask(client, sender=other).outcome == "badMessageCheck"
    assert ask(lab.client(), sender=other).outcome == "accepted", "OpenSSL sends the subject it wants"


def test_sender_must_be_the_subject_of_the_protecting_certificate(lab: CmpLab) -> None:
    """cmp.md C18"""
    signed = cmp_wire.Signed(lab.device())
    for endpoint in ("default", "strict"):
        reply = ask(lab.client(endpoint, signed), "cr", sender=cmp_wire.directory_name("somebody-else"))
        assert reply.outcome == "badMessageCheck", endpoint


def test_wrong_sender_key_identifier_is_refused(lab: CmpLab) -> None:
    """cmp.md C18"""
    client = lab.client(protection=cmp_wire.Signed(lab.device()))
    assert ask(client, "cr", senderKID=octets(bytes(20))).outcome == "badMessageCheck"


def test_missing_sender_key_identifier_is_refused_by_the_strict_only(lab: CmpLab) -> None:
    """cmp.md C18: OpenSSL leaves it out where the certificate has none."""
    host = device_name("cmp")
    signed = cmp_wire.Signed(lab.device(host))
    request = ir(pki.key(), host)
    lenient, strict = lab.client("default", signed), lab.client("strict", signed)
    assert lenient.send("cr", request, senderKID=None, generalInfo=IMPLICIT).outcome == "accepted"
    assert strict.send("cr", request, senderKID=None).outcome == "badMessageCheck"


@pytest.mark.parametrize("endpoint", ["default", "strict"])
def test_recipient_may_be_the_null_dn_or_the_issuing_ca(lab: CmpLab, endpoint: str) -> None:
    """cmp.md C19"""
    client = lab.client(endpoint)
    issuer = ask(client).certificate.issuer
    assert ask(client, recipient=cmp_wire.directory_name(issuer)).outcome == "accepted"


def test_message_for_somebody_else_is_refused_by_the_strict(lab: CmpLab) -> None:
    """cmp.md C19"""
    reply = ask(lab.client("strict"), recipient=cmp_wire.directory_name("Another CA"))
    assert reply.outcome == "badRequest"


def test_missing_message_time_is_refused_by_the_strict_only(lab: CmpLab) -> None:
    """cmp.md C20"""
    assert ask(lab.client("strict"), messageTime=None).outcome == "badTime"
    assert ask(lab.client(), messageTime=None).outcome == "accepted"


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_message_from_another_time_is_refused(lab: CmpLab, days: int) -> None:
    """cmp.md C21"""
    assert ask(lab.client(), messageTime=_time(days=days)).outcome == "badTime"
    assert ask(lab.client("clockless"), messageTime=_time(days=days)).outcome == "accepted"


def test_message_time_of_another_type_is_no_message(client: CmpClient) -> None:
    """cmp.md C21"""
    reply = ask(client.having(checked=False), messageTime=tlv(0x17, b"260101000000Z"))
    assert (reply.http_status, reply.outcome) == (400, "badDataFormat")


def test_missing_transaction_id_is_refused(client: CmpClient) -> None:
    """cmp.md C22"""
    assert ask(client, transactionID=None).outcome == "badDataFormat"


@pytest.mark.parametrize("size", [0, 1, 8, 15])
def test_short_transaction_id_is_refused_unless_the_endpoint_takes_it(lab: CmpLab, size: int) -> None:
    """cmp.md C22"""
    assert ask(lab.client(), transactionID=octets(os.urandom(size))).outcome == "badDataFormat"
    if size:
        assert ask(lab.client("short"), transactionID=octets(os.urandom(size))).outcome in (
            "accepted",
            "transactionIdInUse",  # an identifier of one octet is soon another's
        )


def test_long_transaction_id_is_refused(client: CmpClient) -> None:
    """cmp.md C22"""
    assert ask(client, transactionID=octets(os.urandom(64))).outcome == "accepted"
    assert ask(client, transactionID=octets(os.urandom(65))).outcome == "badDataFormat"


def test_transaction_id_in_use_is_refused(lab: CmpLab) -> None:
    """cmp.md C23"""
    identifier, host = octets(os.urandom(16)), device_name("cmp")
    assert ask(lab.client(), transactionID=identifier).outcome == "accepted"
    reply = ask(lab.client(), host=host, transactionID=identifier)
    assert reply.outcome == "transactionIdInUse"
    assert lab.states(host) == ["refused"]


def test_transaction_id_of_another_sender_is_free(lab: CmpLab) -> None:
    """cmp.md C23: senders do not know each other's identifiers."""
    identifier = octets(os.urandom(16))
    assert ask(lab.client(), transactionID=identifier).outcome == "accepted"
    other = lab.client(protection=lab.new_secret())
    assert ask(other, transactionID=identifier).outcome == "accepted"


@pytest.mark.parametrize("size", [None, 0, 8, 15, 300])
def test_missing_short_or_long_sender_nonce_is_refused(client: CmpClient, size: int | None) -> None:
    """cmp.md C24"""
    nonce = None if size is None else octets(os.urandom(size))
    reply = ask(client.having(checked=False), senderNonce=nonce)
    assert reply.outcome == "badSenderNonce"


def test_first_message_with_a_recip_nonce_is_refused(client: CmpClient) -> None:
    """cmp.md C25"""
    assert ask(client, recipNonce=octets(os.urandom(16))).outcome == "badRecipientNonce"


@pytest.mark.parametrize("nonce", [None, bytes(16), b"short"], ids=["missing", "foreign", "short"])
def test_certconf_must_answer_our_nonce(client: CmpClient, nonce: bytes | None) -> None:
    """cmp.md C25"""
    transaction, certificate = begun(client)
    good = transaction.last
    recip = None if nonce is None else octets(nonce)
    assert transaction.confirm(certificate, recipNonce=recip).outcome == "badRecipientNonce"
    transaction.last = good
    assert transaction.confirm(certificate).body_name == "pkiconf"


def test_nonce_of_another_transaction_is_refused(client: CmpClient) -> None:
    """cmp.md C25"""
    transaction, certificate = begun(client)
    other, _ = begun(client)
    assert other.last is not None
    nonce = octets(other.last.octets("senderNonce") or b"")
    assert transaction.confirm(certificate, recipNonce=nonce).outcome == "badRecipientNonce"


def test_sender_nonce_used_again_is_refused(client: CmpClient) -> None:
    """cmp.md C26"""
    nonce = octets(os.urandom(16))
    transaction, certificate = begun(client, senderNonce=nonce)
    assert transaction.confirm(certificate, senderNonce=nonce).outcome == "badSenderNonce"


def test_our_nonces_are_new_in_every_answer(client: CmpClient) -> None:
    """cmp.md C27"""
    nonces = {ask(client).octets("senderNonce") for _ in range(20)}
    assert len(nonces) == 20


def test_errors_echo_transaction_and_nonce(client: CmpClient) -> None:
    """cmp.md C27"""
    identifier, nonce = octets(os.urandom(16)), octets(os.urandom(16))
    reply = ask(client, pvno=integer(9), transactionID=identifier, senderNonce=nonce)
    assert reply.octets("transactionID") == identifier[2:]
    assert reply.octets("recipNonce") == nonce[2:]


@pytest.mark.parametrize(
    ("general_info", "expected"),
    [
        (infos(info(cmp_wire.IMPLICIT_CONFIRM)), "badRequest"),
        (infos(info(cmp_wire.IMPLICIT_CONFIRM, integer(0))), "badRequest"),
        (infos(info(cmp_wire.CONFIRM_WAIT_TIME, integer(5))), "badDataFormat"),
        (infos(info(cmp_wire.CONFIRM_WAIT_TIME, tlv(0x18, b"tomorrow"))), "badDataFormat"),
        (
            infos(info(cmp_wire.IMPLICIT_CONFIRM, NULL), info(cmp_wire.CONFIRM_WAIT_TIME, _time())),
            "badRequest",
        ),
        (infos(info(cmp_wire.CERT_PROFILE, utf8("x"))), "badDataFormat"),
        (infos(info(cmp_wire.CERT_PROFILE, tlv(0x30))), "badDataFormat"),
        (infos(info(cmp_wire.CERT_PROFILE, tlv(0x30, utf8("a"), utf8("b")))), "badDataFormat"),
        (infos(info(cmp_wire.CERT_PROFILE, tlv(0x30, integer(1)))), "badDataFormat"),
    ],
    ids=[
        "implicit-without-null",
        "implicit-integer",
        "wait-time-integer",
        "wait-time-text",
        "both",
        "profile-no-sequence",
        "profile-empty",
        "two-profiles",
        "profile-integer",
    ],
)
def test_malformed_general_info_is_refused(lab: CmpLab, general_info: bytes, expected: str) -> None:
    """cmp.md C28, C29"""
    host = device_name("cmp")
    assert ask(lab.client(), host=host, generalInfo=general_info).outcome == expected
    assert lab.states(host) in ([], ["refused"])


def test_unknown_profile_is_refused(client: CmpClient) -> None:
    """cmp.md C29"""
    profile = infos(info(cmp_wire.CERT_PROFILE, tlv(0x30, utf8("no-such-profile"))))
    assert ask(client, generalInfo=profile).outcome == "badCertTemplate"


def test_known_profile_chooses_its_policy(lab: CmpLab) -> None:
    """cmp.md C29"""
    client = lab.client("profiled")
    profile = infos(info(cmp_wire.CERT_PROFILE, tlv(0x30, utf8("short-lived"))))
    usual, short = ask(client).certificate, ask(client, generalInfo=profile).certificate
    days = [(one.not_valid_after_utc - one.not_valid_before_utc).days for one in (usual, short)]
    assert days[0] > 80
    assert days[1] < 10


def test_unknown_general_info_is_ignored(client: CmpClient) -> None:
    """cmp.md C30"""
    unknown = infos(info("1.3.6.1.4.1.55555.9", utf8("hello")), info("1.3.6.1.4.1.55555.10"))
    assert ask(client, generalInfo=unknown).outcome == "accepted"


def test_free_text_is_ignored_and_bounded(client: CmpClient) -> None:
    """cmp.md C31"""
    assert ask(client, freeText=tlv(0x30, utf8("good morning"))).outcome == "accepted"
    long = tlv(0x30, *(utf8("x" * 900) for _ in range(200)))
    assert ask(client.having(checked=False), freeText=long).outcome == "badDataFormat"


def test_answer_names_the_reference_of_a_secret(lab: CmpLab) -> None:
    """cmp.md C32"""
    reply = ask(lab.client())
    assert reply.octets("senderKID") == lab.reference.encode()
    assert reply.field("messageTime") is not None


def test_answer_names_our_key_and_not_the_clients(lab: CmpLab) -> None:
    """cmp.md C32"""
    host = device_name("cmp")
    client = lab.client(protection=cmp_wire.Signed(lab.device(host)))
    reply = client.send("cr", ir(pki.key(), host))
    assert reply.outcome == "accepted"
    signer = reply.signer()
    identifier = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert reply.octets("senderKID") == identifier.digest
    sender = bytes(cmp_wire.directory_name(signer.subject))
    assert sender in reply.parts[0]


def test_header_fields_twice_or_out_of_order_are_no_message(client: CmpClient) -> None:
    """cmp.md C14"""
    transaction = client.transaction()
    body = cmp_wire.body(cmp_bodies.TAGS["ir"], ir(pki.key(), device_name("cmp")))
    fields = {**cmp_wire.usual_header(), **client.protection.header}
    header = cmp_wire.encode_header(fields)
    twice = tlv(0x30, header[4:] if header[1] == 0x82 else header[3:], tlv(0xA5, octets(os.urandom(16))))
    message = cmp_wire.encode_message(twice, body, client.protection.protect(tlv(0x30, twice, body)), ())
    transaction.client = client.having(checked=False)
    assert transaction.send_message(message).http_status == 400
