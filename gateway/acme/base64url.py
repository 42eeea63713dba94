"""Base64url without padding (RFC 7515 section 2), read strictly."""

from __future__ import annotations

import base64
import binascii


def encode(octets: bytes) -> str:
    """Write octets without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Read octets. Raises ValueError for padding, foreign characters and trailing bits that are not zero."""
    try:
        written = text.encode("ascii")
        octets = base64.urlsafe_b64decode(written + b"=" * (-len(written) % 4))
    except (UnicodeEncodeError, binascii.Error) as exc:
        raise ValueError("this is not base64url") from exc
    # Python's decoder passes over foreign characters, padding and leftover bits; writing it again does not.
    if base64.urlsafe_b64encode(octets).rstrip(b"=") != written:
        raise ValueError("this is not base64url without padding")
    return octets
