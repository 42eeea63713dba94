"""SignedData, attributes and envelopes over the wire (scep.md C15 to C35)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP

from tests.support import ber, pki, scep_wire
from tests.support.authority import Identity
from tests.support.raw_csr import attribute, tlv
from tests.support.scep_answer import (
    BAD_ALG,
    BAD_MESSAGE_CHECK,
    BAD_REQUEST,
    CertRep,
    issued,
    refused,
)
from tests.support.scep_client import Device, HttpAnswer
from tests.support.scep_lab import ScepLab, rsa_key
from tests.support.scep_wire import PkiMessage, envelope, self_signed

Change = dict[str, Any]


def _asked(lab: ScepLab, endpoint: str = "default", **parts: Any) -> tuple[Device, PkiMessage]:
    """A device and its PKCSReq, which would be issued if ``parts`` spoiled nothing."""
    device = lab.device(endpoint)
    return device, device.message(device.csr(lab.challenge), **parts)


def _bad_request(lab: ScepLab, device: Device, octets: bytes) -> HttpAnswer:
    """HTTP 400 in plain text, recorded, and nothing issued."""
    answer = device.server.post(octets)
    assert answer.status == 400, (answer.status, answer.text)
    assert answer.content_type.split(";")[0] == "text/plain"
    assert lab.row(answer.text).state == "refused"
    assert lab.certificates(device) == 0
    return answer


def _failure(lab: ScepLab, device: Device, message: PkiMessage, fail_info: int, code: str) -> CertRep:
    """A recorded CertRep FAILURE, and nothing issued."""
    reply = device.send(message)
    row = lab.row(refused(reply, fail_info, code))
    assert row.state == "refused"
    assert row.code == code
    assert lab.certificates(device) == 0
    return reply


# -- SignedData --


@pytest.mark.parametrize("octets", [b"x", b"\0" * 400, b"\x30\x80" * 5000, b"\x30\x84\xff\xff\xff\xff"])
def test_random_bytes_are_a_bad_request(lab: ScepLab, octets: bytes) -> None:
    """scep.md C15, C17: a nesting bomb too."""
    _bad_request(lab, lab.device(), octets)


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda der: der[:-1],
    "half": lambda der: der[: len(der) // 2],
    "trailing": lambda der: der + b"\0",
    "twice": lambda der: der + der,
}


@pytest.mark.parametrize("how", SPOILED)
def test_truncated_or_continued_message_is_a_bad_request(lab: ScepLab, how: str) -> None:
    """scep.md C15"""
    device, message = _asked(lab)
    _bad_request(lab, device, SPOILED[how](message.build()))


MALFORMED: dict[str, Change] = {
    "other-content-type": {"content_type": scep_wire.SIGNED_DATA},
    "no-signer": {"signer_infos": 0},
    "two-signers": {"signer_infos": 2},
    "no-signed-attributes": {"with_attributes": False},
    "no-certificate": {"certificates": []},
    "no-transaction-id": {"transaction_id": None},
    "empty-transaction-id": {"transaction_id": ""},
    "long-transaction-id": {"transaction_id": "x" * 256},
    "second-transaction-id": {"more_attributes": (scep_wire.text(scep_wire.TRANSACTION_ID, "2"),)},
    "second-message-type": {"more_attributes": (scep_wire.text(scep_wire.MESSAGE_TYPE, "17"),)},
    "second-nonce": {"more_attributes": (attribute(scep_wire.SENDER_NONCE, tlv(0x04, b"n" * 16)),)},
    "two-message-types-in-one": {
        "message_type": None,
        "more_attributes": (attribute(scep_wire.MESSAGE_TYPE, tlv(0x13, b"19"), tlv(0x13, b"17")),),
    },
}


@pytest.mark.parametrize("what", MALFORMED)
def test_message_whose_outside_is_wrong_is_a_bad_request(lab: ScepLab, what: str) -> None:
    """scep.md C15, C18, C19, C20, C24"""
    device, message = _asked(lab, **MALFORMED[what])
    _bad_request(lab, device, message.build())


def test_signer_that_names_another_certificate_is_a_bad_request(lab: ScepLab) -> None:
    """scep.md C19"""
    device, message = _asked(lab)
    message.certificates = [self_signed(rsa_key("somebody"), "somebody").certificate_der]
    _bad_request(lab, device, message.build())


@pytest.mark.parametrize("by_key", [False, True], ids=["issuer-and-serial", "key-identifier"])
def test_signer_is_found_by_its_identifier_among_other_certificates(lab: ScepLab, by_key: bool) -> None:
    """scep.md C19: wherever it stands; the answer is enveloped to it."""
    device, message = _asked(lab, by_key=by_key)
    others = [self_signed(rsa_key(name), name).certificate_der for name in ("somebody", "someone")]
    message.certificates = [others[0], device.signer.certificate_der, others[1]]
    issued(device.send(message))


RULES: dict[str, ber.Rule] = {
    "apple": ber.like_apple,
    "all-indefinite": lambda path, tag: ber.Form.INDEFINITE if len(path) < 3 else ber.Form.KEEP,
    "long-lengths": lambda path, tag: ber.Form.LONG if len(path) < 3 else ber.Form.KEEP,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("inner", [None, "apple", "definite-pieces"])
def test_ber_inside_and_outside_is_read(lab: ScepLab, rule: str, inner: str | None) -> None:
    """scep.md C16, B1, B11: as Apple's devices and Go's client write it."""
    device = lab.device()
    content = envelope(device.csr(lab.challenge), [device.server.ra])
    if inner == "apple":
        content = ber.reencode(content, ber.like_apple_envelope)
    elif inner is not None:
        content = ber.reencode(
            content,
            lambda path, tag: ber.Form.DEFINITE_PIECES if path == (1, 0, 2, 2) else ber.Form.KEEP,
            piece=8000,
        )
    message = device.message(b"", content=content)
    octets = ber.reencode(message.build(), RULES[rule])
    assert octets != message.build()
    issued(device.server.reply(device.server.post(octets), device.signer))


@pytest.mark.parametrize("what", ["digest", "signature", "content", "attribute"])
def test_wrong_digest_or_signature_is_a_bad_message_check(lab: ScepLab, what: str) -> None:
    """scep.md C21"""
    device, message = _asked(lab)
    if what == "digest":
        message.stated_digest = b"\0" * 32
    elif what == "signature":
        message.signature = b"\1" * 256
    elif what == "content":
        message.stated_digest = _sha256(message.content or b"")
        message.content = envelope(device.csr(lab.challenge), [device.server.ra])
    else:
        message.signature = _signature_of(PkiMessage(message.signer, message.content, transaction_id="else"))
    _failure(lab, device, message, BAD_MESSAGE_CHECK, "message.integrity")


def _sha256(content: bytes) -> bytes:
    hasher = hashes.Hash(hashes.SHA256())
    hasher.update(content)
    return hasher.finalize()


def _signature_of(message: PkiMessage) -> bytes:
    """The last element of a message is its signer's signature."""
    return message.build()[-256:]


