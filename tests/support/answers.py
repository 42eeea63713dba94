"""What tests ask of EST answers: the certificate in them, or a clear refusal."""

from __future__ import annotations

import re
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from bench.est_stream import only_certificate
from tests.support.est_client import Answer

CERTS_ONLY = "application/pkcs7-mime"
_REASON_ID = re.compile(r"PG-[0-9A-Z]{8}")


def issued(answer: Answer) -> x509.Certificate:
    """The certificate of a 200; fails with the server's text otherwise."""
    assert answer.status == 200, f"{answer.status}: {answer.text}"
    content_type = answer.header("Content-Type")
    assert content_type is not None
    assert content_type.startswith(CERTS_ONLY)
    return x509.load_der_x509_certificate(only_certificate(answer.der))


def issued_der(answer: Answer) -> bytes:
    return issued(answer).public_bytes(Encoding.DER)


def refused(answer: Answer, status: int, code: str, *, recorded: bool = True) -> str:
    """Check a refusal: status, reason code, short plain text, and that a reason id is shown exactly if a
    row was ``recorded`` that it leads to; gives the reason id."""
    assert answer.status == status, f"{answer.status}: {answer.text}"
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    assert code in answer.text
    assert len(answer.body) < 2000
    assert "Traceback" not in answer.text
    found = _REASON_ID.search(answer.text)
    assert answer.header("X-Request-Id"), "no correlation id"
    assert bool(found) is recorded, f"reason id or none in {answer.text!r}"
    return found.group() if found else ""


def dns_names(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def common_name(certificate: x509.Certificate) -> str:
    (attribute,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attribute.value)


def spki_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def write_pem(path: Path, certificate: x509.Certificate) -> Path:
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path
