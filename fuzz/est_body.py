"""``gateway.est.codec``: bodies of EST requests and answers."""

from __future__ import annotations

from contextlib import suppress

from gateway.errors import MalformedMessage
from gateway.est.codec import body_form, decode_certs_only, decode_csrattrs_body, decode_enroll_body


def one_input(octets: bytes) -> None:
    body_form(octets)
    for lenient in (False, True):
        with suppress(MalformedMessage):
            decode_enroll_body(octets, lenient=lenient)
    with suppress(MalformedMessage):
        decode_certs_only(octets)
    with suppress(MalformedMessage):
        decode_csrattrs_body(octets)
