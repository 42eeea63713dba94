"""Mutants of the protected header (acme.md C17-C18, C21-C24, C28-C32)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from tests.support import acme_signing, pki
from tests.support.acme_signing import b64u, jwk_of
from tests.support.jws_target import (
    BAD_ALGORITHM,
    BAD_NONCE,
    MALFORMED,
    Body,
    Mutant,
    Target,
    head,
    head_member,
    with_header,
)
from tests.support.keys import shared_key

_OTHER_TYPES: tuple[object, ...] = (7, 1.5, True, [], ["ES256"], {})


def raw_headers() -> Iterator[Mutant]:
    """Protected headers that are no plain JSON object."""

    def doubled(name: str) -> Callable[[bytes], bytes]:
        def change(octets: bytes) -> bytes:
            value = json.loads(octets)[name]
            return octets[:-1] + f', "{name}": {json.dumps(value)}}}'.encode()

        return change

    changes: dict[str, Callable[[bytes], bytes]] = {
        "empty": lambda _: b"",
        "array": lambda octets: b"[" + octets + b"]",
        "string": lambda octets: json.dumps(octets.decode()).encode(),
        "null": lambda _: b"null",
        "number": lambda _: b"7",
        "not-json": lambda octets: octets[:-1],
        "trailing": lambda octets: octets + b"x",
        "not-utf-8": lambda octets: octets[:-1] + b', "x": "\xff"}',
        "utf-16": lambda octets: octets.decode().encode("utf-16"),
        "byte-order-mark": lambda octets: b"\xef\xbb\xbf" + octets,
        "deep": lambda octets: octets[:-1] + b', "x": ' + b"[" * 100 + b"]" * 100 + b"}",
        "bottomless": lambda _: b"[" * 10_000,
        "nan": lambda octets: octets[:-1] + b', "x": NaN}',
        "lone-surrogate": lambda octets: octets[:-1] + b', "x": "\\udfff"}',
        "nested-twice": lambda octets: octets[:-1] + b', "x": {"a": 1, "a": 1}}',
        "escaped-twice": lambda octets: octets[:-1] + b', "\\u0061lg": "ES256"}',
    }
    for name in ("alg", "nonce", "url", "kid"):
        changes[f"{name}-twice"] = doubled(name)
    for name, change in changes.items():
        yield Mutant(f"header-{name}", head(change), MALFORMED)


def extensions() -> Iterator[Mutant]:
    """Critical members and unencoded payloads."""
    critical: tuple[object, ...] = ([], ["exp"], ["b64"], ["alg"], "alg", {}, 7)
    for value in critical:
        yield Mutant(f"crit-{json.dumps(value)}", with_header(crit=value), MALFORMED)
    yield Mutant("b64-false", with_header(b64=False), MALFORMED)
    yield Mutant("b64-false-critical", with_header(b64=False, crit=["b64"]), MALFORMED)
    yield Mutant("b64-true", with_header(b64=True), MALFORMED)


def algorithms() -> Iterator[Mutant]:
    """Algorithms that are not on the list."""
    for alg in (
        "none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "RS1", "RS384", "RS512", "PS384", "PS512",
        "ES256K", "es256", "ES256 ", " ES256", "ES-256", "ES256\x00", "", "EDDSA", "Ed448", "dir", "A128KW",
        "RSA-OAEP", "ECDH-ES", "ML-DSA-44",
    ):  # fmt: skip
        yield Mutant(f"alg-{alg!r}", with_header(alg=alg), BAD_ALGORITHM)
    for value in _OTHER_TYPES:
        yield Mutant(f"alg-is-{json.dumps(value)}", with_header(alg=value), MALFORMED)
    yield Mutant("alg-missing", with_header(alg=None), MALFORMED)

    def hmac_with_public_key(target: Target, nonce: str) -> bytes:
        rsa = shared_key("RSA-2048")
        secret = b64u(pki.spki_der(rsa))
        changes: dict[str, object] = {"kid": None, "jwk": jwk_of(rsa), "nonce": nonce}
        body = acme_signing.external_binding("", secret, rsa, target.new_account_url, changes=changes)
        return json.dumps(body).encode()

    yield Mutant("hmac-keyed-with-the-public-key", hmac_with_public_key, BAD_ALGORITHM, by_key=True)
    yield Mutant(
        "alg-none-without-signature",
        lambda t, n: json.dumps(t.flattened(n, alg="none") | {"signature": ""}).encode(),
        BAD_ALGORITHM,
    )


def members() -> Iterator[Mutant]:
    """nonce, url, kid and jwk that are missing or of another kind."""
    yield Mutant("nonce-missing", with_header(nonce=None), BAD_NONCE)
    for value in _OTHER_TYPES:
        yield Mutant(f"nonce-is-{json.dumps(value)}", with_header(nonce=value), MALFORMED)
    spoiled: dict[str, Callable[[str], str]] = {
        "padded": lambda nonce: nonce + "=" * (-len(nonce) % 4 or 4),
        "with-space": lambda nonce: nonce + " ",
        "with-plus": lambda nonce: "+" + nonce[1:],
        "not-ascii": lambda nonce: nonce + "é",
        "of-impossible-length": lambda nonce: nonce + "A" * ((1 - len(nonce)) % 4),
        "with-markup": lambda _: "<script>",
    }
    for name, spoil in spoiled.items():
        yield Mutant(f"nonce-{name}", _with_nonce(spoil), MALFORMED)
    yield Mutant("url-missing", with_header(url=None), MALFORMED)
    for value in _OTHER_TYPES:
        yield Mutant(f"url-is-{json.dumps(value)}", with_header(url=value), MALFORMED)
    for value in _OTHER_TYPES:
        yield Mutant(f"kid-is-{json.dumps(value)}", with_header(kid=value), MALFORMED)
    yield Mutant("neither-kid-nor-jwk", with_header(kid=None), MALFORMED)
    yield Mutant("kid-and-jwk", head_member("jwk", lambda target, _nonce: jwk_of(target.key)), MALFORMED)
    yield Mutant("kid-and-empty-jwk", with_header(jwk={}), MALFORMED)
    for value in ("text", *_OTHER_TYPES[:-1]):
        yield Mutant(f"jwk-is-{json.dumps(value)}", with_header(kid=None, jwk=value), MALFORMED, by_key=True)
    yield Mutant("kid-null-with-jwk", _null_beside("kid"), MALFORMED, by_key=True)
    yield Mutant("jwk-null-with-kid", _null_beside("jwk"), MALFORMED)


def _with_nonce(change: Callable[[str], str]) -> Body:
    return head_member("nonce", lambda _target, nonce: change(nonce))


def _null_beside(name: str) -> Body:
    def body(target: Target, nonce: str) -> bytes:
        header = target.header(nonce) if name == "jwk" else target.key_header(nonce)
        return json.dumps(acme_signing.signed(target.key, header | {name: None}, target.payload)).encode()

    return body