@pytest.mark.parametrize(("endpoint", "digest"), [("default", "md5"), ("default", "sha1"), ("legacy", "md5")])
def test_broken_digest_is_a_bad_algorithm_and_the_answer_has_a_good_one(
    lab: ScepLab, endpoint: str, digest: str
) -> None:
    """scep.md C22"""
    device, message = _asked(lab, endpoint, digest=digest)
    assert _failure(lab, device, message, BAD_ALG, "message.algorithm").digest == "sha256"


@pytest.mark.parametrize(
    ("endpoint", "digest"),
    [("default", "sha256"), ("default", "sha384"), ("default", "sha512"), ("legacy", "sha1")],
)
@pytest.mark.parametrize("kind", ["pkcs1", "combined", "pss"])
def test_answer_has_the_digest_of_the_request(lab: ScepLab, endpoint: str, digest: str, kind: str) -> None:
    """scep.md C22, C23: PKCS #1 under both names, and PSS as strongSwan signs."""
    device, message = _asked(lab, endpoint, digest=digest, padding=kind)
    reply = device.send(message)
    issued(reply)
    assert reply.digest == digest


def test_ecdsa_signer_is_verified_and_told_that_no_answer_can_be_encrypted(lab: ScepLab) -> None:
    """scep.md C23, C35: before anything is issued."""
    device = Device(lab.server(), pki.shared_key("P-256"))
    message = device.message(device.csr(lab.challenge))
    _failure(lab, device, message, BAD_ALG, "message.algorithm")
    message.stated_digest = b"\0" * 32
    _failure(lab, device, message, BAD_MESSAGE_CHECK, "message.integrity")


