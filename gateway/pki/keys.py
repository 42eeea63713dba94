"""Subject public keys (RFC 5280 section 4.1.2.7): strict reading, what policy needs to know, and loading.

Checks here are about what can be a key at all; which sizes and curves are good enough is policy's matter.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA44PublicKey,
    MLDSA65PublicKey,
    MLDSA87PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from gateway.errors import MalformedMessage
from gateway.model.keys import KeyType, PublicKey
from gateway.model.reasons import ReasonCode
from gateway.pki import der
from gateway.pki.oids import read_oid

LoadedKey = (
    RSAPublicKey
    | EllipticCurvePublicKey
    | Ed25519PublicKey
    | Ed448PublicKey
    | MLDSA44PublicKey
    | MLDSA65PublicKey
    | MLDSA87PublicKey
)

RSA_ENCRYPTION = "1.2.840.113549.1.1.1"  # RFC 3279 section 2.3.1
EC_PUBLIC_KEY = "1.2.840.10045.2.1"  # RFC 5480 section 2.1.1
# Octets of the raw key: RFC 8410 section 4, RFC 9881 section 4
_RAW_KEYS = {
    "1.3.101.112": (KeyType.ED25519, 32),
    "1.3.101.113": (KeyType.ED448, 57),
    "2.16.840.1.101.3.4.3.17": (KeyType.ML_DSA_44, 1312),
    "2.16.840.1.101.3.4.3.18": (KeyType.ML_DSA_65, 1952),
    "2.16.840.1.101.3.4.3.19": (KeyType.ML_DSA_87, 2592),
}
CURVE_OIDS = {"P-256": "1.2.840.10045.3.1.7", "P-384": "1.3.132.0.34", "P-521": "1.3.132.0.35"}
_CURVES = {  # OID: name in the model, bits of the field
    CURVE_OIDS["P-256"]: ("P-256", 256),
    CURVE_OIDS["P-384"]: ("P-384", 384),
    CURVE_OIDS["P-521"]: ("P-521", 521),
    "1.2.840.10045.3.1.1": ("1.2.840.10045.3.1.1", 192),  # P-192
    "1.3.132.0.33": ("1.3.132.0.33", 224),  # P-224
    "1.3.132.0.10": ("1.3.132.0.10", 256),  # secp256k1
    "1.3.36.3.3.2.8.1.1.7": ("1.3.36.3.3.2.8.1.1.7", 256),  # brainpoolP256r1
    "1.3.36.3.3.2.8.1.1.11": ("1.3.36.3.3.2.8.1.1.11", 384),  # brainpoolP384r1
    "1.3.36.3.3.2.8.1.1.13": ("1.3.36.3.3.2.8.1.1.13", 512),  # brainpoolP512r1
}
_MIN_RSA_BITS, _MAX_RSA_BITS = 1024, 8192
# A verification costs as many multiplications as the exponent has bits (FIPS 186-5 section 5.1 stops at 256)
_MAX_EXPONENT_BITS = 256


def public_key(spki_der: bytes) -> PublicKey:
    """Describe a SubjectPublicKeyInfo, after every check that ``load`` makes.

    An algorithm that the gateway does not know gives KeyType.OTHER. Raises MalformedMessage with one of the
    ``key.*`` codes or ``message.asn1``.
    """
    return read_key(spki_der)[0]


def load(spki_der: bytes) -> LoadedKey:
    """The key as ``cryptography`` uses it.

    Raises MalformedMessage as ``public_key`` does, and ``key.type`` for an algorithm that we do not know.
    """
    described, loaded = read_key(spki_der)
    if loaded is None:
        raise _bad_key(
            f"keys of the algorithm {described.algorithm_oid} are not supported", ReasonCode.KEY_TYPE
        )
    return loaded


@lru_cache(maxsize=64)  # one message shows the same key up to four times
def read_key(spki_der: bytes) -> tuple[PublicKey, LoadedKey | None]:
    """Both at once: the description, and the loaded key or None for an algorithm that we do not know."""
    oid, parameters, key_octets = _read_spki(spki_der)
    size_bits, curve, exponent = 0, None, None
    if oid == RSA_ENCRYPTION:
        key_type = KeyType.RSA
        size_bits, exponent = _read_rsa(parameters, key_octets)
    elif oid == EC_PUBLIC_KEY:
        key_type = KeyType.EC
        curve, size_bits = _read_ec(parameters, key_octets)
    elif oid in _RAW_KEYS:
        key_type, expected = _RAW_KEYS[oid]
        if parameters:
            raise _bad_key(f"an {key_type} key must have no algorithm parameters", ReasonCode.KEY_TYPE)
        if len(key_octets) != expected:
            raise _bad_key(
                f"an {key_type} key has {expected} octets, not {len(key_octets)}", ReasonCode.KEY_SIZE
            )
    else:
        key_type = KeyType.OTHER
    described = PublicKey(spki_der, spki_sha256(spki_der), key_type, size_bits, curve, exponent, oid)
    return described, None if key_type is KeyType.OTHER else _load(spki_der, described)


def _read_spki(spki_der: bytes) -> tuple[str, bytes, bytes]:
    tag, start, end = der.read_tlv(spki_der)
    if tag != der.SEQUENCE or end != len(spki_der):
        raise _bad_key("a public key must be one SEQUENCE (SubjectPublicKeyInfo)", ReasonCode.MESSAGE_ASN1)
    algorithm_tag, algorithm_start, algorithm_end = der.read_tlv(spki_der, start, end)
    key_tag, key_start, key_end = der.read_tlv(spki_der, algorithm_end, end)
    if algorithm_tag != der.SEQUENCE or key_tag != der.BIT_STRING or key_end != end:
        raise _bad_key("a public key must hold an algorithm and a BIT STRING", ReasonCode.MESSAGE_ASN1)
    if key_start == key_end or spki_der[key_start] != 0:
        raise _bad_key("the BIT STRING of a public key must have no unused bits", ReasonCode.MESSAGE_ASN1)
    oid_tag, oid_start, oid_end = der.read_tlv(spki_der, algorithm_start, algorithm_end)
    if oid_tag != der.OID:
        raise _bad_key("a public key's algorithm must be an object identifier", ReasonCode.MESSAGE_ASN1)
    return (
        read_oid(spki_der[oid_start:oid_end]),
        spki_der[oid_end:algorithm_end],
        spki_der[key_start + 1 : key_end],
    )


def _read_rsa(parameters: bytes, key_octets: bytes) -> tuple[int, int]:
    if parameters not in (b"\x05\x00", b""):  # RFC 3279 2.3.1 wants NULL; some encoders leave it out
        raise _bad_key("the algorithm parameters of an RSA key must be NULL", ReasonCode.KEY_TYPE)
    tag, start, end = der.read_tlv(key_octets)
    numbers = der.children(key_octets, start, end) if tag == der.SEQUENCE and end == len(key_octets) else []
    if [number[0] for number in numbers] != [der.INTEGER, der.INTEGER]:
        raise _bad_key("an RSA key must be a SEQUENCE of modulus and exponent", ReasonCode.MESSAGE_ASN1)
    (_, _, modulus_start, modulus_end), (_, _, exponent_start, exponent_end) = numbers
    if modulus_end - modulus_start > _MAX_RSA_BITS // 8 + 1:
        size = 8 * (modulus_end - modulus_start)
        raise _bad_key(f"an RSA key of about {size} bits; at most {_MAX_RSA_BITS}", ReasonCode.KEY_SIZE)
    modulus = int.from_bytes(key_octets[modulus_start:modulus_end], "big", signed=True)
    size_bits = modulus.bit_length()
    if modulus <= 0 or not _MIN_RSA_BITS <= size_bits <= _MAX_RSA_BITS:
        raise _bad_key(
            f"an RSA key of {size_bits} bits; {_MIN_RSA_BITS} to {_MAX_RSA_BITS} can be processed",
            ReasonCode.KEY_SIZE,
        )
    exponent = int.from_bytes(key_octets[exponent_start:exponent_end], "big", signed=True)
    if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > _MAX_EXPONENT_BITS:
        shown = str(exponent) if exponent.bit_length() <= 64 else f"of {exponent.bit_length()} bits"
        raise _bad_key(f"the RSA exponent {shown} is unsafe; use 65537", ReasonCode.KEY_WEAK)
    if modulus % 2 == 0:
        raise _bad_key("the RSA modulus is even, so this is no RSA key", ReasonCode.KEY_WEAK)
    return size_bits, exponent


def _read_ec(parameters: bytes, point: bytes) -> tuple[str, int]:
    # RFC 5480 2.1.1: implicitCurve and specifiedCurve MUST NOT be used
    if not parameters or parameters[0] != der.OID:
        raise _bad_key(
            "an EC key must name its curve (explicit or missing parameters are refused); use P-256",
            ReasonCode.KEY_CURVE,
        )
    _, start, end = der.read_tlv(parameters)
    if end != len(parameters):
        raise _bad_key("an EC key has bytes after the name of its curve", ReasonCode.MESSAGE_ASN1)
    oid = read_oid(parameters[start:end])
    known = _CURVES.get(oid)
    if known is None:
        raise _bad_key(f"the curve {oid} is not supported; use P-256, P-384 or P-521", ReasonCode.KEY_CURVE)
    octets = (known[1] + 7) // 8
    if not (
        (point[:1] == b"\x04" and len(point) == 1 + 2 * octets)
        or (point[:1] in (b"\x02", b"\x03") and len(point) == 1 + octets)
    ):
        raise _bad_key(
            f"the point of the EC key must be 04 and {2 * octets} octets, or 02 or 03 and {octets} octets",
            ReasonCode.KEY_CURVE,
        )
    return known


def _load(spki_der: bytes, described: PublicKey) -> LoadedKey:
    code = ReasonCode.KEY_CURVE if described.type is KeyType.EC else ReasonCode.KEY_WEAK
    try:
        loaded = load_der_public_key(spki_der)
    except UnsupportedAlgorithm as exc:
        raise _bad_key(f"keys of the kind {described} are not supported", code, detail=str(exc)) from exc
    except ValueError as exc:
        what = (
            "its point does not lie on the curve"
            if described.type is KeyType.EC
            else "its numbers cannot be one"
        )
        raise _bad_key(f"this is no valid {described} key: {what}", code, detail=str(exc)) from exc
    if not isinstance(loaded, LoadedKey):
        raise _bad_key(f"keys of the kind {described} are not supported", ReasonCode.KEY_TYPE)
    return loaded


def spki_sha256(spki_der: bytes) -> str:
    """What a key is known by: SHA-256 of its SubjectPublicKeyInfo in the usual form, in lower-case hex.

    An RSA key may come without its NULL and an EC point compressed: that makes no other key of it, of which
    nobody knows that it is compromised. What is no key counts as it is.
    """
    return hashlib.sha256(_usual_form(spki_der)).hexdigest()


def _usual_form(spki_der: bytes) -> bytes:
    try:
        oid, parameters, key_octets = _read_spki(spki_der)
        if (oid == RSA_ENCRYPTION and not parameters) or (oid == EC_PUBLIC_KEY and key_octets[:1] != b"\x04"):
            usual = load_der_public_key(spki_der)
            return usual.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (MalformedMessage, UnsupportedAlgorithm, ValueError):
        pass
    return spki_der


def rsa_modulus(spki_der: bytes) -> int:
    """The modulus of an RSA key. Raises MalformedMessage as ``load`` does, TypeError for another key."""
    loaded = load(spki_der)
    if not isinstance(loaded, RSAPublicKey):
        raise TypeError("only RSA keys have a modulus")
    return loaded.public_numbers().n


def subject_key_identifier(spki_der: bytes) -> bytes:
    """SHA-1 of the key's bits (RFC 5280 section 4.2.1.2, method 1): twenty octets."""
    return hashlib.sha1(_read_spki(spki_der)[2], usedforsecurity=False).digest()


def _bad_key(message: str, code: ReasonCode, detail: str = "") -> MalformedMessage:
    return MalformedMessage(message, code=code, detail=detail, path="key")
