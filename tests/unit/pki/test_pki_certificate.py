"""Certificates: foreign vectors and what is refused."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import MalformedMessage
from gateway.pki.certificate import parse_certificate
from tests.support import pki

VECTORS = Path(__file__).parent / "vectors"


def tbs(
    *,
    version: bytes = bytes.fromhex("a003020102"),
    serial: bytes = b"\x02\x01\x05",
    validity: bytes = b"\x17\x0d260101000000Z\x18\x0f20510101000000Z",
    tail: bytes = b"",
) -> bytes:
    """A certificate of these parts, with nothing true about its signature."""
    algorithm = pki.tlv(0x30, pki.oid("1.2.840.10045.4.3.2"))
    content = pki.tlv(
        0x30,
        version,
        serial,
        algorithm,
        pki.name("issuer").public_bytes(),
        pki.tlv(0x30, validity),
        pki.name("subject").public_bytes(),
        pki.spki_der(pki.shared_key("P-256")),
        tail,
    )
    return pki.tlv(0x30, content, algorithm, b"\x03\x01\x00")


def extension(oid: str, value: bytes, *flags: bytes) -> bytes:
    return pki.tlv(0x30, pki.oid(oid), *flags, pki.tlv(0x04, value))


def extensions(*rows: bytes) -> bytes:
    return pki.tlv(0xA3, pki.tlv(0x30, *rows))


def test_openssl_certificate_is_read_in_full() -> None:
    certificate_der = (VECTORS / "openssl-leaf.crt").read_bytes()
    parsed = parse_certificate(certificate_der)
    assert parsed.sha256 == hashlib.sha256(certificate_der).hexdigest()
    assert parsed.serial == 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF
    assert str(parsed.issuer) == "O=Example,CN=Root"
    assert str(parsed.subject).startswith("C=DE,O=Example GmbH,OU=Zürich,OU=Second,CN=openssl-device")
    assert (parsed.not_after - parsed.not_before).days == 3650
    assert parsed.not_before.tzinfo is UTC
    assert [str(san) for san in parsed.sans][:3] == [
        "dns:openssl-device.example.test",
        "ip:2001:db8::1",
        "ip:192.0.2.9",
    ]
    assert parsed.key_usage == ("digitalSignature", "keyAgreement")
    assert parsed.extended_key_usage == ("1.3.6.1.5.5.7.3.2",)
    assert not parsed.is_ca


def test_openssl_root_without_extensions_is_no_ca() -> None:
    parsed = parse_certificate((VECTORS / "openssl-root.crt").read_bytes())
    assert parsed.not_after.year == 2126
    assert not parsed.is_ca
    assert parsed.extensions == ()


def test_certificate_of_a_ca_shows_its_identifiers() -> None:
    root = pki.Authority()
    parsed = parse_certificate(root.sub("Sub").certificate.public_bytes(Encoding.DER))
    theirs = x509.SubjectKeyIdentifier.from_public_key(root.private_key.public_key()).digest
    assert parsed.is_ca
    assert parsed.key_usage == ("keyCertSign", "cRLSign")
    assert parsed.authority_key_identifier == theirs
    assert parsed.subject_key_identifier not in (None, theirs)


@pytest.mark.parametrize(
    ("validity", "not_before"),
    [
        (b"\x17\x0d500101000000Z\x18\x0f20510101000000Z", datetime(1950, 1, 1, tzinfo=UTC)),
        (b"\x17\x0d491231235959Z\x18\x0f20510101000000Z", datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (b"\x18\x0f99991231235959Z\x18\x0f99991231235959Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_century_of_a_time_follows_rfc_5280(validity: bytes, not_before: datetime) -> None:
    assert parse_certificate(tbs(validity=validity)).not_before == not_before


def test_v1_certificate_is_read() -> None:
    assert parse_certificate(tbs(version=b"")).extensions == ()


def test_unique_identifiers_before_the_extensions_are_passed_over() -> None:
    tail = b"\x81\x02\x00\x01\x82\x02\x00\x01" + extensions(extension("2.5.29.19", b"\x30\x03\x01\x01\xff"))
    assert parse_certificate(tbs(tail=tail)).is_ca


@pytest.mark.parametrize(
    "certificate_der",
    [
        b"",
        b"\x30\x00",
        tbs() + b"\0",
        tbs(version=bytes.fromhex("a003020103")),
        tbs(version=bytes.fromhex("a003020100")),
        tbs(serial=b"\x02\x00"),
        tbs(serial=b"\x04\x01\x05"),
        tbs(validity=b""),
        tbs(validity=b"\x17\x0d261301000000Z\x17\x0d270101000000Z"),  # month 13
        tbs(validity=b"\x17\x0b2601010000Z\x17\x0d270101000000Z"),  # no seconds
        tbs(validity=b"\x17\x11260101000000+0100\x17\x0d270101000000Z"),
        tbs(validity=b"\x16\x0d260101000000Z\x17\x0d270101000000Z"),
        tbs(tail=b"\xa4\x00"),
        tbs(tail=extensions()),
        tbs(tail=extensions() * 2),
        tbs(tail=extensions(extension("2.5.29.99", b""), extension("2.5.29.99", b""))),
        tbs(tail=extensions(extension("2.5.29.99", b"", b"\x01\x01\x01"))),
        tbs(tail=extensions(extension("2.5.29.15", b"\x03\x01\x00"))),
        tbs(tail=extensions(extension("2.5.29.15", b"\x03\x02\x08\x80"))),
        tbs(tail=extensions(extension("2.5.29.37", b"\x30\x00"))),
        tbs(tail=extensions(extension("2.5.29.37", b"\x30\x02\x05\x00"))),
        tbs(tail=extensions(extension("2.5.29.19", b"\x30\x03\x01\x01\x02"))),
        tbs(tail=extensions(extension("2.5.29.19", b"\x31\x00"))),
        tbs(tail=extensions(extension("2.5.29.35", b"\x04\x00"))),
        tbs(tail=extensions(extension("2.5.29.14", b"\x30\x00"))),
        tbs(tail=extensions(extension("2.5.29.17", b"\x30\x00"))),
    ],
)
def test_malformed_certificate_is_refused(certificate_der: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_certificate(certificate_der)


def test_written_out_false_of_a_java_encoder_is_read() -> None:
    tail = extensions(
        extension("2.5.29.19", b"\x30\x03\x01\x01\x00", b"\x01\x01\x00"),
        extension("2.5.29.99", b"", b"\x01\x01\xff"),
    )
    parsed = parse_certificate(tbs(tail=tail))
    assert not parsed.is_ca
    assert [row.critical for row in parsed.extensions] == [False, True]
