"""``gateway.scep.get_message``: queries of GET, and messages in them."""

from __future__ import annotations

from contextlib import suppress

from gateway.errors import GatewayError
from gateway.scep.get_message import decoded_message, decoded_text, query_values

_MAX_BYTES = 32_768


def one_input(octets: bytes) -> None:
    values = query_values(octets)
    decoded_text(values.get("operation", b""))
    for value in (values.get("message", b""), octets):
        with suppress(GatewayError):
            assert 0 < len(decoded_message(value, _MAX_BYTES)) <= _MAX_BYTES
