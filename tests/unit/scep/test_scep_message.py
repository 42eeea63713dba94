"""Requests of SCEP: those of real clients are opened, bad ones refused with what an answer needs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import algos
from asn1crypto import cms as asn1_cms
from asn1crypto import core as asn1_core
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from gateway.errors import MalformedMessage
from gateway.frontend import MessageIdentity
from gateway.model.keys import Pop
from gateway.model.reasons import ReasonCode
from gateway.pki.keyfile import FileSigner
from gateway.scep.message import (
    IssuerAndSerial,
    MessageRules,
    MessageType,
    ScepRequest,
    addressed_identity,
    open_pki_message,
    read_csr,
    read_issuer_and_serial,
    read_pki_message,
)
from tests.support import ber, pki
from tests.support.raw_csr import attribute, oid, tlv
from tests.support.scep_wire import (
    MESSAGE_TYPE,
    SENDER_NONCE,
    TRANSACTION_ID,
    PkiMessage,
    certificate_id,
    envelope,
    self_signed,
    text,
)

VECTORS = Path(__file__).parent / "vectors"
AES = ("aes-128-cbc", "aes-192-cbc", "aes-256-cbc")
RULES = MessageRules(("sha256", "sha384", "sha512"), AES)
TWO_TYPES = attribute(MESSAGE_TYPE, b"\x13\x0219", b"\x13\x0217")
LEGACY = MessageRules((*RULES.digests, "sha1"), (*AES, "des-ede3-cbc", "des-cbc"))


def message_identity(identity: pki.Identity) -> MessageIdentity:
    return MessageIdentity(identity.certificate_der, (), FileSigner(identity.private_key, "test"))


def ra() -> pki.Identity:
    return self_signed(pki.shared_key("RSA-2048"), "ra")


def device() -> pki.Identity:
    return self_signed(pki.shared_key("RSA-2048"), "device-1")


def request(identity: pki.Identity, **changes: Any) -> PkiMessage:
    """A good PKCSReq to this RA; ``changes`` are fields of PkiMessage, ``payload`` and ``cipher``."""
    signer = changes.pop("signer", None) or device()
    csr = pki.csr(signer.private_key, cn="device-1", challenge=b"sesame")
    payload, cipher = changes.pop("payload", csr), changes.pop("cipher", "aes-128-cbc")
    content = changes.pop("content", None) or envelope(payload, [identity.certificate], cipher=cipher)
    return PkiMessage(signer, content, **changes)


def opened(octets: bytes, identity: pki.Identity, rules: MessageRules = RULES) -> ScepRequest:
    return open_pki_message(read_pki_message(octets), [message_identity(identity)], rules)


def vector_ra() -> pki.Identity:
    certificate = x509.load_pem_x509_certificate((VECTORS / "ra.pem").read_bytes())
    key = serialization.load_pem_private_key((VECTORS / "ra.key.pem").read_bytes(), None)
    return pki.Identity(certificate, key)


@pytest.mark.parametrize(
    ("name", "digest", "cipher", "message_type"),
    [
        ("strongswan-pkcsreq", "sha256", "aes-128-cbc", MessageType.PKCS_REQ),
        ("strongswan-pss-sha512", "sha512", "aes-128-cbc", MessageType.PKCS_REQ),
        ("strongswan-des3", "sha1", "des-ede3-cbc", MessageType.PKCS_REQ),
        ("strongswan-renewalreq", "sha256", "aes-128-cbc", MessageType.RENEWAL_REQ),
        ("micromdm-pkcsreq", "sha1", "des-cbc", MessageType.PKCS_REQ),
    ],
)
def test_message_of_a_real_client_is_opened(
    name: str, digest: str, cipher: str, message_type: MessageType
) -> None:
    """scep.md B11, B15, C16, C23, C32: strongSwan 5.9.8 and Debian's scepclient 2.1.0."""
    found = opened((VECTORS / f"{name}.der").read_bytes(), vector_ra(), LEGACY)
    assert (found.message.digest, found.cipher, found.message_type) == (digest, cipher, message_type)
    parsed, key = read_csr(found, LEGACY)
    assert key.pop is Pop.SIGNATURE
    renewal = message_type is MessageType.RENEWAL_REQ
    assert (parsed.public_key.spki_der == found.message.signer.spki_der) is not renewal
    assert parsed.challenge_password == (None if renewal else b"sesame")
    cn = "device-2" if name.startswith("micromdm") else "device-1"
    assert f"CN={cn}" in str(parsed.subject)
    if renewal:
        assert found.message.signer.serial == 0x01020304


