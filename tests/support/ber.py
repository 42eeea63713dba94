"""Bring DER into other forms of BER (X.690 section 8), as devices write it. A small reader of its own."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

CONSTRUCTED = 0x20


class Form(Enum):
    """How one element is written anew."""

    KEEP = "keep"  # it and all in it as they are
    SHORT = "short"  # DER length
    LONG = "long"  # a length in four octets more than needed
    INDEFINITE = "indefinite"
    PIECES = "pieces"  # a string: constructed, indefinite, in pieces
    DEFINITE_PIECES = "definite-pieces"  # a string: constructed with a definite length


# Which form the element of this tag gets; ``path`` holds the positions that lead to it from the root.
Rule = Callable[[tuple[int, ...], int], Form]


def reencode(der: bytes, rule: Rule, *, piece: int = 100) -> bytes:
    """One DER element anew; ``piece`` is the size of the pieces of strings."""
    tag, content, rest = split(der)
    assert not rest
    return _reencode((), tag, content, rule, piece)


def split(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows of the first element."""
    size, start = der[1], 2
    if size & 0x80:
        start = 2 + (size & 0x7F)
        size = int.from_bytes(der[2:start], "big")
    assert len(der) >= start + size
    return der[0], der[start : start + size], der[start + size :]


def elements(content: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents of what stands in a constructed element."""
    found = []
    while content:
        tag, inner, content = split(content)
        found.append((tag, inner))
    return found


def definite(tag: int, content: bytes, *, octets: int | None = None) -> bytes:
    """An element with a definite length, in so many octets more than the first, or the fewest."""
    size = len(content)
    if octets is None and size < 0x80:
        return bytes((tag, size)) + content
    count = octets or (size.bit_length() + 7) // 8
    return bytes((tag, 0x80 | count)) + size.to_bytes(count, "big") + content


def indefinite(tag: int, content: bytes) -> bytes:
    return bytes((tag | CONSTRUCTED, 0x80)) + content + b"\0\0"


def _reencode(path: tuple[int, ...], tag: int, content: bytes, rule: Rule, piece: int) -> bytes:
    form = rule(path, tag)
    if form is Form.KEEP:
        return definite(tag, content)
    if form in (Form.PIECES, Form.DEFINITE_PIECES):
        cut = b"".join(definite(0x04, content[at : at + piece]) for at in range(0, len(content), piece))
        return indefinite(tag, cut) if form is Form.PIECES else definite(tag | CONSTRUCTED, cut)
    if tag & CONSTRUCTED:
        inner = elements(content)
        content = b"".join(_reencode((*path, i), t, c, rule, piece) for i, (t, c) in enumerate(inner))
        if form is Form.INDEFINITE:
            return indefinite(tag, content)
    return definite(tag, content, octets=6 if form is Form.LONG else None)


def like_apple(path: tuple[int, ...], tag: int) -> Form:
    """A SignedData as iOS and macOS send it: indefinite down to the content, which comes in pieces.

    Certificates, and what a signature covers, stay as they are.
    """
    if path == (1, 0, 2, 1, 0):
        return Form.PIECES
    of_signer = len(path) == 4 and path[2] > 2 and tag == 0x30 and path[2:] != (3, 0)
    if path in ((), (1,), (1, 0), (1, 0, 2), (1, 0, 2, 1)) or of_signer:
        return Form.INDEFINITE
    return Form.INDEFINITE if len(path) == 3 and path[2] > 2 else Form.KEEP


def like_apple_envelope(path: tuple[int, ...], tag: int) -> Form:
    """An EnvelopedData in that manner."""
    if path in ((), (1,), (1, 0), (1, 0, 2)):
        return Form.INDEFINITE
    return Form.PIECES if path == (1, 0, 2, 2) else Form.KEEP
