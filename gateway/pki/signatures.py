"""Signature algorithms of requests and certificates, and their verification.

RFC 4055 (RSA), RFC 5758 (ECDSA), RFC 8410 (EdDSA), RFC 9881 (ML-DSA). Verification raises.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.errors import MalformedMessage
from gateway.model.keys import KeyType, PublicKey
from gateway.model.reasons import ReasonCode
from gateway.pki import der
from gateway.pki.keys import LoadedKey
from gateway.pki.oids import read_oid

_RSASSA_PSS = "1.2.840.113549.1.1.10"
_MGF1 = "1.2.840.113549.1.1.8"
_HASH_OIDS = {
    "1.2.840.113549.2.5": "md5",
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "md5": hashes.MD5,  # it and SHA-1 only where the caller does not refuse them
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_ALGORITHMS: dict[str, tuple[KeyType, str | None]] = {
    "1.2.840.113549.1.1.2": (KeyType.RSA, "md2"),
    "1.2.840.113549.1.1.4": (KeyType.RSA, "md5"),
    "1.2.840.113549.1.1.5": (KeyType.RSA, "sha1"),
    "1.3.14.3.2.29": (KeyType.RSA, "sha1"),
    "1.2.840.113549.1.1.14": (KeyType.RSA, "sha224"),
    "1.2.840.113549.1.1.11": (KeyType.RSA, "sha256"),
    "1.2.840.113549.1.1.12": (KeyType.RSA, "sha384"),
    "1.2.840.113549.1.1.13": (KeyType.RSA, "sha512"),
    "1.2.840.10045.4.1": (KeyType.EC, "sha1"),
    "1.2.840.10045.4.3.1": (KeyType.EC, "sha224"),
    "1.2.840.10045.4.3.2": (KeyType.EC, "sha256"),
    "1.2.840.10045.4.3.3": (KeyType.EC, "sha384"),
    "1.2.840.10045.4.3.4": (KeyType.EC, "sha512"),
    "1.3.101.112": (KeyType.ED25519, None),
    "1.3.101.113": (KeyType.ED448, None),
    "2.16.840.1.101.3.4.3.17": (KeyType.ML_DSA_44, None),
    "2.16.840.1.101.3.4.3.18": (KeyType.ML_DSA_65, None),
    "2.16.840.1.101.3.4.3.19": (KeyType.ML_DSA_87, None),
}
BROKEN_HASHES = frozenset({"md2", "md5", "sha1"})


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """One AlgorithmIdentifier of a signature. ``hash`` is None where the algorithm brings its own.

    ``pss_salt_octets`` is None for everything but RSASSA-PSS.
    """

    oid: str
    key_type: KeyType
    hash: str | None
    pss_salt_octets: int | None = None


def read_signature_algorithm(source: bytes, start: int, end: int) -> SignatureAlgorithm:
    """Read the content of an AlgorithmIdentifier's SEQUENCE. Raises MalformedMessage.

    An algorithm that we do not know gives KeyType.OTHER.
    """
    tag, oid_start, oid_end = der.read_tlv(source, start, end)
    if tag != der.OID:
        raise MalformedMessage("a signature algorithm must start with its object identifier")
    oid = read_oid(source[oid_start:oid_end])
    if oid == _RSASSA_PSS:
        return _read_pss(source, oid_end, end)
    key_type, hash_name = _ALGORITHMS.get(oid, (KeyType.OTHER, None))
    # RFC 8410 3, RFC 5758 3.2: absent. RFC 4055 5: NULL. Old EC devices write NULL, some RSA ones nothing.
    if key_type is not KeyType.OTHER and source[oid_end:end] not in (b"", b"\x05\x00"):
        raise MalformedMessage(f"the signature algorithm {oid} must have no parameters")
    return SignatureAlgorithm(oid, key_type, hash_name)


def _read_pss(source: bytes, start: int, end: int) -> SignatureAlgorithm:
    # RFC 4055 3.1: each field has a default, SHA-1 and 20 octets of salt
    hash_name, mask_hash, salt_octets = "sha1", "sha1", 20
    if start != end:
        tag, fields_start, fields_end = der.read_tlv(source, start, end)
        if tag != der.SEQUENCE or fields_end != end:
            raise MalformedMessage("the parameters of RSASSA-PSS must be one SEQUENCE")
        last = 0
        for tag, _, content, stop in der.children(source, fields_start, fields_end):
            if tag <= last:
                raise MalformedMessage("the parameters of RSASSA-PSS are out of order")
            last = tag
            if tag == 0xA0:
                hash_name = _read_hash(source, content, stop)
            elif tag == 0xA1:
                mask_hash = _read_mask_hash(source, content, stop)
            elif tag == 0xA2:
                salt_octets = _read_small_integer(source, content, stop)
            elif tag != 0xA3 or _read_small_integer(source, content, stop) != 1:
                raise MalformedMessage("the parameters of RSASSA-PSS have an unknown field")
    if hash_name != mask_hash:
        # RFC 4055 3.1 recommends the same hash for both, and nothing else is in use
        raise MalformedMessage("RSASSA-PSS with different hashes for message and mask is not supported")
    return SignatureAlgorithm(_RSASSA_PSS, KeyType.RSA, hash_name, salt_octets)


def _read_hash(source: bytes, start: int, end: int) -> str:
    tag, content, stop = der.read_tlv(source, start, end)
    if tag != der.SEQUENCE or stop != end:
        raise MalformedMessage("a hash algorithm must be one SEQUENCE")
    tag, oid_start, oid_end = der.read_tlv(source, content, stop)
    oid = read_oid(source[oid_start:oid_end]) if tag == der.OID else ""
    if oid not in _HASH_OIDS or source[oid_end:stop] not in (b"", b"\x05\x00"):
        raise MalformedMessage(f"the hash algorithm {oid} is not supported with RSASSA-PSS")
    return _HASH_OIDS[oid]


def _read_mask_hash(source: bytes, start: int, end: int) -> str:
    tag, content, stop = der.read_tlv(source, start, end)
    if tag == der.SEQUENCE and stop == end:
        oid_tag, oid_start, oid_end = der.read_tlv(source, content, stop)
        if oid_tag == der.OID and der.oid_text(source[oid_start:oid_end]) == _MGF1:
            return _read_hash(source, oid_end, stop)
    raise MalformedMessage("RSASSA-PSS must use the mask generation function MGF1")


def _read_small_integer(source: bytes, start: int, end: int) -> int:
    tag, content, stop = der.read_tlv(source, start, end)
    if tag != der.INTEGER or stop != end or not 1 <= stop - content <= 2 or source[content] & 0x80:
        raise MalformedMessage("the parameters of RSASSA-PSS hold no plausible number")
    return int.from_bytes(source[content:stop], "big")


def verify_signature(
    algorithm: SignatureAlgorithm,
    key: LoadedKey,
    described: PublicKey,
    signature: bytes,
    signed: bytes,
    *,
    refused_hashes: frozenset[str] = BROKEN_HASHES,
) -> None:
    """Verify a signature over ``signed``.

    Raises MalformedMessage: ``key.signature-hash`` for the refused hashes (MD2, MD5 and SHA-1 unless said
    otherwise), ``csr.signature`` for all else.
    """
    if algorithm.key_type is not described.type:
        known = algorithm.key_type is not KeyType.OTHER
        fault = f"does not fit the {described} key" if known else "is not supported"
        raise MalformedMessage(
            f"the signature algorithm {algorithm.oid} {fault}",
            code=ReasonCode.CSR_SIGNATURE,
            path="signature",
        )
    if algorithm.hash in refused_hashes:
        raise MalformedMessage(
            f"the signature uses {algorithm.hash.upper()}, which is broken; sign with SHA-256 or better",
            code=ReasonCode.KEY_SIGNATURE_HASH,
            path="signature",
        )
    try:
        _verify(algorithm, key, signature, signed)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as exc:
        raise MalformedMessage(
            "the signature does not match the content and the public key, so possession of the private key is"
            " not proven",
            code=ReasonCode.CSR_SIGNATURE,
            path="signature",
            detail=str(exc),
        ) from exc


def _verify(algorithm: SignatureAlgorithm, key: LoadedKey, signature: bytes, signed: bytes) -> None:
    if algorithm.hash is None:
        if isinstance(key, RSAPublicKey | EllipticCurvePublicKey):
            raise InvalidSignature("no hash")
        key.verify(signature, signed)
        return
    if algorithm.hash not in _HASHES:
        raise UnsupportedAlgorithm(algorithm.hash)
    hashed = _HASHES[algorithm.hash]()
    if isinstance(key, EllipticCurvePublicKey):
        key.verify(signature, signed, ECDSA(hashed))
    elif isinstance(key, RSAPublicKey):
        if algorithm.pss_salt_octets is None:
            key.verify(signature, signed, padding.PKCS1v15(), hashed)
        else:
            pss = padding.PSS(padding.MGF1(hashed), algorithm.pss_salt_octets)
            key.verify(signature, signed, pss, hashed)
