"""What httptools leaves to its user: bodies after an offered upgrade, and its errors in words."""

from __future__ import annotations

from collections.abc import Sequence

import httptools

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


def framing(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The header lines that say how a body is delimited; empty where there is none."""
    return b"".join(b"%b: %b\r\n" % field for field in headers if field[0] in _FRAMING)


def body_head(headers: Sequence[tuple[bytes, bytes]], *, keep_alive: bool) -> bytes:
    """A head by which another parser goes on with the body of a request whose head was read before.

    httptools takes every request that offers an upgrade (as Java's client does for HTTP/2) for one without a
    body, which it would then read as the next request. The protocol hears of a head once more.
    """
    connection = b"" if keep_alive else b"connection: close\r\n"
    return b"POST / HTTP/1.1\r\n" + framing(headers) + connection + b"\r\n"


def error_text(error: httptools.HttpParserError) -> str:
    """What the parser found, in printable characters."""
    text = str(error.args[0]) if error.args else type(error).__name__
    return "".join(char if char.isprintable() else "?" for char in text)
