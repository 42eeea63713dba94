"""Signed messages: flattened JSON JWS as RFC 8555 section 6.2 narrows RFC 7515.

``parse_*`` read bytes, ``verify_jws`` checks the signature; whose key it is, the nonce and the URL are for
the caller. Nothing is fetched: ``jku``, ``x5u`` and ``x5c`` of a header are ignored, as is every other member
that RFC 8555 does not know (RFC 7515 section 4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gateway.acme import base64url
from gateway.acme.errors import AcmeError, malformed
from gateway.acme.jwk import AccountKey, import_jwk
from gateway.acme.strict_json import read_object
from gateway.model.keys import KeyType
from gateway.model.reasons import ReasonCode

# RFC 7518 section 3.1, RFC 8037 section 3.1: which key each takes (type, curve)
_ALGORITHMS: dict[str, tuple[KeyType, str | None]] = {
    "ES256": (KeyType.EC, "P-256"),
    "ES384": (KeyType.EC, "P-384"),
    "ES512": (KeyType.EC, "P-521"),
    "RS256": (KeyType.RSA, None),
    "PS256": (KeyType.RSA, None),
    "EdDSA": (KeyType.ED25519, "Ed25519"),
}
ALGORITHMS = tuple(_ALGORITHMS)
MAC_ALGORITHMS = ("HS256", "HS384", "HS512")
_ECDSA: dict[str, tuple[ECDSA, int]] = {  # octets of each of the two numbers (RFC 7518 section 3.4)
    "ES256": (ECDSA(hashes.SHA256()), 32),
    "ES384": (ECDSA(hashes.SHA384()), 48),
    "ES512": (ECDSA(hashes.SHA512()), 66),
}
_ED25519_SIGNATURE_OCTETS = 64


@dataclass(frozen=True, slots=True)
class ParsedJws:
    """A well-formed message, nothing of it verified. Either ``jwk`` or ``kid`` is there.

    ``nonce`` is base64url, empty in an inner JWS, which has none. ``message`` is all of it as it came.
    """

    alg: str
    jwk: AccountKey | None
    kid: str | None
    nonce: str
    url: str
    payload: bytes
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifiedJws:
    """A message that the holder of ``key`` signed; made only by ``verify_jws``."""

    alg: str
    key: AccountKey
    kid: str | None
    url: str
    nonce: str
    payload: bytes
    message: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """The lower-case hex SHA-256 of the message, for the record of what it changed."""
        return hashlib.sha256(self.message).hexdigest()


@dataclass(frozen=True, slots=True)
class ParsedMac:
    """The JWS of an external account binding (RFC 8555 section 7.3.4), its MAC not yet verified."""

    alg: str
    kid: str
    url: str
    payload: bytes
    signing_input: bytes = field(repr=False)
    mac: bytes = field(repr=False)


class _Parts(NamedTuple):
    header: Mapping[str, object]
    payload: bytes
    signature: bytes
    signing_input: bytes


def parse_jws(body: bytes) -> ParsedJws:
    """Read the body of a POST. Raises AcmeError: malformed, badSignatureAlgorithm, badPublicKey, or badNonce
    if it has no nonce."""
    parts = _read_parts(read_object(body, "the request body"), "the request")
    nonce = _nonce(parts.header)
    return _parsed(parts, nonce, body)


def parse_inner_jws(members: Mapping[str, object]) -> ParsedJws:
    """Read the JWS within a keyChange request (RFC 8555 section 7.3.5): with ``jwk`` and without nonce.

    Raises AcmeError as ``parse_jws`` does.
    """
    parts = _read_parts(members, "the inner JWS")
    if "nonce" in parts.header:
        raise malformed("the inner JWS must have no nonce (RFC 8555 section 7.3.5)")
    parsed = _parsed(parts, "", parts.signing_input)
    if parsed.jwk is None:
        raise malformed('the inner JWS must have the new key as "jwk" (RFC 8555 section 7.3.5)')
    return parsed


def parse_mac_jws(members: Mapping[str, object]) -> ParsedMac:
    """Read an external account binding: a MAC algorithm, ``kid``, ``url``, and neither nonce nor ``jwk``.

    Raises AcmeError (malformed).
    """
    parts = _read_parts(members, "the external account binding")
    header = parts.header
    alg = header.get("alg")
    if alg not in MAC_ALGORITHMS or not isinstance(alg, str):
        # RFC 8555 7.3.4: the alg field MUST indicate a MAC-based algorithm
        raise malformed(
            f'the "alg" of the external account binding must be one of {", ".join(MAC_ALGORITHMS)}'
        )
    for name in ("nonce", "jwk"):
        if name in header:
            raise malformed(f'the external account binding must have no "{name}" (RFC 8555 section 7.3.4)')
    kid = _header_text(header, "kid")
    return ParsedMac(
        alg, kid, _header_text(header, "url"), parts.payload, parts.signing_input, parts.signature
    )


def verify_jws(parsed: ParsedJws, key: AccountKey) -> VerifiedJws:
    """Check the signature with a key that the caller trusts to be the sender's.

    Raises AcmeError: badSignatureAlgorithm if ``alg`` does not fit the key, malformed if the signature has
    the wrong form or does not match.
    """
    _check_fit(parsed.alg, key)
    try:
        _verify(parsed, key)
    except (InvalidSignature, ValueError) as exc:
        raise malformed(
            "the signature does not match the message and the key", code=ReasonCode.AUTH_SIGNATURE
        ) from exc
    return VerifiedJws(parsed.alg, key, parsed.kid, parsed.url, parsed.nonce, parsed.payload, parsed.message)


def _read_parts(members: Mapping[str, object], what: str) -> _Parts:
    # RFC 8555 6.2: flattened JSON, one signature, no unprotected header
    for name in ("signatures", "header"):
        if name in members:
            raise malformed(
                f'{what} must be a flattened JWS with one protected header and no "{name}" member'
            )
    protected = _member(members, "protected", what)
    payload, signature = _member(members, "payload", what), _member(members, "signature", what)
    header = read_object(_decoded(protected, "protected"), "the protected header")
    for name in ("crit", "b64"):
        if name in header:
            # RFC 7515 4.1.11: extensions that are not understood; RFC 8555 6.2: payloads are encoded
            raise malformed(f'the protected header has "{name}", which is not supported')
    return _Parts(
        header,
        _decoded(payload, "payload"),
        _decoded(signature, "signature"),
        f"{protected}.{payload}".encode("ascii"),
    )


def _parsed(parts: _Parts, nonce: str, message: bytes) -> ParsedJws:
    header = parts.header
    alg = header.get("alg")
    if not isinstance(alg, str):
        raise malformed('the protected header must have "alg" as a string')
    if alg not in _ALGORITHMS:
        raise _bad_algorithm("this signature algorithm is not supported")
    url = _header_text(header, "url")
    kid, jwk = header.get("kid"), header.get("jwk")
    # RFC 8555 6.2: jwk and kid are mutually exclusive
    if ("jwk" in header) == ("kid" in header):
        raise malformed('the protected header must have either "jwk" or "kid", not both and not none')
    key = None
    if "jwk" in header:
        if not isinstance(jwk, dict):
            raise malformed('the "jwk" of the protected header must be an object')
        key = import_jwk(jwk)
        # RFC 7517 4.4: the algorithm that the key is meant for
        if "alg" in jwk and jwk["alg"] != alg:
            raise malformed('the "alg" of the JWK is not the one of the protected header')
        _check_fit(alg, key)
    elif not isinstance(kid, str):
        raise malformed('the "kid" of the protected header must be the URL of an account')
    return ParsedJws(
        alg=alg,
        jwk=key,
        kid=kid if isinstance(kid, str) else None,
        nonce=nonce,
        url=url,
        payload=parts.payload,
        signing_input=parts.signing_input,
        signature=parts.signature,
        message=message,
    )


def _nonce(header: Mapping[str, object]) -> str:
    if "nonce" not in header:
        # RFC 8555 6.5: a nonce that is not present is answered as one that is not acceptable
        raise AcmeError(
            "badNonce",
            "the protected header has no nonce; take the one of this answer",
            code=ReasonCode.AUTH_REPLAY,
            recorded=False,
        )
    nonce = header["nonce"]
    if isinstance(nonce, str):
        try:
            base64url.decode(nonce)
        except ValueError:
            pass
        else:
            return nonce
    # RFC 8555 6.5.2: MUST be rejected as malformed
    raise malformed("the nonce is not base64url without padding", code=ReasonCode.MESSAGE_BASE64)


def _check_fit(alg: str, key: AccountKey) -> None:
    key_type, curve = _ALGORITHMS[alg]
    if key.key_type is not key_type or key.curve != curve:
        raise _bad_algorithm(f"the algorithm {alg} does not fit the {key} key")


def _verify(parsed: ParsedJws, key: AccountKey) -> None:
    public_key, signature = key.public_key, parsed.signature
    if isinstance(public_key, EllipticCurvePublicKey):
        algorithm, octets = _ECDSA[parsed.alg]
        if len(signature) != 2 * octets:
            # RFC 7518 3.4: r and s, each with its full length; DER and shortened ones are something else
            raise malformed(
                f"a signature with {parsed.alg} has {2 * octets} octets (r and s, RFC 7518 section 3.4), "
                f"not {len(signature)}",
                code=ReasonCode.AUTH_SIGNATURE,
            )
        r, s = int.from_bytes(signature[:octets], "big"), int.from_bytes(signature[octets:], "big")
        public_key.verify(encode_dss_signature(r, s), parsed.signing_input, algorithm)
    elif isinstance(public_key, Ed25519PublicKey):
        if len(signature) != _ED25519_SIGNATURE_OCTETS:
            raise InvalidSignature
        public_key.verify(signature, parsed.signing_input)
    else:
        sha256 = hashes.SHA256()
        # RFC 7518 3.5: the salt is as long as the hash
        scheme = (
            padding.PKCS1v15()
            if parsed.alg == "RS256"
            else padding.PSS(padding.MGF1(sha256), padding.PSS.DIGEST_LENGTH)
        )
        public_key.verify(signature, parsed.signing_input, scheme, sha256)


def _member(members: Mapping[str, object], name: str, what: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise malformed(f'{what} must have "{name}" as a string')
    return value


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64url.decode(text)
    except ValueError as exc:
        raise malformed(f'"{name}" is not base64url without padding', code=ReasonCode.MESSAGE_BASE64) from exc


def _header_text(header: Mapping[str, object], name: str) -> str:
    value = header.get(name)
    if not isinstance(value, str):
        raise malformed(f'the protected header must have "{name}" as a string')
    return value


def _bad_algorithm(detail: str) -> AcmeError:
    # RFC 8555 6.2: the problem document MUST list the supported ones
    return AcmeError(
        "badSignatureAlgorithm",
        f"{detail}; use one of {', '.join(ALGORITHMS)}",
        code=ReasonCode.MESSAGE_UNSUPPORTED,
        members={"algorithms": list(ALGORITHMS)},
    )
