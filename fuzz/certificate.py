"""``gateway.pki.certificate``: certificates, their names, extensions and keys."""

from __future__ import annotations

from contextlib import suppress

from gateway.errors import MalformedMessage
from gateway.pki.certificate import parse_certificate
from gateway.pki.issued_by import verify_issued_by
from gateway.pki.keys import read_key


def one_input(octets: bytes) -> None:
    with suppress(MalformedMessage):
        certificate = parse_certificate(octets)
        read_key(certificate.spki_der)
        verify_issued_by(certificate, certificate)