@pytest.mark.parametrize("cipher", AES)
@pytest.mark.parametrize("kind", ["RSA-2048", "P-256"])
@pytest.mark.parametrize("form", ["der", "apple"])
def test_good_request_is_opened(cipher: str, kind: str, form: str) -> None:
    """scep.md C16, C23, C32: also indefinite outside and inside, as Apple sends it."""
    identity = ra()
    signer = self_signed(pki.shared_key(kind))
    csr = pki.csr(signer.private_key, challenge=b"sesame")
    message = request(identity, signer=signer, payload=csr, cipher=cipher)
    assert message.content is not None
    if form == "apple":
        message.content = ber.reencode(message.content, ber.like_apple_envelope)
    octets = message.build()
    if form == "apple":
        octets = ber.reencode(octets, ber.like_apple)
        assert base64.b64encode(octets).startswith(b"MIAG")
    found = opened(octets, identity)
    assert found.payload == csr
    assert found.message.transaction_id == b"4f2c-1"
    assert found.message.transaction_id_der == b"\x13\x064f2c-1"
    assert found.sender_nonce == message.sender_nonce
    assert found.message.signer.certificate_der == signer.certificate_der
    assert found.identity.certificate_der == identity.certificate_der
    assert read_csr(found, RULES)[0].csr_der == csr


def test_message_built_by_asn1crypto_is_opened() -> None:
    """A second producer of the whole message, with the SCEP attributes in it."""
    identity, signer = ra(), device()
    csr = pki.csr(signer.private_key)
    content = envelope(csr, [identity.certificate])

    def one(dotted: str, value: asn1_core.Asn1Value) -> asn1_core.Sequence:
        values = asn1_core.SetOf([value], spec=type(value))
        return asn1_core.Asn1Value.load(tlv(0x30, oid(dotted), values.dump()))

    digest = hashes.Hash(hashes.SHA256())
    digest.update(content)
    rows = [
        one("1.2.840.113549.1.9.3", asn1_core.ObjectIdentifier("1.2.840.113549.1.7.1")),
        one("1.2.840.113549.1.9.4", asn1_core.OctetString(digest.finalize())),
        one(TRANSACTION_ID, asn1_core.PrintableString("built by another")),
        one(MESSAGE_TYPE, asn1_core.PrintableString("19")),
        one(SENDER_NONCE, asn1_core.OctetString(b"n" * 16)),
    ]
    attributes = asn1_cms.CMSAttributes.load(tlv(0x31, *sorted(row.dump() for row in rows)))
    certificate = asn1_cms.CertificateChoices.load(signer.certificate_der)
    signature = signer.private_key.sign(attributes.dump(), padding.PKCS1v15(), hashes.SHA256())
    info = asn1_cms.SignerInfo(
        {
            "version": "v1",
            "sid": asn1_cms.SignerIdentifier.load(certificate_id(signer.certificate)),
            "digest_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
            "signed_attrs": attributes,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "rsassa_pkcs1v15"}),
            "signature": signature,
        }
    )
    signed = asn1_cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [algos.DigestAlgorithm({"algorithm": "sha256"})],
            "encap_content_info": {"content_type": "data", "content": content},
            "certificates": [certificate],
            "signer_infos": [info],
        }
    )
    octets = asn1_cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump()
    found = opened(octets, identity)
    assert (found.payload, found.message.transaction_id) == (csr, b"built by another")


def test_previous_identity_still_opens_and_is_the_one_to_answer() -> None:
    """scep.md C30."""
    previous, current = ra(), self_signed(pki.key("RSA-2048"), "new ra")
    identities = [message_identity(current), message_identity(previous)]
    message = read_pki_message(request(previous).build())
    assert open_pki_message(message, identities, RULES).identity is identities[1]
    assert addressed_identity(message, identities) is identities[1]
    foreign = read_pki_message(request(self_signed(pki.shared_key("RSA-2048"), "foreign")).build())
    assert addressed_identity(foreign, identities) is identities[0]
    empty = read_pki_message(PkiMessage(device(), b"").build())
    assert addressed_identity(empty, identities) is identities[0]
    with pytest.raises(ValueError, match="identity"):
        addressed_identity(message, [])


def _without_type(message: PkiMessage) -> None:
    message.content_type = "1.2.840.113549.1.7.3"


