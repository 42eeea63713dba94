"""``gateway.pki.names``: distinguished names and general names, there and back."""

from __future__ import annotations

from contextlib import suppress

from gateway.errors import MalformedMessage
from gateway.pki.names import (
    decode_general_names,
    decode_name,
    encode_general_names,
    encode_name,
    names_match,
    san_sets_match,
)


def one_input(octets: bytes) -> None:
    with suppress(MalformedMessage):
        name = decode_name(octets)
        assert names_match(name, name)
        str(name)
        encode_name(name)
    with suppress(MalformedMessage):
        names = decode_general_names(octets)
        assert san_sets_match(names, names)
        encode_general_names(names)
