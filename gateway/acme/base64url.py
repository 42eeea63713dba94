"""Base64url without padding (RFC 7515 section 2), read strictly."""

from __future__ import annotations

import base64
import binascii

# Into the alphabet of the C decoder, which refuses what is not in it; what only base64 knows is refused too.
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
# What a last group of two or three characters may end in, so that its leftover bits are zero.
_LAST = {1: frozenset[int](), 2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
_PADDING = (b"", b"", b"==", b"=")


def encode(octets: bytes) -> str:
    """Write octets without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Read octets. Raises ValueError for padding, foreign characters and trailing bits that are not zero."""
    try:
        written = text.encode("ascii")
        left = len(written) % 4
        if left and written[-1] not in _LAST[left]:
            raise ValueError("this is not base64url without padding")
        return binascii.a2b_base64(written.translate(_TO_BASE64) + _PADDING[left], strict_mode=True)
    except (UnicodeEncodeError, binascii.Error) as exc:
        raise ValueError("this is not base64url") from exc