def _set(**changes: Any) -> Callable[[PkiMessage], None]:
    def change(message: PkiMessage) -> None:
        for name, value in changes.items():
            setattr(message, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_without_type, "type data"),
        (_set(signer_infos=0), "one signer, not 0"),
        (_set(signer_infos=2), "one signer, not 2"),
        (_set(signer_infos=9), "more than 8 signers"),
        (_set(with_attributes=False), "must have signed attributes"),
        (_set(attributes=[]), "signed attributes"),
        (_set(certificates=[]), "certificate of its signer"),
        (_set(certificates=[tlv(0x30, b"\5\0")] * 33), "more than 32 certificates"),
        (_set(transaction_id=None), "transactionID"),
        (_set(transaction_id=""), "1 to 255"),
        (_set(transaction_id="x" * 256), "1 to 255"),
        (_set(transaction_id_tag=0x02), "1 to 255"),
        (_set(more_attributes=(text(MESSAGE_TYPE, "19"),)), "once, with one value"),
        (_set(more_attributes=(text(TRANSACTION_ID, "other"),)), "once, with one value"),
        (_set(more_attributes=(attribute(SENDER_NONCE, tlv(0x04, b"n")),)), "once, with one value"),
        (_set(message_type=None, more_attributes=(TWO_TYPES,)), "once, with one value"),
        (_set(more_attributes=tuple(text(f"1.2.3.{n}", "x") for n in range(64))), "1 to 64 signed"),
    ],
)
def test_message_without_what_an_answer_needs_is_malformed(
    change: Callable[[PkiMessage], None], fault: str
) -> None:
    """scep.md C15, C18, C19, C20, C24: for these HTTP 400 is the only answer."""
    message = request(ra())
    change(message)
    with pytest.raises(MalformedMessage, match=fault) as caught:
        read_pki_message(message.build())
    assert caught.value.code is ReasonCode.MESSAGE_ASN1


def test_octets_that_are_no_message_are_malformed() -> None:
    """scep.md C11, C15."""
    good = request(ra()).build()
    with pytest.raises(MalformedMessage) as caught:
        read_pki_message(b"")
    assert caught.value.code is ReasonCode.MESSAGE_EMPTY
    assert request(ra()).content is not None
    for octets in (b"\0" * 500, b"<html>", good + b"\n", good[:-1], good[1:], request(ra()).content or b""):
        with pytest.raises(MalformedMessage) as caught:
            read_pki_message(octets)
        assert caught.value.code is ReasonCode.MESSAGE_ASN1


@pytest.mark.parametrize("tag", [0x0C, 0x12, 0x13, 0x14, 0x16, 0x1A])
def test_transaction_id_of_any_string_type_is_echoed_with_its_tag(tag: int) -> None:
    """scep.md C24."""
    message = read_pki_message(request(ra(), transaction_id="4711", transaction_id_tag=tag).build())
    assert (message.transaction_id, message.transaction_id_der) == (b"4711", bytes((tag, 4)) + b"4711")
    longest = read_pki_message(request(ra(), transaction_id="x" * 255, transaction_id_tag=tag).build())
    assert longest.transaction_id == b"x" * 255


@pytest.mark.parametrize(
    ("written", "number"),
    [("19", 19), ("3", 3), ("0", 0), ("", None), ("nineteen", None), ("-1", None), ("9" * 7, None)],
)
def test_message_type_is_a_decimal_number_or_nothing(written: str, number: int | None) -> None:
    """scep.md C25: the message can be answered all the same."""
    message = read_pki_message(request(ra(), message_type=written).build())
    assert message.message_type == number
    if number != 19:
        with pytest.raises(MalformedMessage, match="messageType") as caught:
            open_pki_message(message, [message_identity(ra())], RULES)
        assert caught.value.code is ReasonCode.MESSAGE_UNSUPPORTED


def test_only_message_types_of_requests_are_opened() -> None:
    """scep.md C25: each of 0 to 255; CertRep is refused like an unknown one."""
    identity = ra()
    for number in range(256):
        octets = request(identity, message_type=str(number)).build()
        if number in (17, 18, 19, 20, 21, 22):
            assert opened(octets, identity).message_type == number
            continue
        with pytest.raises(MalformedMessage) as caught:
            opened(octets, identity)
        assert caught.value.code is ReasonCode.MESSAGE_UNSUPPORTED


@pytest.mark.parametrize("octets", [1, 8, 16, 32, 255])
def test_nonce_of_any_length_is_taken(octets: int) -> None:
    """scep.md C26."""
    identity = ra()
    nonce = bytes(range(octets))
    assert opened(request(identity, sender_nonce=nonce).build(), identity).sender_nonce == nonce


