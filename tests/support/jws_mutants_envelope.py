"""Mutants of the envelope: the body, its serialization, its members and their base64url (acme.md C13-C17)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.acme_signing import b64u
from tests.support.jws_target import MALFORMED, Body, Mutant, Target, body, message, replaced, spoiled


def bodies() -> Iterator[Mutant]:
    """Bodies that are no JSON object, or one that two readers read differently."""
    wrong = {
        "empty": b"",
        "space": b" \n",
        "null": b"null",
        "array": b"[]",
        "number": b"7",
        "string": b'"text"',
        "true": b"true",
        "empty-object": b"{}",
        "html": b"<html>",
        "binary": bytes(range(256)),
        "deep-arrays": b'{"a":' + b"[" * 5000,
        "deep-closed": b'{"a":' + b"[" * 400 + b"]" * 400 + b"}",
        "deep-objects": b'{"a":' * 5000,
        "form": b"protected=a&payload=b&signature=c",
    }
    for name, octets in wrong.items():
        yield Mutant(f"body-{name}", _fixed(octets), MALFORMED)
    changes: dict[str, Callable[[bytes], bytes]] = {
        "truncated": lambda octets: octets[:-1],
        "half": lambda octets: octets[: len(octets) // 2],
        "trailing-brace": lambda octets: octets + b"}",
        "twice": lambda octets: octets + octets,
        "null-byte-after": lambda octets: octets + b"\x00",
        "byte-order-mark": lambda octets: b"\xef\xbb\xbf" + octets,
        "utf-16": lambda octets: octets.decode().encode("utf-16"),
        "latin-1-member": lambda octets: octets[:-1] + b', "x": "\xe9"}',
        "single-quotes": lambda octets: octets.replace(b'"', b"'"),
        "comment": lambda octets: b"/* */" + octets,
        "trailing-comma": lambda octets: octets[:-1] + b",}",
        "nan-member": lambda octets: octets[:-1] + b', "x": NaN}',
        "infinite-member": lambda octets: octets[:-1] + b', "x": -Infinity}',
        "overflowing-number": lambda octets: octets[:-1] + b', "x": 1e999}',
        "endless-integer": lambda octets: octets[:-1] + b', "x": ' + b"9" * 5000 + b"}",
        "lone-surrogate": lambda octets: octets[:-1] + b', "x": "\\ud800"}',
        "control-character": lambda octets: octets[:-1] + b', "x": "\n"}',
        "in-array": lambda octets: b"[" + octets + b"]",
        "in-string": lambda octets: json.dumps(octets.decode()).encode(),
        "in-base64url": lambda octets: b64u(octets).encode(),
    }
    for name, change in changes.items():
        yield Mutant(f"body-{name}", body(change), MALFORMED)


def serializations() -> Iterator[Mutant]:
    """What is no flattened JWS with one protected header."""

    def general(count: int) -> Body:
        def changed(members: dict[str, Any]) -> dict[str, Any]:
            one = {"protected": members["protected"], "signature": members["signature"]}
            return {"payload": members["payload"], "signatures": [one] * count}

        return message(changed)

    def compact(target: Target, nonce: str) -> bytes:
        return ".".join(
            target.flattened(nonce)[name] for name in ("protected", "payload", "signature")
        ).encode()

    yield Mutant("compact", compact, MALFORMED)
    yield Mutant("compact-in-string", lambda t, n: json.dumps(compact(t, n).decode()).encode(), MALFORMED)
    for count in (0, 1, 2):
        yield Mutant(f"general-with-{count}-signatures", general(count), MALFORMED)
    for name, value in (("array", []), ("null", None), ("self", [{}])):
        yield Mutant(f"signatures-beside-{name}", replaced("signatures", value), MALFORMED)
    for name, header in (
        ("empty", {}),
        ("kid", {"kid": "https://a.test/"}),
        ("null", None),
        ("alg", {"alg": "none"}),
    ):
        yield Mutant(f"unprotected-header-{name}", replaced("header", header), MALFORMED)


def parts() -> Iterator[Mutant]:
    """Members of the envelope that are missing, doubled or no text."""
    for part in ("protected", "payload", "signature"):
        for name, value in (("null", None), ("number", 7), ("array", []), ("object", {}), ("true", True)):
            yield Mutant(f"{part}-{name}", replaced(part, value), MALFORMED)
        yield Mutant(
            f"{part}-missing",
            _renamed(part, None),
            MALFORMED,
        )
        yield Mutant(
            f"{part}-twice",
            _doubled(part),
            MALFORMED,
        )
        yield Mutant(
            f"{part}-capital",
            _renamed(part, part.title()),
            MALFORMED,
        )


def base64url() -> Iterator[Mutant]:
    """Everything that lenient decoders pass over."""
    sloppy: dict[str, Callable[[str], str]] = {
        "padded": lambda text: text + "=" * (-len(text) % 4 or 4),
        "one-pad": lambda text: text + "=",
        "newline": lambda text: text + "\n",
        "leading-space": lambda text: " " + text,
        "inner-line-break": lambda text: text[:8] + "\r\n" + text[8:],
        "plus-and-slash": lambda text: "+/+/" + text,
        "not-ascii": lambda text: text + "é",
        "wide-digits": lambda text: text + "\uff11",
        "one-too-many": lambda text: text + "A" * ((1 - len(text)) % 4),
        "null-byte": lambda text: text + "\x00",
        "percent": lambda text: text + "%3D",
        "dot": lambda text: text + ".",
    }
    for part in ("protected", "payload", "signature"):
        for name, change in sloppy.items():
            yield Mutant(f"{part}-base64-{name}", spoiled(part, change), MALFORMED)
        yield Mutant(f"{part}-left-over-bits", spoiled(part, _left_over), MALFORMED)


def _fixed(octets: bytes) -> Body:
    return lambda _target, _nonce: octets


def _renamed(name: str, new: str | None) -> Body:
    def change(members: dict[str, Any]) -> dict[str, Any]:
        value = members.pop(name)
        return members if new is None else members | {new: value}

    return message(change)


def _doubled(name: str) -> Body:
    def change(octets: bytes) -> bytes:
        return octets[:-1] + f', "{name}": "{json.loads(octets)[name]}"}}'.encode()

    return body(change)


def _left_over(text: str) -> str:
    """The same octets with bits set behind the last of them; two characters more if there are none."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    if len(text) % 4 in (2, 3):
        return text[:-1] + alphabet[alphabet.index(text[-1]) | 1]
    return text + "AB"
