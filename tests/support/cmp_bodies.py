"""Contents of PKIBody (RFC 9810 section 5.3) and CRMF requests (RFC 4211), part by part, good or bad."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import SignatureAlgorithmOID

from tests.support import pki
from tests.support.cmp_wire import (
    NULL,
    bits,
    generalized_time,
    integer,
    octets,
    sign,
    signature_algorithm,
    utf8,
)
from tests.support.pki import oid, tlv

NAMES = (
    *("ir", "ip", "cr", "cp", "p10cr", "popdecc", "popdecr", "kur", "kup", "krr", "krp", "rr", "rp", "ccr"),
    *("ccp", "ckuann", "cann", "rann", "crlann", "pkiconf", "nested", "genm", "genp", "error", "certConf"),
    *("pollReq", "pollRep"),
)
TAGS = {name: number for number, name in enumerate(NAMES)}
OLD_CERT_ID = "1.3.6.1.5.5.7.5.1.5"
REG_TOKEN = "1.3.6.1.5.5.7.5.1.1"
SHA256 = tlv(0x30, oid("2.16.840.1.101.3.4.2.1"))


def template(
    *,
    cn: str | None = None,
    subject: x509.Name | None = None,
    sans: Sequence[str] = (),
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    spki_der: bytes | None = None,
    validity: tuple[datetime | None, datetime | None] | None = None,
    issuer: x509.Name | None = None,
    serial: int | None = None,
    version: int | None = None,
    issuer_uid: bytes | None = None,
) -> bytes:
    """A CertTemplate with these fields only."""
    name = subject if subject is not None else pki.name(cn) if cn is not None else None
    wanted = list(extensions)
    if sans:
        names = x509.SubjectAlternativeName([pki.general_name(text) for text in sans])
        wanted.append((names, False))
    return tlv(
        0x30,
        b"" if version is None else b"\x80" + integer(version)[1:],
        b"" if serial is None else b"\x81" + integer(serial)[1:],
        b"" if issuer is None else tlv(0xA3, issuer.public_bytes()),
        b"" if validity is None else tlv(0xA4, *(_time(*pair) for pair in enumerate(validity))),
        b"" if name is None else tlv(0xA5, name.public_bytes()),
        b"" if spki_der is None else b"\xa6" + spki_der[1:],
        b"" if issuer_uid is None else tlv(0x87, b"\x00", issuer_uid),
        tlv(0xA9, *(_extension(*one) for one in wanted)) if wanted else b"",
    )


def _time(tag: int, at: datetime | None) -> bytes:
    return b"" if at is None else tlv(0xA0 | tag, generalized_time(at))


def _extension(value: x509.ExtensionType, critical: bool) -> bytes:
    flag = b"\x01\x01\xff" if critical else b""
    return tlv(0x30, oid(value.oid.dotted_string), flag, octets(value.public_bytes()))


def cert_request(template_der: bytes, *, cert_req_id: int = 0, controls: Sequence[bytes] = ()) -> bytes:
    """A CertRequest; its DER is what a signature as proof of possession is made over."""
    return tlv(0x30, integer(cert_req_id), template_der, tlv(0x30, *controls) if controls else b"")


def signed_pop(private_key: pki.PrivateKey, request_der: bytes, hash_name: str = "sha256") -> bytes:
    """POPOSigningKey over the CertRequest (RFC 4211 section 4.1)."""
    algorithm = signature_algorithm(private_key, hash_name)
    return tlv(0xA1, algorithm, bits(sign(private_key, request_der, hash_name)))


RA_VERIFIED = b"\x80\x00"
KEY_ENCIPHERMENT_POP = tlv(0xA2, b"\x81\x01\x00")
KEY_AGREEMENT_POP = tlv(0xA3, b"\x81\x01\x00")


def request(
    private_key: pki.PrivateKey,
    cn: str | None,
    *,
    cert_req_id: int = 0,
    controls: Sequence[bytes] = (),
    pop: bytes | None = None,
    signer: pki.PrivateKey = None,
    hash_name: str = "sha256",
    **fields: object,
) -> bytes:
    """A CertReqMsg for this key and host; ``pop`` replaces the signature, empty octets leave it out."""
    fields.setdefault("sans", [cn] if cn else ())
    made = template(cn=cn, spki_der=pki.spki_der(private_key), **fields)  # type: ignore[arg-type]  # as template takes them
    asked = cert_request(made, cert_req_id=cert_req_id, controls=controls)
    if pop is None:
        pop = signed_pop(signer or private_key, asked, hash_name)
    return tlv(0x30, asked, pop)


def requests(*messages: bytes) -> bytes:
    """CertReqMessages: the content of ir, cr and kur."""
    return tlv(0x30, *messages)


def old_cert_id(certificate: x509.Certificate, *, serial: int | None = None) -> bytes:
    """The control that says what is renewed (RFC 4211 section 6.5)."""
    issuer = tlv(0xA4, certificate.issuer.public_bytes())
    number = integer(certificate.serial_number if serial is None else serial)
    return tlv(0x30, oid(OLD_CERT_ID), tlv(0x30, issuer, number))


def cert_hash(certificate: x509.Certificate) -> bytes:
    """The hash that certConf wants: that of the certificate's own signature (RFC 9810 section 5.3.18)."""
    der = certificate.public_bytes(Encoding.DER)
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None:
        ed25519 = certificate.signature_algorithm_oid == SignatureAlgorithmOID.ED25519
        return hashlib.sha512(der).digest() if ed25519 else hashlib.shake_256(der).digest(64)
    return hashlib.new(algorithm.name, der).digest()


