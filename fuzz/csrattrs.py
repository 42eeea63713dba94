"""``gateway.est.csrattrs_decode``: CSR attributes and templates (RFC 9908)."""

from __future__ import annotations

from contextlib import suppress

from gateway.errors import MalformedMessage
from gateway.est.csrattrs import encode_csrattrs
from gateway.est.csrattrs_decode import decode_csrattrs, decode_template, request_template


def one_input(octets: bytes) -> None:
    with suppress(MalformedMessage):
        attributes = decode_csrattrs(octets)
        encode_csrattrs(attributes)
        request_template(attributes)
    with suppress(MalformedMessage):
        decode_template(octets)