# -- attributes --


@pytest.mark.parametrize("tag", [0x13, 0x0C, 0x16, 0x14, 0x1A])
def test_transaction_id_of_any_string_type_is_echoed_as_it_is(lab: ScepLab, tag: int) -> None:
    """scep.md C24"""
    device, message = _asked(lab, transaction_id="An id: +/=", transaction_id_tag=tag)
    reply = device.send(message)
    issued(reply)
    assert (reply.transaction_id, reply.transaction_id_tag) == (b"An id: +/=", tag)


def test_transaction_id_of_255_characters_is_taken(lab: ScepLab) -> None:
    """scep.md C24"""
    device, message = _asked(lab, transaction_id="y" * 255)
    issued(device.send(message))


@pytest.mark.parametrize(
    "message_type", [None, "", "PKCSReq", "3", "0", "18", "255", "19 ", "-19", "999999999"]
)
def test_message_type_that_is_none_of_a_request_is_refused(lab: ScepLab, message_type: str | None) -> None:
    """scep.md C25"""
    device, message = _asked(lab)
    message.message_type = message_type
    _failure(lab, device, message, BAD_REQUEST, "message.unsupported")


@pytest.mark.parametrize("nonce", [None, b"", b"x" * 256], ids=["missing", "empty", "long"])
def test_message_without_a_nonce_is_refused(lab: ScepLab, nonce: bytes | None) -> None:
    """scep.md C26"""
    device, message = _asked(lab)
    message.sender_nonce = nonce
    reply = device.server.reply(device.server.post(message.build()))
    refused(reply, BAD_REQUEST, "message.asn1")
    assert reply.recipient_nonce is None
    assert lab.certificates(device) == 0


def test_nonces_are_given_back_and_fresh_in_every_answer(lab: ScepLab) -> None:
    """scep.md C26: 8 octets are taken."""
    device, message = _asked(lab, sender_nonce=b"8 octets")
    replies = [device.send(message) for _ in range(3)]
    assert {reply.recipient_nonce for reply in replies} == {b"8 octets"}
    assert len({reply.sender_nonce for reply in replies}) == 3
    assert len({issued(reply).serial_number for reply in replies}) == 1


def test_failure_holds_what_the_standard_asks_for_and_no_secret(lab: ScepLab) -> None:
    """scep.md C27, C40: the rest is asserted at every CertRep that is read."""
    device = lab.device()
    secret = "a guess that must not come back"
    text = refused(device.enrol(secret), BAD_REQUEST, "auth.failed")
    assert secret not in text
    assert text.isprintable()


@pytest.mark.parametrize(("endpoint", "content"), [("default", b""), ("omit", None)])
def test_content_of_a_failure_is_empty_or_left_out_as_the_option_says(
    lab: ScepLab, endpoint: str, content: bytes | None
) -> None:
    """scep.md C28, B14"""
    server = lab.server(endpoint)
    server.responders = lab.server().responders if endpoint == "default" else _ra_of(lab, endpoint)
    device = Device(server, rsa_key("device"))
    assert device.enrol("a guess for its content").content == content


def _ra_of(lab: ScepLab, endpoint: str) -> tuple[Any, ...]:
    """The endpoint hands out the CA alone; its RA certificate stands in every answer."""
    server = lab.server(endpoint)
    message = PkiMessage(self_signed(rsa_key("device"), "d"), envelope(b"", [server.responders[0]])).build()
    signed = cms.ContentInfo.load(server.post(message).body)["content"]
    ra = x509.load_der_x509_certificate(signed["certificates"][0].chosen.dump())
    ra.verify_directly_issued_by(server.responders[0])
    return (ra, *server.responders)


# -- envelopes --


def test_message_to_somebody_else_is_refused_with_what_to_do(lab: ScepLab) -> None:
    """scep.md C29"""
    device = lab.device()
    foreign = self_signed(rsa_key("somebody"), "another RA").certificate
    message = device.message(b"", content=envelope(device.csr(lab.challenge), [foreign]))
    assert "GetCACert" in _failure(lab, device, message, BAD_REQUEST, "message.asn1").fail_info_text


def test_recipient_with_the_serial_of_the_ra_and_another_issuer_is_none(lab: ScepLab) -> None:
    """scep.md C29"""
    device = lab.device()
    ra = device.server.ra
    content = envelope(device.csr(lab.challenge), [ra])
    wrong = content.replace(ra.issuer.public_bytes(), _same_size(ra.issuer.public_bytes()))
    assert wrong != content
    _failure(lab, device, device.message(b"", content=wrong), BAD_REQUEST, "message.asn1")


