"""``gateway.acme.jws``: signed messages of ACME, outer, inner and with a MAC."""

from __future__ import annotations

from contextlib import suppress

from gateway.acme.errors import AcmeError
from gateway.acme.jws import parse_inner_jws, parse_jws, parse_mac_jws, verify_jws
from gateway.acme.strict_json import read_object


def one_input(octets: bytes) -> None:
    with suppress(AcmeError):
        parsed = parse_jws(octets)
        if parsed.jwk is not None:
            verify_jws(parsed, parsed.jwk)
    for parse in (parse_inner_jws, parse_mac_jws):
        with suppress(AcmeError):
            parse(read_object(octets, "the input"))
