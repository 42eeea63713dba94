"""Account keys as JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037) and thumbprints (RFC 7638).

Nothing that a key points to (``x5u``, ``jku``) is ever fetched, and ``x5c`` is not read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.acme import base64url
from gateway.acme.errors import AcmeError, malformed
from gateway.errors import MalformedMessage
from gateway.model.keys import KeyType
from gateway.model.reasons import ReasonCode
from gateway.pki import keys
from gateway.pki.weak_keys import WEAKNESS_TEXTS, weakness_of_ed25519, weakness_of_rsa

AccountPublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
# Every bit of the exponent costs each verification a multiplication; all that are in use have 17 at most.
_MAX_EXPONENT_BITS = 32
_CACHED_KEYS = 2048
_CURVES: dict[str, tuple[EllipticCurve, int]] = {  # octets of a coordinate (RFC 7518 section 6.2.1.2)
    "P-256": (SECP256R1(), 32),
    "P-384": (SECP384R1(), 48),
    "P-521": (SECP521R1(), 66),
}
_ED25519_OCTETS = 32
# RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1: what only the holder of a private or symmetric key knows
_PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv")


@dataclass(frozen=True, slots=True)
class AccountKey:
    """A public key that an account may have.

    ``jwk`` is the canonical JSON of RFC 7638 section 3.2, ``thumbprint`` its SHA-256 in base64url;
    ``curve`` is None for RSA; ``spki_sha256`` is the lower-case hex that certificates are found by.
    """

    jwk: str
    thumbprint: str
    key_type: KeyType
    curve: str | None
    public_key: AccountPublicKey
    spki_sha256: str

    def __str__(self) -> str:
        if isinstance(self.public_key, RSAPublicKey):
            return f"RSA-{self.public_key.key_size}"
        return f"EC {self.curve}" if self.key_type is KeyType.EC else "Ed25519"


def import_jwk(members: Mapping[str, object]) -> AccountKey:
    """Read the ``jwk`` of a message and check everything that can make it a bad account key.

    Members that this kind of key does not have are ignored (RFC 7517 section 4). Raises AcmeError:
    badPublicKey for keys that we do not take, malformed for members that are not what RFC 7518 says.
    """
    kty = _text(members, "kty")
    private = [name for name in _PRIVATE_MEMBERS if name in members]
    if kty == "oct" or private:
        # A private key that travels is no longer one; a symmetric key proves nothing here.
        raise _bad_key(
            'the JWK is a symmetric key (kty "oct"); an account needs a public key'
            if kty == "oct"
            else f"the JWK holds private members ({', '.join(private)}); send the public key only, and use "
            "a new key, since this one has been shown"
        )
    _check_usage(members)
    if kty == "EC":
        return _import_ec(members)
    if kty == "RSA":
        return _import_rsa(members)
    if kty == "OKP":
        return _import_okp(members)
    raise _bad_key("the JWK's kty is not supported; use EC, RSA or OKP (Ed25519)")


@lru_cache(maxsize=_CACHED_KEYS)
def account_key(jwk_text: str) -> AccountKey:
    """The key of a stored account, from the text that ``import_jwk`` made; kept for the next request.

    Whether it is weak is not asked again. Raises ValueError for a text that is none of ours.
    """
    members: dict[str, str] = json.loads(jwk_text)
    if members["kty"] == "RSA":
        modulus, exponent = (int.from_bytes(base64url.decode(members[name]), "big") for name in ("n", "e"))
        return _account_key(jwk_text, RSAPublicNumbers(exponent, modulus).public_key())
    if members["kty"] == "EC":
        x, y = (int.from_bytes(base64url.decode(members[name]), "big") for name in ("x", "y"))
        return _account_key(
            jwk_text, EllipticCurvePublicNumbers(x, y, _CURVES[members["crv"]][0]).public_key()
        )
    return _account_key(jwk_text, Ed25519PublicKey.from_public_bytes(base64url.decode(members["x"])))


def spki_thumbprint(spki_der: bytes) -> str | None:
    """The thumbprint that the key of a SubjectPublicKeyInfo would have as an account's key.

    None for a key that no account can have, also one that cannot be read.
    """
    try:
        return key_thumbprint(keys.load(spki_der))
    except MalformedMessage:
        return None


def key_thumbprint(public_key: keys.LoadedKey) -> str | None:
    """As ``spki_thumbprint``, of a key that is loaded already."""
    jwk_text = _canonical(public_key)
    return None if jwk_text is None else thumbprint_of(jwk_text)


def thumbprint_of(jwk_text: str) -> str:
    """SHA-256 of a canonical JWK in base64url (RFC 7638 section 3)."""
    return base64url.encode(hashlib.sha256(jwk_text.encode("ascii")).digest())


def _check_usage(members: Mapping[str, object]) -> None:
    # RFC 7517 4.2, 4.3: both say what the key is for, and here it is for verifying signatures
    if members.get("use", "sig") != "sig":
        raise malformed('the JWK\'s "use" says that it is not for signatures; it must be "sig" or absent')
    key_ops = members.get("key_ops", ["verify"])
    if not isinstance(key_ops, list) or "verify" not in key_ops:
        raise malformed('the JWK\'s "key_ops" must hold "verify" or be absent')


def _import_ec(members: Mapping[str, object]) -> AccountKey:
    known = _CURVES.get(_text(members, "crv"))
    if known is None:
        raise _bad_key("the JWK's curve is not supported; use P-256, P-384 or P-521", ReasonCode.KEY_CURVE)
    curve, octets = known
    x, y = _coordinate(members, "x", octets), _coordinate(members, "y", octets)
    try:
        public_key = EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError as exc:
        raise _bad_key(
            "the point of the JWK does not lie on its curve", ReasonCode.KEY_CURVE, str(exc)
        ) from exc
    return _account_key(_canonical(public_key), public_key)


def _import_rsa(members: Mapping[str, object]) -> AccountKey:
    modulus, exponent = _unsigned(members, "n"), _unsigned(members, "e")
    size_bits = modulus.bit_length()
    if not MIN_RSA_BITS <= size_bits <= MAX_RSA_BITS:
        raise _bad_key(
            f"an RSA key of {size_bits} bits; an account's has {MIN_RSA_BITS} to {MAX_RSA_BITS}",
            ReasonCode.KEY_SIZE,
        )
    if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > _MAX_EXPONENT_BITS:
        raise _bad_key("the RSA exponent is unsafe; use 65537", ReasonCode.KEY_WEAK)
    weakness = weakness_of_rsa(modulus)
    if weakness is not None:
        raise _bad_key(f"{WEAKNESS_TEXTS[weakness]}; make a new key", ReasonCode.KEY_WEAK)
    try:
        public_key = RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as exc:
        raise _bad_key("the numbers of the JWK are no RSA key", ReasonCode.KEY_WEAK, str(exc)) from exc
    return _account_key(_canonical(public_key), public_key)


def _import_okp(members: Mapping[str, object]) -> AccountKey:
    if _text(members, "crv") != "Ed25519":
        raise _bad_key("the JWK's curve is not supported; of kty OKP use Ed25519", ReasonCode.KEY_CURVE)
    octets = _octets(members, "x")
    if len(octets) != _ED25519_OCTETS:
        raise malformed(f'the JWK\'s "x" must have {_ED25519_OCTETS} octets, not {len(octets)}')
    weakness = weakness_of_ed25519(octets)
    if weakness is not None:
        raise _bad_key(f"{weakness}; make a new key", ReasonCode.KEY_WEAK)
    public_key = Ed25519PublicKey.from_public_bytes(octets)
    return _account_key(_canonical(public_key), public_key)


def _account_key(jwk_text: str | None, public_key: AccountPublicKey) -> AccountKey:
    assert jwk_text is not None
    spki_der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key_type, curve = KeyType.RSA, None
    if isinstance(public_key, EllipticCurvePublicKey):
        key_type, curve = KeyType.EC, _curve_name(public_key)
    elif isinstance(public_key, Ed25519PublicKey):
        key_type, curve = KeyType.ED25519, "Ed25519"
    spki_sha256 = hashlib.sha256(spki_der).hexdigest()
    return AccountKey(jwk_text, thumbprint_of(jwk_text), key_type, curve, public_key, spki_sha256)


def _canonical(public_key: keys.LoadedKey) -> str | None:
    """Required members only, in the order of their names, without space (RFC 7638 sections 3.2 and 3.3)."""
    if isinstance(public_key, RSAPublicKey):
        rsa = public_key.public_numbers()
        return f'{{"e":"{_integer(rsa.e)}","kty":"RSA","n":"{_integer(rsa.n)}"}}'
    if isinstance(public_key, EllipticCurvePublicKey):
        name = _curve_name(public_key)
        if name is None:
            return None
        point, octets = public_key.public_numbers(), _CURVES[name][1]
        x, y = (base64url.encode(number.to_bytes(octets, "big")) for number in (point.x, point.y))
        return f'{{"crv":"{name}","kty":"EC","x":"{x}","y":"{y}"}}'
    if isinstance(public_key, Ed25519PublicKey):
        return f'{{"crv":"Ed25519","kty":"OKP","x":"{base64url.encode(public_key.public_bytes_raw())}"}}'
    return None


def _curve_name(public_key: EllipticCurvePublicKey) -> str | None:
    return next((name for name, (curve, _) in _CURVES.items() if curve.name == public_key.curve.name), None)


def _integer(number: int) -> str:
    return base64url.encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _coordinate(members: Mapping[str, object], name: str, octet_count: int) -> int:
    octets = _octets(members, name)
    if len(octets) != octet_count:
        # RFC 7518 6.2.1.2: the length MUST be the full size of a coordinate, leading zeros included
        raise malformed(f'the JWK\'s "{name}" must have {octet_count} octets, not {len(octets)}')
    return int.from_bytes(octets, "big")


def _unsigned(members: Mapping[str, object], name: str) -> int:
    octets = _octets(members, name)
    if len(octets) > MAX_RSA_BITS // 8 + 1:
        raise _bad_key(
            f'the JWK\'s "{name}" has {len(octets)} octets, far too many for an RSA key', ReasonCode.KEY_SIZE
        )
    if not octets or octets[0] == 0:
        # RFC 7518 2 (Base64urlUInt), 6.3.1.1: the minimum number of octets, no zero octet in front
        raise malformed(f'the JWK\'s "{name}" must be the shortest form of a number above zero')
    return int.from_bytes(octets, "big")


def _octets(members: Mapping[str, object], name: str) -> bytes:
    try:
        return base64url.decode(_text(members, name))
    except ValueError as exc:
        raise malformed(
            f'the JWK\'s "{name}" is not base64url without padding', code=ReasonCode.MESSAGE_BASE64
        ) from exc


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise malformed(f'the JWK must have "{name}" as a string')
    return value


def _bad_key(detail: str, code: ReasonCode = ReasonCode.KEY_TYPE, log_detail: str = "") -> AcmeError:
    return AcmeError("badPublicKey", detail, code=code, log_detail=log_detail)
