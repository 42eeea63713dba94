"""What an ACME client signs (RFC 8555 section 6.2, RFC 7515): JWK, JWS, bindings, key authorizations.

Pure functions, written from the RFCs and apart from the gateway's own codec; good and bad messages alike.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.keys import PrivateKey

_CURVES = {"secp192r1": "P-192", "secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_EC_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "P-192": "ES256"}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_HMACS = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
# RFC 7638 section 3.2, RFC 8037 section 2: what a thumbprint is made of.
_REQUIRED = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}


def b64u(octets: bytes) -> str:
    """base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def from_b64u(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def jwk_of(private_key: PrivateKey) -> dict[str, str]:
    """The public JWK (RFC 7517, RFC 7518 section 6, RFC 8037)."""
    public_key = private_key.public_key()
    if isinstance(public_key, rsa.RSAPublicKey):
        numbers = public_key.public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        point = public_key.public_numbers()
        size = (public_key.curve.key_size + 7) // 8
        return {
            "kty": "EC",
            "crv": _CURVES[public_key.curve.name],
            "x": b64u(point.x.to_bytes(size, "big")),
            "y": b64u(point.y.to_bytes(size, "big")),
        }
    curve = "Ed448" if isinstance(public_key, ed448.Ed448PublicKey) else "Ed25519"
    return {"kty": "OKP", "crv": curve, "x": b64u(public_key.public_bytes_raw())}


def thumbprint(private_key: PrivateKey) -> str:
    """RFC 7638, SHA-256 in base64url."""
    jwk = jwk_of(private_key)
    canonical = {name: jwk[name] for name in _REQUIRED[jwk["kty"]]}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return b64u(hashlib.sha256(text.encode()).digest())


def key_authorization(token: str, private_key: PrivateKey) -> str:
    """RFC 8555 section 8.1."""
    return f"{token}.{thumbprint(private_key)}"


def dns_value(key_authorization_text: str) -> str:
    """What a TXT record of dns-01 holds (RFC 8555 section 8.4)."""
    return b64u(hashlib.sha256(key_authorization_text.encode()).digest())


def algorithm_of(private_key: PrivateKey) -> str:
    """The usual ``alg`` for this key."""
    if isinstance(private_key, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(private_key, ec.EllipticCurvePrivateKey):
        return _EC_ALGORITHMS[_CURVES[private_key.curve.name]]
    return "EdDSA"


def sign(private_key: PrivateKey, algorithm: str, octets: bytes) -> bytes:
    """A JWS signature (RFC 7518 section 3, RFC 8037 section 3.1): of ECDSA r and s one after the other."""
    if isinstance(private_key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return private_key.sign(octets)
    used = _HASHES[algorithm[-3:]]
    if isinstance(private_key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(private_key.sign(octets, ec.ECDSA(used)))
        size = (private_key.curve.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if algorithm.startswith("PS"):
        scheme = padding.PSS(padding.MGF1(used), used.digest_size)
    signature: bytes = private_key.sign(octets, scheme, used)
    return signature


def payload_octets(payload: object) -> bytes:
    """Bytes stay as they are, None is POST-as-GET (RFC 8555 section 6.3), all else is JSON."""
    if payload is None:
        return b""
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


def flattened(protected: Mapping[str, object] | bytes, payload: bytes, signature: bytes) -> dict[str, str]:
    """A flattened JWS (RFC 7515 section 7.2.2)."""
    head = protected if isinstance(protected, bytes) else json.dumps(protected).encode()
    return {"protected": b64u(head), "payload": b64u(payload), "signature": b64u(signature)}


def signed(
    private_key: PrivateKey, protected: Mapping[str, object] | bytes, payload: object, algorithm: str = ""
) -> dict[str, str]:
    """A flattened JWS over this protected header; bytes are a header that no JSON writer would give."""
    head = protected if isinstance(protected, bytes) else json.dumps(protected).encode()
    octets = payload_octets(payload)
    signing_input = f"{b64u(head)}.{b64u(octets)}".encode()
    signature = sign(private_key, algorithm or algorithm_of(private_key), signing_input)
    return flattened(head, octets, signature)


def protected_header(
    private_key: PrivateKey, url: str, nonce: str | None, kid: str | None, changes: Mapping[str, object] = {}
) -> dict[str, object]:
    """The usual header: with ``kid`` if given, else with the key. A change to None takes a member away."""
    header: dict[str, object] = {"alg": algorithm_of(private_key), "nonce": nonce, "url": url}
    header |= {"jwk": jwk_of(private_key)} if kid is None else {"kid": kid}
    header |= changes
    return {name: value for name, value in header.items() if value is not None}


def request_body(
    private_key: PrivateKey,
    payload: object,
    *,
    url: str,
    nonce: str | None,
    kid: str | None = None,
    changes: Mapping[str, object] = {},
) -> bytes:
    """A whole signed request. ``changes`` to the protected header are signed too."""
    return json.dumps(
        signed(private_key, protected_header(private_key, url, nonce, kid, changes), payload)
    ).encode()


def external_binding(
    key_identifier: str,
    hmac_key_b64u: str,
    private_key: PrivateKey,
    url: str,
    *,
    changes: Mapping[str, object] = {},
    payload: object = None,
) -> dict[str, str]:
    """The value of externalAccountBinding (RFC 8555 section 7.3.4); ``payload`` replaces the account key."""
    header = {"alg": "HS256", "kid": key_identifier, "url": url} | dict(changes)
    header = {name: value for name, value in header.items() if value is not None}
    octets = payload_octets(jwk_of(private_key) if payload is None else payload)
    head = json.dumps(header).encode()
    used = _HMACS.get(str(header.get("alg")), hashlib.sha256)
    mac = hmac.new(from_b64u(hmac_key_b64u), f"{b64u(head)}.{b64u(octets)}".encode(), used).digest()
    return flattened(head, octets, mac)


def key_change_payload(
    old_key: PrivateKey,
    new_key: PrivateKey,
    account_url: str,
    url: str,
    *,
    changes: Mapping[str, object] = {},
    payload: Mapping[str, object] | None = None,
    signer: PrivateKey = None,
) -> dict[str, str]:
    """The inner JWS of keyChange (RFC 8555 section 7.3.5), signed by the new key unless ``signer`` is."""
    asked: Mapping[str, Any] = payload or {"account": account_url, "oldKey": jwk_of(old_key)}
    header = protected_header(new_key, url, None, None, changes)
    return signed(signer or new_key, header, asked, str(header.get("alg", "")))


def _number(number: int) -> str:
    return b64u(number.to_bytes((number.bit_length() + 7) // 8, "big"))
