"""``gateway.pki.csr``: PKCS #10 requests and their proof of possession."""

from __future__ import annotations

from contextlib import suppress

from gateway.errors import MalformedMessage
from gateway.pki.csr import parse_csr, verify_possession


def one_input(octets: bytes) -> None:
    with suppress(MalformedMessage):
        verify_possession(parse_csr(octets), refused_hashes=frozenset())
