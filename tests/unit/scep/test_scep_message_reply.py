"""CertReps: OpenSSL and asn1crypto judge what we write; the client's side reads it, and refuses others."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import core as asn1_core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import MalformedMessage
from gateway.frontend import MessageIdentity
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import parse_certificate
from gateway.pki.cms import certs_only, crls_only
from gateway.pki.keyfile import FileSigner
from gateway.scep.client_message import ClientIdentity, SentMessage, read_reply, write_request
from gateway.scep.message import MessageRules, MessageType, PkiStatus, SignedMessage, read_pki_message
from gateway.scep.message import open_pki_message as open_request
from gateway.scep.reply import Failure, Pending, Success, can_be_answered, write_reply
from tests.support import ber, pki
from tests.support.raw_csr import attribute, tlv
from tests.support.scep_wire import (
    FAIL_INFO,
    FAIL_INFO_TEXT,
    MESSAGE_TYPE,
    PKI_STATUS,
    RECIPIENT_NONCE,
    SENDER_NONCE,
    TRANSACTION_ID,
    PkiMessage,
    envelope,
    self_signed,
    text,
)

RULES = MessageRules(("sha256", "sha384", "sha512"), ("aes-128-cbc", "aes-256-cbc"))
SUCCESS = Success(b"\x30\x00", "aes-128-cbc")


def ra() -> pki.Identity:
    return self_signed(pki.shared_key("RSA-2048"), "ra")


def device() -> pki.Identity:
    return self_signed(pki.shared_key("RSA-2048"), "device-1")


def message_identity(identity: pki.Identity) -> MessageIdentity:
    return MessageIdentity(identity.certificate_der, (), FileSigner(identity.private_key, "test"))


def asked(identity: pki.Identity, **changes: Any) -> SignedMessage:
    signer = changes.pop("signer", None) or device()
    content = envelope(pki.csr(signer.private_key), [identity.certificate])
    return read_pki_message(PkiMessage(signer, content, **changes).build())


def attributes_of(octets: bytes) -> dict[str, bytes]:
    """The one value of each signed attribute as asn1crypto sees it, by OID."""
    (signer,) = asn1_cms.ContentInfo.load(octets, strict=True)["content"]["signer_infos"]
    found = {}
    for each in signer["signed_attrs"]:
        (value,) = each["values"]
        assert each["type"].dotted not in found
        found[each["type"].dotted] = value.dump()
    return found


def openssl(directory: Path, *command: str, stdin: bytes) -> bytes:
    completed = subprocess.run(
        ["openssl", "cms", *command, "-inform", "DER", "-binary"],
        cwd=directory,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert completed.returncode == 0, completed.stderr.decode()
    return completed.stdout


def verified(directory: Path, identity: pki.Identity, octets: bytes) -> bytes:
    """The content, once OpenSSL has verified the one signature."""
    (directory / "ra.pem").write_bytes(identity.certificate.public_bytes(Encoding.PEM))
    return openssl(directory, "-verify", "-CAfile", "ra.pem", "-purpose", "any", stdin=octets)


@pytest.mark.parametrize("cipher", ["aes-128-cbc", "aes-256-cbc", "des-ede3-cbc"])
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_success_is_verified_and_opened_by_openssl(tmp_path: Path, cipher: str, digest: str) -> None:
    """scep.md C27, C33, C34, C47."""
    identity, client = ra(), device()
    message = asked(identity, signer=client, digest=digest)
    others = [self_signed(pki.shared_key("P-256"), cn).certificate_der for cn in ("z", "a")]
    inner = certs_only([others[0], client.certificate_der, others[1]])
    octets = write_reply(message, message_identity(identity), Success(inner, cipher), RULES)
    enveloped = verified(tmp_path, identity, octets)
    (tmp_path / "c.pem").write_bytes(client.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "k.pem").write_bytes(client.key_pem)
    assert openssl(tmp_path, "-decrypt", "-recip", "c.pem", "-inkey", "k.pem", stdin=enveloped) == inner
    recipients = asn1_cms.ContentInfo.load(enveloped)["content"]["recipient_infos"]
    (recipient,) = recipients
    assert recipient.chosen["rid"].chosen["serial_number"].native == client.certificate.serial_number
    degenerate = asn1_cms.ContentInfo.load(inner)["content"]
    found = [each.chosen.dump() for each in degenerate["certificates"]]
    assert found == [others[0], client.certificate_der, others[1]]
    attributes = attributes_of(octets)
    assert attributes[PKI_STATUS] == b"\x13\x010"
    assert attributes[MESSAGE_TYPE] == b"\x13\x013"
    assert not {FAIL_INFO, FAIL_INFO_TEXT} & set(attributes)
    signed = asn1_cms.ContentInfo.load(octets)["content"]
    assert signed["signer_infos"][0]["digest_algorithm"]["algorithm"].native == digest
    assert [each.chosen.dump() for each in signed["certificates"]] == [identity.certificate_der]


@pytest.mark.parametrize("empty", ["empty", "omit"])
@pytest.mark.parametrize("content", [Failure(2, "wrong: ä"), Failure(0), Pending()])
def test_failure_and_pending_have_their_attributes_and_no_envelope(
    tmp_path: Path, empty: Literal["empty", "omit"], content: Failure | Pending
) -> None:
    """scep.md C26, C27, C28, B14."""
    identity = ra()
    message = asked(identity, transaction_id="Zz 9", transaction_id_tag=0x0C)
    octets = write_reply(message, message_identity(identity), content, RULES, empty_content=empty)
    attributes = attributes_of(octets)
    expected = {TRANSACTION_ID: b"\x0c\x04Zz 9", MESSAGE_TYPE: b"\x13\x013", PKI_STATUS: b"\x13\x013"}
    expected[RECIPIENT_NONCE] = tlv(0x04, message.sender_nonce or b"")
    if isinstance(content, Failure):
        expected[PKI_STATUS] = b"\x13\x012"
        expected[FAIL_INFO] = tlv(0x13, str(content.fail_info).encode())
        if content.text:
            expected[FAIL_INFO_TEXT] = tlv(0x0C, content.text.encode())
    assert {oid: attributes[oid] for oid in expected} == expected
    assert set(attributes) - set(expected) == {SENDER_NONCE, "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"}
    signed = asn1_cms.ContentInfo.load(octets)["content"]["encap_content_info"]
    if empty == "empty":
        assert verified(tmp_path, identity, octets) == b""
        assert signed["content"].native == b""
    else:
        assert signed["content"].native is None
        assert (
            not isinstance(signed["content"], asn1_core.ParsableOctetString) or not signed["content"].contents
        )


def test_own_nonce_differs_in_each_reply() -> None:
    """scep.md C26."""
    identity, message = ra(), asked(ra())
    nonces = {
        attributes_of(write_reply(message, message_identity(identity), Pending(), RULES))[SENDER_NONCE]
        for _ in range(20)
    }
    assert len(nonces) == 20
    assert all(len(nonce) == 2 + 16 for nonce in nonces)


def test_reply_to_a_message_without_nonce_has_no_recipient_nonce() -> None:
    """scep.md C26: there is nothing to give back."""
    reply = write_reply(asked(ra(), sender_nonce=None), message_identity(ra()), Failure(2), RULES)
    assert RECIPIENT_NONCE not in attributes_of(reply)


@pytest.mark.parametrize("digest", ["md5", "sha1"])
def test_reply_to_a_refused_digest_is_signed_with_the_first_that_is_taken(digest: str) -> None:
    """scep.md C22."""
    octets = write_reply(asked(ra(), digest=digest), message_identity(ra()), Failure(0), RULES)
    (signer,) = asn1_cms.ContentInfo.load(octets)["content"]["signer_infos"]
    assert signer["digest_algorithm"]["algorithm"].native == "sha256"


def test_signer_with_an_elliptic_curve_can_get_a_failure_only() -> None:
    """scep.md C35: found before anything is issued."""
    message = asked(ra(), signer=self_signed(pki.shared_key("P-256")))
    assert not can_be_answered(message)
    assert can_be_answered(asked(ra()))
    assert (
        attributes_of(write_reply(message, message_identity(ra()), Failure(0), RULES))[FAIL_INFO]
        == b"\x13\x010"
    )
    with pytest.raises(ValueError, match="RSA"):
        write_reply(message, message_identity(ra()), SUCCESS, RULES)


def an_empty_crl(identity: pki.Identity) -> bytes:
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(
        identity.certificate.subject, now, now + timedelta(days=1)
    )
    return builder.sign(identity.private_key, hashes.SHA256()).public_bytes(Encoding.DER)


class Loop:
    """A client and an RA, each with our codec."""

    def __init__(self) -> None:
        self.ra, self.client = ra(), device()
        self.identity = ClientIdentity(
            self.client.certificate_der, FileSigner(self.client.private_key, "test")
        )
        self.responder = parse_certificate(self.ra.certificate_der)

    def send(self, message_type: MessageType = MessageType.PKCS_REQ, payload: bytes = b"csr") -> SentMessage:
        return write_request(
            message_type,
            payload,
            "tid-1",
            identity=self.identity,
            recipient=self.responder,
            cipher="aes-256-cbc",
        )

    def reply(self, sent: SentMessage, content: Success | Failure | Pending) -> bytes:
        message = read_pki_message(sent.octets)
        return write_reply(message, message_identity(self.ra), content, RULES)

    def read(self, octets: bytes, sent: SentMessage) -> Any:
        return read_reply(octets, sent, identity=self.identity, responders=[self.responder], rules=RULES)


def test_request_of_our_client_is_verified_and_opened_by_openssl(tmp_path: Path) -> None:
    """RFC 8894 section 3.2."""
    loop = Loop()
    sent = loop.send(payload=b"a CSR")
    enveloped = verified(tmp_path, loop.client, sent.octets)
    (tmp_path / "ra.pem").write_bytes(loop.ra.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "ra.key").write_bytes(loop.ra.key_pem)
    assert openssl(tmp_path, "-decrypt", "-recip", "ra.pem", "-inkey", "ra.key", stdin=enveloped) == b"a CSR"
    attributes = attributes_of(sent.octets)
    assert attributes[MESSAGE_TYPE] == b"\x13\x0219"
    assert attributes[TRANSACTION_ID] == b"\x13\x05tid-1"
    assert attributes[SENDER_NONCE] == tlv(0x04, sent.sender_nonce)


@pytest.mark.parametrize("form", ["der", "apple"])
def test_client_reads_what_the_server_writes(form: str) -> None:
    loop = Loop()
    sent = loop.send()
    opened = open_request(read_pki_message(sent.octets), [message_identity(loop.ra)], RULES)
    assert (opened.payload, opened.cipher) == (b"csr", "aes-256-cbc")
    certificates = (loop.client.certificate_der, loop.ra.certificate_der)
    octets = loop.reply(sent, Success(certs_only(certificates), opened.cipher))
    if form == "apple":
        octets = ber.reencode(octets, ber.like_apple)
    assert loop.read(octets, sent).certificates_der == certificates
    crl = an_empty_crl(loop.ra)
    got = loop.read(loop.reply(sent, Success(crls_only(crl), opened.cipher)), sent)
    assert (got.status, got.crls_der, got.certificates_der) == (PkiStatus.SUCCESS, (crl,), ())
    failed = loop.read(loop.reply(sent, Failure(4, "none such")), sent)
    assert (failed.status, failed.fail_info, failed.fail_info_text) == (PkiStatus.FAILURE, 4, "none such")
    assert loop.read(loop.reply(sent, Pending()), sent).status is PkiStatus.PENDING


def test_client_refuses_an_answer_to_another_message() -> None:
    """RFC 8894 section 3.2.1.5."""
    loop = Loop()
    sent, other = loop.send(), loop.send()
    for octets, asked_for in (
        (loop.reply(sent, Pending()), other),
        (loop.reply(sent, Pending()), replace(sent, transaction_id="tid-2")),
    ):
        with pytest.raises(MalformedMessage) as caught:
            loop.read(octets, asked_for)
        assert caught.value.code is ReasonCode.MESSAGE_INTEGRITY


def test_client_refuses_an_answer_that_somebody_else_signed() -> None:
    loop = Loop()
    sent = loop.send()
    impostor = self_signed(pki.key("RSA-2048"), "ra")
    octets = write_reply(read_pki_message(sent.octets), message_identity(impostor), Pending(), RULES)
    with pytest.raises(MalformedMessage, match="not signed by") as caught:
        loop.read(octets, sent)
    assert caught.value.code is ReasonCode.MESSAGE_INTEGRITY
    octets = bytearray(loop.reply(sent, Pending()))
    octets[-5] ^= 1
    with pytest.raises(MalformedMessage) as caught:
        loop.read(bytes(octets), sent)
    assert caught.value.code is ReasonCode.MESSAGE_INTEGRITY


@pytest.mark.parametrize(
    ("message_type", "status"), [("19", "0"), ("3", "1"), ("3", "7"), ("3", "x"), ("3", None)]
)
def test_client_refuses_what_is_no_cert_rep(message_type: str, status: str | None) -> None:
    """RFC 8894 section 3.2.1.3."""
    loop = Loop()
    sent = loop.send()
    more = [attribute(RECIPIENT_NONCE, tlv(0x04, sent.sender_nonce))]
    if status is not None:
        more.append(text(PKI_STATUS, status))
    octets = PkiMessage(
        loop.ra, b"", message_type=message_type, transaction_id="tid-1", more_attributes=tuple(more)
    ).build()
    with pytest.raises(MalformedMessage, match=r"no CertRep|pkiStatus"):
        loop.read(octets, sent)
