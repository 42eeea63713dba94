"""JSON objects (RFC 8259) without the freedom that two readers use differently.

UTF-8 only; no duplicate members at any depth (RFC 7515 section 4 lets a server refuse them); bounded depth;
no NaN, no infinity, no lone surrogates.
"""

from __future__ import annotations

import json
import math
from typing import NoReturn

from gateway.acme.errors import malformed

MAX_DEPTH = 16
_WHITE_SPACE = " \t\n\r"  # RFC 8259 section 2; Python strips more than that by itself


def read_object(text: bytes, what: str) -> dict[str, object]:
    """Read one JSON object; ``what`` begins the sentence of the error ("the payload").

    Raises AcmeError (malformed), whatever the bytes are.
    """
    try:
        whole = text.decode("utf-8").strip(_WHITE_SPACE)
        value, end = _DECODER.raw_decode(whole)  # half of what ``decode`` takes, which only adds the strip
        if end != len(whole):
            raise ValueError("more than one value")
        if b"\\ud" in text or b"\\uD" in text:
            # A lone surrogate is accepted by the decoder and by nothing that comes after it.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as exc:
        reason = f": {exc}" if isinstance(exc, _RefusedError) else ""
        raise malformed(f"{what} is not JSON in UTF-8{reason}") from exc
    if type(value) is not dict:
        raise malformed(f"{what} must be a JSON object")
    # Cheap first: what opens fewer brackets than that cannot be deeper.
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise malformed(f"{what} is nested deeper than {MAX_DEPTH} levels")
    return value


class _RefusedError(ValueError):
    """JSON that other readers take."""


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RefusedError("a member stands twice in one object")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _RefusedError("a number is too large")
    return number


def _no_constant(_name: str) -> NoReturn:
    raise _RefusedError("NaN and Infinity are no JSON numbers")


def _deeper_than(value: object, levels: int) -> bool:
    waiting = [(value, 1)]
    while waiting:
        node, depth = waiting.pop()
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if children and depth > levels:
            return True
        waiting += [(child, depth + 1) for child in children if isinstance(child, dict | list)]
    return False


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_float=_finite, parse_constant=_no_constant)
