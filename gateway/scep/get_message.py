"""The message of a PKIOperation in a URL (RFC 8894 section 4.1), in every encoding that devices use.

The query is read as it was sent: frameworks turn the ``+`` of raw base64 into a blank.
"""

from __future__ import annotations

import binascii
from urllib.parse import unquote_to_bytes

from gateway.errors import MalformedMessage, PayloadTooLarge
from gateway.model.reasons import ReasonCode

_LINE_BREAKS = b"\t\r\n"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")  # RFC 4648 section 5 to section 4


def query_values(query: bytes) -> dict[str, bytes]:
    """Parameters of a raw query, still percent-encoded values, by their lower-case names; the first counts.

    ``message`` may hold ``=`` and ``+`` in clear, so only the first ``=`` of a parameter splits it.
    """
    found: dict[str, bytes] = {}
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        found.setdefault(unquote_to_bytes(name).decode("latin-1").strip().lower(), value)
    return found


def decoded_text(value: bytes) -> str:
    """A short parameter such as ``operation`` as text."""
    return unquote_to_bytes(value).decode("latin-1").strip().strip('"')


def decoded_message(value: bytes, max_bytes: int) -> bytes:
    """The octets of a ``message`` parameter.

    Percent-encoding, raw ``+`` and ``/``, encoded line breaks, the URL-safe alphabet, missing padding and
    double percent-encoding are taken. Raises MalformedMessage with message.base64 or message.empty, and
    PayloadTooLarge.
    """
    text = unquote_to_bytes(value)
    if b"%" in text:
        text = unquote_to_bytes(text)
    text = _with_plus_signs(text.translate(_TO_STANDARD, delete=_LINE_BREAKS)).rstrip(b"=")
    if not text:
        raise MalformedMessage("the message parameter is empty", code=ReasonCode.MESSAGE_EMPTY)
    if len(text) * 3 // 4 > max_bytes:
        raise PayloadTooLarge(f"the message is larger than the {max_bytes} bytes that are read here")
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error as error:
        raise MalformedMessage(
            f"the message parameter is not base64 ({error})", code=ReasonCode.MESSAGE_BASE64
        ) from error


def _with_plus_signs(text: bytes) -> bytes:
    """Blanks as the raw "+" that a proxy has made them of: all between letters, and at the end those without
    which the last group of four would be incomplete."""
    text = text.lstrip(b" ")
    letters = text.rstrip(b" ")
    if not letters.endswith(b"="):
        letters += b" " * min(len(text) - len(letters), -len(letters) % 4)
    return letters.replace(b" ", b"+")
