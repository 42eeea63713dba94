"""Signing and verifying SignedData with signed attributes (RFC 5652 section 5).

Algorithms: RSA with PKCS #1 v1.5 and PSS (RFC 3370, 4055, 5754), ECDSA (RFC 5753), EdDSA (RFC 8419). Whether
the signer's certificate is trusted is not decided here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache

from gateway.asn1 import cms_encode, der
from gateway.asn1.ber import to_der
from gateway.asn1.cms import (
    CONTENT_TYPE,
    DATA,
    MESSAGE_DIGEST,
    AlgorithmIdentifier,
    Attribute,
    CertificateId,
    IssuerAndSerial,
    KeyIdentifier,
    SignedData,
    SignerInfo,
    canonical_set,
)
from gateway.errors import MalformedMessage
from gateway.model.keys import KeyType
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.keys import EC_PUBLIC_KEY, RSA_ENCRYPTION, read_key, subject_key_identifier
from gateway.pki.names import decode_name, names_match
from gateway.pki.oids import oid_der
from gateway.pki.signatures import SignatureAlgorithm, read_signature_algorithm, verify_signature
from gateway.pki.signer import Signer

# RFC 3370 section 2, RFC 5754 section 2
DIGESTS = {
    "md5": "1.2.840.113549.2.5",
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_DIGEST_NAMES = {oid: name for name, oid in DIGESTS.items()}
_HASHERS = {
    "sha1": lambda octets: hashlib.sha1(octets, usedforsecurity=False),
    "sha224": hashlib.sha224,
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
}
# RFC 5758 section 3.2; SHA-1 of RFC 3279 section 2.2.3
_ECDSA = {
    "sha1": "1.2.840.10045.4.1",
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
}
_NULL = b"\x05\x00"
_NONE: frozenset[str] = frozenset()
_MAX_PARAMETER_OCTETS = 256
_DATA_TYPE_DER = der.oid(DATA)


def digest_name(algorithm: AlgorithmIdentifier) -> str:
    """ "sha256" and so on; the dotted OID of a digest that we do not know."""
    return _DIGEST_NAMES.get(algorithm.oid, algorithm.oid)


def single_value(attributes: Sequence[Attribute], oid: str) -> bytes | None:
    """The one value of the attribute as its TLV, None where it is missing.

    Raises MalformedMessage if the attribute stands there twice or has not exactly one value, since different
    readers would then see different things (RFC 5652 section 11).
    """
    found = [attribute for attribute in attributes if attribute.oid == oid]
    if not found:
        return None
    if len(found) > 1 or len(found[0].values) != 1:
        raise MalformedMessage(f"the signed attribute {oid} must stand there once, with one value")
    return found[0].values[0]


def find_certificate(certificates_der: Sequence[bytes], sid: CertificateId) -> ParsedCertificate:
    """The certificate that the identifier names, wherever it stands.

    Others may be there, and they may be anything. Raises MalformedMessage if none fits, or the one that fits
    cannot be read.
    """
    for certificate_der in certificates_der:
        if is_named(certificate_der, sid):
            return parse_certificate(certificate_der)
    raise MalformedMessage("the message does not hold the certificate of its signer")


def is_named(certificate_der: bytes, sid: CertificateId) -> bool:
    """Whether the identifier names this certificate; False for one that cannot be read.

    Names are compared as octets first, then by RFC 5280 section 7.1.
    """
    try:
        match sid:
            case KeyIdentifier(octets):
                certificate = parse_certificate(certificate_der)
                stated = certificate.subject_key_identifier
                return octets == (subject_key_identifier(certificate.spki_der) if stated is None else stated)
            case IssuerAndSerial(issuer_der, serial):
                found_serial, found_issuer_der = _serial_and_issuer(certificate_der)
                return serial == found_serial and (
                    issuer_der == found_issuer_der or _names_match(issuer_der, found_issuer_der)
                )
    except MalformedMessage:
        return False


def _serial_and_issuer(certificate_der: bytes) -> tuple[int, bytes]:
    """Only these, since a message may hold many certificates."""
    _, start, end = der.read_tlv(certificate_der)
    _, start, end = der.read_tlv(certificate_der, start, end)
    fields = der.children(certificate_der, start, end)
    if fields and fields[0][0] == 0xA0:
        del fields[0]
    if [tlv[0] for tlv in fields[:3]] != [der.INTEGER, der.SEQUENCE, der.SEQUENCE]:
        raise MalformedMessage("the fields of the certificate are not those of RFC 5280 section 4.1")
    serial, _, issuer = fields[:3]
    return (
        int.from_bytes(certificate_der[serial[2] : serial[3]], "big", signed=True),
        certificate_der[issuer[1] : issuer[3]],
    )


def _names_match(received_der: bytes, issuer_der: bytes) -> bool:
    return names_match(decode_name(to_der(received_der)), decode_name(issuer_der))


def verify_signer(
    signed: SignedData, signer: SignerInfo, certificate: ParsedCertificate, digests: Collection[str]
) -> None:
    """Verify digest and signature of one signer that has signed attributes (RFC 5652 sections 5.4 and 5.6).

    Raises MalformedMessage: message.algorithm for a digest that is not in ``digests`` and for a signature
    algorithm that we do not know or that does not fit the key, ``key.*`` for a key that is none,
    message.asn1 for attributes that are missing, message.integrity where what was signed is something else.
    """
    digest = digest_name(signer.digest)
    _check_digest(digest, digests)
    described, key = read_key(certificate.spki_der)
    algorithm = _signature_algorithm(signer.signature_algorithm, digest)
    if algorithm.hash is not None:
        _check_digest(algorithm.hash, digests)
    if key is None or algorithm.key_type is not described.type:
        raise _refused(f"the signature algorithm {algorithm.oid} does not fit the signer's {described} key")
    _check_attributes(signed, signer, digest)
    fault = None
    for signed_set in _as_signed(signer):
        try:
            verify_signature(algorithm, key, described, signer.signature, signed_set, refused_hashes=_NONE)
        except MalformedMessage as error:
            fault = fault or error
        else:
            return
    raise MalformedMessage(
        "the signature of the message does not match its signed attributes and the signer's key",
        code=ReasonCode.MESSAGE_INTEGRITY,
        detail=fault.detail if fault else "",
    ) from fault


def _as_signed(signer: SignerInfo) -> Iterator[bytes]:
    """What may have been signed: the attributes as received, else as DER.

    RFC 5652 section 5.4 has the sender sign DER, in whichever form and order it sends them.
    """
    yield signer.signed_set
    canonical = canonical_set(signer.signed_set)
    if canonical != signer.signed_set:
        yield canonical


def _check_digest(digest: str, digests: Collection[str]) -> None:
    if digest not in digests or digest not in _HASHERS:
        names = ", ".join(digests)
        raise _refused(f"the message is signed with the digest {digest}; {names} can be used here")


def _refused(message: str) -> MalformedMessage:
    return MalformedMessage(message, code=ReasonCode.MESSAGE_ALGORITHM)


def _signature_algorithm(algorithm: AlgorithmIdentifier, digest: str) -> SignatureAlgorithm:
    # RFC 3370 3.2: rsaEncryption leaves the hash to digestAlgorithm. Some write ecPublicKey in that spirit
    if algorithm.oid == RSA_ENCRYPTION:
        return SignatureAlgorithm(algorithm.oid, KeyType.RSA, digest)
    if algorithm.oid == EC_PUBLIC_KEY:
        return SignatureAlgorithm(algorithm.oid, KeyType.EC, digest)
    if len(algorithm.parameters_der) > _MAX_PARAMETER_OCTETS:
        raise _refused(f"the signature algorithm {algorithm.oid} has parameters of unlikely length")
    try:
        return _read_signature_algorithm(algorithm)
    except MalformedMessage as error:
        raise _refused(str(error)) from error


@lru_cache(maxsize=128)
def _read_signature_algorithm(algorithm: AlgorithmIdentifier) -> SignatureAlgorithm:
    content = der.oid(algorithm.oid) + algorithm.parameters_der
    return read_signature_algorithm(content, 0, len(content))


def _check_attributes(signed: SignedData, signer: SignerInfo, digest: str) -> None:
    """RFC 5652 section 5.6: the attributes speak of this content, and there is one of each."""
    content_type = single_value(signer.attributes, CONTENT_TYPE)
    stated = single_value(signer.attributes, MESSAGE_DIGEST)
    if content_type is None or stated is None:
        # RFC 5652 5.3: both MUST be there wherever attributes are signed
        raise MalformedMessage("the signed attributes contentType and messageDigest must be there")
    if to_der(content_type) != oid_der(signed.content_type):
        raise _differs("contentType")
    actual = der.tlv(der.OCTET_STRING, _HASHERS[digest](signed.content or b"").digest())
    if not hmac.compare_digest(to_der(stated), actual):
        raise _differs("messageDigest")


def _differs(attribute: str) -> MalformedMessage:
    return MalformedMessage(
        f"the signed attribute {attribute} does not match the content of the message",
        code=ReasonCode.MESSAGE_INTEGRITY,
    )


def sign(
    content: bytes | None,
    attributes: Sequence[tuple[str, bytes]],
    *,
    certificate_der: bytes,
    signer: Signer,
    digest: str = "sha256",
    certificates_der: Sequence[bytes] | None = None,
) -> bytes:
    """A ContentInfo with SignedData over ``content`` of type id-data; None leaves eContent out.

    ``attributes`` are further signed ones, each OID with its value as DER; contentType and messageDigest are
    added and all are put into DER's order. ``certificates_der`` stand in the message in their order, by
    default the signer's own. Raises ConfigurationError for a key that cannot sign with this digest.
    """
    stated = der.tlv(der.OCTET_STRING, _HASHERS[digest](content or b"").digest())
    signed_set = der.set_of(
        cms_encode.attribute_der(oid, value_der)
        for oid, value_der in ((CONTENT_TYPE, _DATA_TYPE_DER), (MESSAGE_DIGEST, stated), *attributes)
    )
    serial, issuer_der = _serial_and_issuer(certificate_der)
    if signer.public_key.type is KeyType.RSA:
        # RFC 5754 3.2 takes both; rsaEncryption is what PKCS #7 readers of old know
        signature_algorithm = AlgorithmIdentifier(RSA_ENCRYPTION, _NULL)
    else:
        signature_algorithm = AlgorithmIdentifier(_ECDSA[digest])
    return cms_encode.signed_data_der(
        content,
        (certificate_der,) if certificates_der is None else certificates_der,
        SignerInfo(
            sid=IssuerAndSerial(issuer_der, serial),
            digest=AlgorithmIdentifier(DIGESTS[digest]),
            attributes=(),
            signed_set=signed_set,
            signature_algorithm=signature_algorithm,
            signature=signer.sign_with_hash(signed_set, digest),
        ),
    )
