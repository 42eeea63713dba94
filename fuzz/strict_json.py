"""``gateway.acme.strict_json``, and keys and identifiers that are read from it."""

from __future__ import annotations

from contextlib import suppress

from gateway.acme.errors import AcmeError
from gateway.acme.identifiers import parse_identifiers
from gateway.acme.jwk import import_jwk
from gateway.acme.strict_json import read_object


def one_input(octets: bytes) -> None:
    with suppress(AcmeError):
        members = read_object(octets, "the input")
        with suppress(AcmeError):
            import_jwk(members)
        parse_identifiers(members.get("identifiers"), 100)