def cert_status(
    certificate_hash: bytes,
    *,
    cert_req_id: int = 0,
    status_info: bytes | None = None,
    hash_algorithm: bytes | None = None,
) -> bytes:
    hash_alg = b"" if hash_algorithm is None else tlv(0xA0, hash_algorithm)
    return tlv(0x30, octets(certificate_hash), integer(cert_req_id), status_info or b"", hash_alg)


def status_info(status: int, text: str | None = None, failure: int | None = None) -> bytes:
    """A PKIStatusInfo with one failInfo bit at most."""
    parts = [integer(status)]
    if text is not None:
        parts.append(tlv(0x30, utf8(text)))
    if failure is not None:
        filled = failure // 8 + 1
        unused = 7 - failure % 8
        parts.append(tlv(0x03, bytes([unused]) + (1 << unused).to_bytes(filled, "big")))
    return tlv(0x30, *parts)


def error(status: int = 2, text: str = "no more", failure: int | None = None) -> bytes:
    """An ErrorMsgContent."""
    return tlv(0x30, status_info(status, text, failure))


def poll_request(*cert_req_ids: int) -> bytes:
    return tlv(0x30, *(tlv(0x30, integer(number)) for number in cert_req_ids))


def revocation(template_der: bytes, *, reason: int | None = None, crl_entry_details: bytes = b"") -> bytes:
    """One RevDetails; ``reason`` as CRLReason's number."""
    if reason is not None:
        value = tlv(0x30, oid("2.5.29.21"), octets(bytes([0x0A, 0x01, reason])))
        crl_entry_details = tlv(0x30, value)
    return tlv(0x30, template_der, crl_entry_details)


def revocations(*each: bytes) -> bytes:
    return tlv(0x30, *each)


def announcement(tag: int) -> bytes:
    """Some content of the right shape for bodies that no enrolment has (announcements and answers)."""
    certificate = pki.Authority("Announced").certificate.public_bytes(Encoding.DER)
    accepted = tlv(0x30, integer(0))
    update = tlv(0x30, integer(0), accepted)
    now = b"\x18\x0f20260101000000Z"
    contents: dict[str, bytes] = {
        **dict.fromkeys(("ip", "cp", "kup", "ccp"), tlv(0x30, tlv(0x30, update))),
        "popdecc": tlv(0x30, tlv(0x30, octets(b"w"), octets(b"c"))),
        "popdecr": tlv(0x30, integer(5)),
        "krp": tlv(0x30, accepted),
        "rp": tlv(0x30, tlv(0x30, accepted)),
        "ckuann": tlv(0x30, certificate, certificate, certificate),
        "cann": certificate,
        "rann": tlv(0x30, integer(5), tlv(0x30, tlv(0xA4, b"\x30\x00"), integer(7)), now, now),
        "crlann": tlv(0x30),
        "pkiconf": NULL,
        "genp": tlv(0x30),
        "pollRep": tlv(0x30, tlv(0x30, integer(0), integer(1))),
    }
    return contents[NAMES[tag]]