def _same_size(name_der: bytes) -> bytes:
    return name_der[:-1] + bytes([name_der[-1] ^ 1])


def test_recipient_by_key_identifier_and_beside_others_is_found(lab: ScepLab) -> None:
    """scep.md C29, B18: scepclient encrypts to everything that GetCACert gave."""
    device = lab.device()
    issued(device.send(device.message(device.csr(lab.challenge), enveloping={"by_key": True})))
    ra, issuing, _ = device.server.responders
    both = envelope(device.csr(lab.challenge), [issuing, ra])
    issued(device.send(device.message(b"", content=both)))


def test_answer_is_signed_by_the_certificate_that_was_addressed(lab: ScepLab) -> None:
    """scep.md C30; the overlap of two is held by tests/unit/scep and tests/protocol/operations."""
    device, message = _asked(lab)
    assert device.send(message).signer == device.server.ra


CIPHERS = ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des-ede3-cbc", "des-cbc", "rc2-cbc"]


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("endpoint", ["default", "legacy"])
def test_cipher_is_answered_in_kind_or_refused_as_the_endpoint_says(
    lab: ScepLab, endpoint: str, cipher: str
) -> None:
    """scep.md C32, C33"""
    device, message = _asked(lab, endpoint, cipher=cipher)
    if cipher == "rc2-cbc" or (endpoint == "default" and cipher.startswith("des")):
        _failure(lab, device, message, BAD_ALG, "message.algorithm")
        return
    replies = [device.send(message) for _ in range(2)]
    assert {reply.cipher for reply in replies} == {cipher}
    assert len({reply.key_wraps for reply in replies}) == 2, "a content key was used twice"


def test_oaep_is_refused_by_name(lab: ScepLab) -> None:
    """scep.md C32: no client uses it; it must not be taken for PKCS #1."""
    device = lab.device()
    oaep = scep_wire.algorithm("1.2.840.113549.1.1.7", tlv(0x30))
    key = b"k" * 16
    wrapped = device.server.ra.public_key().encrypt(  # type: ignore[union-attr]  # an RSA key
        key, OAEP(MGF1(hashes.SHA1()), hashes.SHA1(), None)
    )
    made = {"key": key, "encrypted_key": wrapped, "key_transport": oaep}
    message = device.message(device.csr(lab.challenge), enveloping=made)
    _failure(lab, device, message, BAD_ALG, "message.algorithm")


def test_aes_gcm_is_refused_by_name(lab: ScepLab) -> None:
    """scep.md C32"""
    device, message = _asked(lab)
    enveloped = pki.oid(scep_wire.ENVELOPED_DATA)
    authenticated = pki.oid("1.2.840.113549.1.9.16.1.23")
    content = message.content or b""
    _, _, rest = ber.split(content[content.index(enveloped) :])
    message.content = tlv(0x30, authenticated, rest)
    _failure(lab, device, message, BAD_ALG, "message.algorithm")


def test_answer_is_enveloped_to_the_signer_and_to_nobody_else(lab: ScepLab) -> None:
    """scep.md C34: one recipient, the signer's certificate; asserted where envelopes are opened."""
    device, message = _asked(lab)
    victim = self_signed(rsa_key("somebody"), "somebody")
    message.certificates = [victim.certificate_der, device.signer.certificate_der]
    reply = device.send(message)
    issued(reply)
    (wrapped,) = reply.key_wraps
    key = device.private_key.decrypt(wrapped, padding.PKCS1v15())
    assert victim.private_key.decrypt(wrapped, padding.PKCS1v15()) != key


def test_device_that_sends_somebody_elses_certificate_cannot_sign_for_it(lab: ScepLab) -> None:
    """scep.md C19, C21: the certificate is public, the key is not."""
    device = lab.device().enrolled(lab.challenge)
    thief = Identity(device.signer.certificate, rsa_key("somebody"))
    message = PkiMessage(thief, envelope(device.csr(None), [device.server.ra]), message_type="17")
    reply = device.server.reply(device.server.post(message.build()))
    refused(reply, BAD_MESSAGE_CHECK, "message.integrity")
    assert lab.certificates(device) == 1
