"""Names and time-ordered identifiers (RFC 9562 section 5.7)."""

from __future__ import annotations

import os
import time
from typing import NewType

ProtocolName = NewType("ProtocolName", str)  # "acme", "est", "scep", "cmp" or a plug-in's own
EndpointName = NewType("EndpointName", str)
RequestId = NewType("RequestId", str)  # a UUIDv7 in its canonical 36 characters

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id() -> RequestId:
    """Make a UUIDv7: 48 bits of milliseconds, 74 random bits (RFC 9562 section 5.7)."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return RequestId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def new_object_id() -> str:
    """An id for URLs that clients keep: 6 bytes of milliseconds, then 128 random bits, as 44 hex digits.

    The time in front keeps rows of one hour together in an index.
    """
    return (time.time_ns() // 1_000_000).to_bytes(6, "big").hex() + os.urandom(16).hex()


def reason_id(request_id: str) -> str:
    """Give the short id that a client sees and an operator looks up, for example ``PG-7K2M0Q9D``.

    It is 40 of the request id's random bits, so it says nothing that the client must not know.
    """
    bits = int(request_id.replace("-", "")[-10:], 16)
    return "PG-" + "".join(_CROCKFORD[bits >> shift & 31] for shift in range(35, -1, -5))


def id_ending(short_id: str) -> str | None:
    """The last ten hex digits of the request ids that have this ``PG-...`` id; None where it is none."""
    digits = short_id.removeprefix("PG-")
    if len(digits) != 8 or digits == short_id or not set(digits) <= set(_CROCKFORD):
        return None
    bits = 0
    for digit in digits:
        bits = bits << 5 | _CROCKFORD.index(digit)
    return f"{bits:010x}"
