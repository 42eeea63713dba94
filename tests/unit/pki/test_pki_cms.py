"""Certs-only messages, judged by OpenSSL's own and by ``cryptography``."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from gateway.errors import MalformedMessage
from gateway.pki.cms import certs_only, read_certs_only
from tests.support import pki

VECTORS = Path(__file__).parent / "vectors"
LEAF, ROOT, CERTS_ONLY = (
    (VECTORS / name).read_bytes()
    for name in ("openssl-leaf.crt", "openssl-root.crt", "openssl-certs-only.p7b")
)


def test_certs_only_of_openssl_is_read_in_its_order() -> None:
    assert read_certs_only(CERTS_ONLY) == (LEAF, ROOT)


def test_certs_only_is_read_by_cryptography_in_the_given_order() -> None:
    loaded = pkcs7.load_der_pkcs7_certificates(certs_only([ROOT, LEAF]))
    assert [certificate.public_bytes(Encoding.DER) for certificate in loaded] == [ROOT, LEAF]


def test_certs_only_is_byte_for_byte_that_of_openssl() -> None:
    assert certs_only([LEAF, ROOT]) == CERTS_ONLY


def test_certs_only_without_a_certificate_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError):
        certs_only([])


def test_signed_message_is_no_certs_only_message() -> None:
    identity = pki.Authority().issue()
    signed = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(b"data")
        .add_signer(identity.certificate, identity.private_key, hashes.SHA256())
        .sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])
    )
    with pytest.raises(MalformedMessage, match="signature"):
        read_certs_only(signed)


@pytest.mark.parametrize(
    "cms_der",
    [
        b"",
        b"\x30\x00",
        LEAF,
        CERTS_ONLY + b"\0",
        CERTS_ONLY[:-1],
        CERTS_ONLY.replace(pki.oid("1.2.840.113549.1.7.2"), pki.oid("1.2.840.113549.1.7.3")),
        certs_only([b"\x05\x00"]),
        certs_only([pki.tlv(0xA1)]),
        certs_only([b"", b""]),
        b"\x30\x80" + CERTS_ONLY[4:] + b"\0\0",
    ],
)
def test_message_that_holds_no_certificates_is_refused(cms_der: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read_certs_only(cms_der)