@pytest.mark.parametrize("nonce", [None, b"", b"n" * 256])
def test_message_without_nonce_can_be_answered_but_not_opened(nonce: bytes | None) -> None:
    """scep.md C26."""
    message = read_pki_message(request(ra(), sender_nonce=nonce).build())
    assert message.sender_nonce is None
    with pytest.raises(MalformedMessage, match="senderNonce") as caught:
        open_pki_message(message, [message_identity(ra())], RULES)
    assert caught.value.code is ReasonCode.MESSAGE_ASN1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"stated_digest": bytes(32)}, ReasonCode.MESSAGE_INTEGRITY),
        ({"signature": bytes(256)}, ReasonCode.MESSAGE_INTEGRITY),
        ({"digest": "sha1"}, ReasonCode.MESSAGE_ALGORITHM),
        ({"digest": "md5"}, ReasonCode.MESSAGE_ALGORITHM),
        ({"cipher": "des-cbc"}, ReasonCode.MESSAGE_ALGORITHM),
        ({"cipher": "des-ede3-cbc"}, ReasonCode.MESSAGE_ALGORITHM),
        ({"content": b"\x30\x00"}, ReasonCode.MESSAGE_ASN1),
        ({"content": tlv(0x30, oid("1.2.840.113549.1.7.1"))}, ReasonCode.MESSAGE_ASN1),
    ],
)
def test_message_that_is_refused_can_still_be_answered(changes: dict[str, Any], code: ReasonCode) -> None:
    """scep.md C21, C22, C29, C32: the outside is read, so a CertRep FAILURE is possible."""
    identity = ra()
    message = read_pki_message(request(identity, **changes).build())
    assert message.transaction_id == b"4f2c-1"
    with pytest.raises(MalformedMessage) as caught:
        open_pki_message(message, [message_identity(identity)], RULES)
    assert caught.value.code is code


def test_message_to_another_certificate_says_what_to_do() -> None:
    """scep.md C29."""
    message = read_pki_message(request(self_signed(pki.shared_key("RSA-2048"), "foreign")).build())
    with pytest.raises(MalformedMessage, match="GetCACert"):
        open_pki_message(message, [message_identity(ra())], RULES)


def test_signer_with_a_key_that_is_none_is_refused_with_the_code_of_keys() -> None:
    """scep.md C36: an RSA key of 512 bits; the outer signature is by it."""
    spki = tlv(
        0x30,
        tlv(0x30, oid("1.2.840.113549.1.1.1"), b"\5\0"),
        tlv(0x03, b"\0" + tlv(0x30, tlv(0x02, b"\0" + b"\xc1" * 64), tlv(0x02, b"\1\0\1"))),
    )
    signer = device()
    weak = signer.certificate_der.replace(pki.spki_der(signer.private_key), spki)
    outer = ber.definite(0x30, ber.definite(0x30, _tbs(weak, spki)) + b"\x30\x00\x03\x01\x00")
    message = request(ra(), signer=signer, certificates=[outer])
    with pytest.raises(MalformedMessage) as caught:
        open_pki_message(read_pki_message(message.build()), [message_identity(ra())], RULES)
    assert caught.value.code is ReasonCode.KEY_SIZE


def _tbs(certificate_der: bytes, spki: bytes) -> bytes:
    """The content of a TBSCertificate up to this key, whatever the lengths around it say."""
    start = certificate_der.index(b"\xa0\x03\x02\x01\x02")
    return certificate_der[start : certificate_der.index(spki) + len(spki)]


def test_payload_of_a_retrieval_is_read() -> None:
    """scep.md C46; issuer and serial number may be BER."""
    identity = ra()
    named = certificate_id(identity.certificate)
    for payload in (named, ber.indefinite(0x30, ber.split(named)[1])):
        get = opened(request(identity, message_type="21", payload=payload).build(), identity)
        assert read_issuer_and_serial(get) == IssuerAndSerial(
            identity.certificate.issuer.public_bytes(), identity.certificate.serial_number
        )


def test_csr_with_a_weak_hash_is_named_only_once_it_is_proven() -> None:
    """scep.md C36."""
    identity, key = ra(), pki.shared_key("RSA-2048")
    for weak in ("sha1", "md5"):
        found = opened(request(identity, payload=pki.raw_csr(key, hash_name=weak)).build(), identity)
        with pytest.raises(MalformedMessage, match=weak) as caught:
            read_csr(found, RULES)
        assert caught.value.code is ReasonCode.KEY_SIGNATURE_HASH
        changed = pki.raw_csr(key, hash_name=weak)[:-1] + b"\0"
        found = opened(request(identity, payload=changed).build(), identity)
        with pytest.raises(MalformedMessage) as caught:
            read_csr(found, RULES)
        assert caught.value.code is ReasonCode.MESSAGE_ASN1
    found = opened(request(identity, payload=pki.raw_csr(key, hash_name="sha1")).build(), identity)
    assert read_csr(found, LEGACY)[1].signature_hash == "sha1"
