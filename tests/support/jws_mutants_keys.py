"""Mutants of keys and signatures (acme.md C18-C20, C24-C27, E8)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support import acme_signing
from tests.support.acme_signing import b64u, from_b64u, jwk_of, signed
from tests.support.bad_keys import BadKey, bad_keys
from tests.support.jws_target import BAD_ALGORITHM, MALFORMED, Body, Mutant, Target, message, replaced
from tests.support.keys import shared_key

KINDS = {
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "RS256": "RSA-2048",
    "PS256": "RSA-2048",
    "EdDSA": "Ed25519",
}
_ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def bad_jwks() -> Iterator[Mutant]:
    """Keys that no account may have; the signature is made by another one, since none is looked at."""
    for bad in bad_keys():
        answers = frozenset({(400, bad.problem)})
        yield Mutant(f"jwk-{bad.name}", _with_key(bad), answers, by_key=True)
    for name, extra in (
        ("alg-of-another-curve", {"alg": "ES384"}),
        ("alg-none", {"alg": "none"}),
        ("alg-number", {"alg": 7}),
        ("alg-null", {"alg": None}),
        ("use-enc", {"use": "enc"}),
        ("use-number", {"use": 1}),
        ("key-ops-sign", {"key_ops": ["sign"]}),
        ("key-ops-empty", {"key_ops": []}),
        ("key-ops-text", {"key_ops": "verify"}),
        ("key-ops-derive", {"key_ops": ["deriveKey"]}),
    ):
        yield Mutant(f"jwk-{name}", _with_extra(extra), MALFORMED, by_key=True)


def misfits() -> Iterator[Mutant]:
    """Every algorithm with every key that is not for it."""
    for kind in dict.fromkeys(KINDS.values()):
        for alg, fitting in KINDS.items():
            if fitting != kind:
                yield Mutant(f"{alg}-with-{kind}", _by(kind, alg), BAD_ALGORITHM, by_key=True)


def signatures() -> Iterator[Mutant]:
    """Signatures that do not match, of every algorithm."""
    for alg, kind in KINDS.items():
        for name, spoil in _SPOILED.items():
            yield Mutant(f"{alg}-signature-{name}", _spoiled(kind, alg, spoil), MALFORMED, by_key=True)
    for name, (r, s) in {
        "zero-r": (0, 1),
        "zero-s": (1, 0),
        "both-one": (1, 1),
        "order-as-r": (_ORDER_P256, 1),
        "order-as-s": (1, _ORDER_P256),
        "all-ones": (2**256 - 1, 2**256 - 1),
    }.items():
        octets = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        yield Mutant(f"ecdsa-{name}", replaced("signature", b64u(octets)), MALFORMED)
    yield Mutant("ecdsa-in-der", _ecdsa_in_der, MALFORMED)
    yield Mutant("ecdsa-der-of-the-same", message(_der_of_the_same), MALFORMED)
    yield Mutant(
        "payload-changed", message(lambda m: m | {"payload": b64u(b'{"identifiers":[]}')}), MALFORMED
    )
    yield Mutant("payload-emptied", message(lambda m: m | {"payload": ""}), MALFORMED)
    yield Mutant("header-changed", message(_other_header), MALFORMED)
    yield Mutant("signature-of-another-key", _signed_by_another, MALFORMED)
    yield Mutant("embedded-key-of-another", _another_embedded, MALFORMED, by_key=True)
    yield Mutant("rs256-as-ps256", _by("RSA-2048", "PS256", signer="RS256"), MALFORMED, by_key=True)
    yield Mutant("ps256-as-rs256", _by("RSA-2048", "RS256", signer="PS256"), MALFORMED, by_key=True)


_SPOILED: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "zero": lambda octets: bytes(len(octets)),
    "short": lambda octets: octets[:-1],
    "without-first": lambda octets: octets[1:],
    "long": lambda octets: octets + b"\x00",
    "zero-in-front": lambda octets: b"\x00" + octets,
    "first-bit": lambda octets: bytes([octets[0] ^ 1]) + octets[1:],
    "last-bit": lambda octets: octets[:-1] + bytes([octets[-1] ^ 1]),
    "halves-swapped": lambda octets: octets[len(octets) // 2 :] + octets[: len(octets) // 2],
    "twice": lambda octets: octets + octets,
}


def _by(kind: str, alg: str, *, signer: str = "") -> Body:
    """By a key of this kind; ``signer`` is the algorithm that really signs."""

    def body(target: Target, nonce: str) -> bytes:
        key = shared_key(kind)
        header = target.key_header(nonce, jwk=jwk_of(key), alg=alg)
        used = signer or acme_signing.algorithm_of(key)
        return json.dumps(signed(key, header, target.payload, used)).encode()

    return body


def _spoiled(kind: str, alg: str, spoil: Callable[[bytes], bytes]) -> Body:
    def body(target: Target, nonce: str) -> bytes:
        good = json.loads(_by(kind, alg, signer=alg)(target, nonce))
        return json.dumps(good | {"signature": b64u(spoil(from_b64u(good["signature"])))}).encode()

    return body


def _with_key(bad: BadKey) -> Body:
    def body(target: Target, nonce: str) -> bytes:
        header = target.key_header(nonce, jwk=bad.jwk, alg=bad.alg)
        return json.dumps(signed(target.key, header, target.payload, "ES256")).encode()

    return body


def _with_extra(extra: Mapping[str, object]) -> Body:
    def body(target: Target, nonce: str) -> bytes:
        header = target.key_header(nonce, jwk=jwk_of(target.key) | dict(extra))
        return json.dumps(signed(target.key, header, target.payload)).encode()

    return body


def _ecdsa_in_der(target: Target, nonce: str) -> bytes:
    good = target.flattened(nonce)
    der = target.key.sign(f"{good['protected']}.{good['payload']}".encode(), ec.ECDSA(SHA256()))
    return json.dumps(good | {"signature": b64u(der)}).encode()


def _der_of_the_same(good: dict[str, str]) -> dict[str, str]:
    octets = from_b64u(good["signature"])
    r, s = int.from_bytes(octets[:32], "big"), int.from_bytes(octets[32:], "big")
    return good | {"signature": b64u(encode_dss_signature(r, s))}


def _other_header(good: dict[str, str]) -> dict[str, str]:
    header = json.loads(from_b64u(good["protected"]))
    return good | {"protected": b64u(json.dumps(header | {"x": 1}).encode())}


def _signed_by_another(target: Target, nonce: str) -> bytes:
    other = shared_key("P-256")
    assert other is not target.key
    return json.dumps(signed(other, target.header(nonce), target.payload)).encode()


def _another_embedded(target: Target, nonce: str) -> bytes:
    header = target.key_header(nonce, jwk=jwk_of(shared_key("P-256")))
    return json.dumps(signed(target.key, header, target.payload)).encode()
