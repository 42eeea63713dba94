"""What policy expects of requests, in CMP's words (RFC 9810 sections 5.3.19.2 and 5.3.19.16)."""

from __future__ import annotations

from gateway.asn1 import der
from gateway.asn1.cmp_support import CertReqTemplate, encode_cert_req_template
from gateway.asn1.crmf import ALG_ID, RSA_KEY_LEN, CertTemplate, Control
from gateway.model.keys import KeyType
from gateway.model.wanted import Wanted, WantedKey
from gateway.pki.certificate import KEY_USAGE_BITS
from gateway.pki.keys import CURVE_OIDS, EC_PUBLIC_KEY, RSA_ENCRYPTION
from gateway.pki.oids import EXTENDED_KEY_USAGE, KEY_USAGE, SUBJECT_ALT_NAME, oid_der

_NULL = der.tlv(der.NULL, b"")
_TRUE = der.tlv(der.BOOLEAN, b"\xff")
_OIDS = {
    KeyType.ED25519: "1.3.101.112",
    KeyType.ED448: "1.3.101.113",
    KeyType.ML_DSA_44: "2.16.840.1.101.3.4.3.17",
    KeyType.ML_DSA_65: "2.16.840.1.101.3.4.3.18",
    KeyType.ML_DSA_87: "2.16.840.1.101.3.4.3.19",
}
# Empty names of the kinds that a template can leave to the requester; those with a structure cannot be empty
_EMPTY_NAMES = {"dns": 0x82, "email": 0x81, "uri": 0x86}


def key_pair_types(wanted: Wanted) -> bytes | None:
    """SEQUENCE OF AlgorithmIdentifier; None where policy names no key."""
    algorithms = tuple(dict.fromkeys(filter(None, map(_algorithm, wanted.keys))))
    return der.sequence(*algorithms) if algorithms else None


def cert_req_template(wanted: Wanted) -> bytes:
    """A CertReqTemplateContent: usages as they will be set, names empty where the requester fills them in."""
    subject = der.sequence(*(_empty_attribute(oid) for oid in wanted.subject_attributes))
    template = CertTemplate(subject_der=subject, extensions_der=_extensions(wanted))
    return encode_cert_req_template(CertReqTemplate(template, tuple(map(_control, wanted.keys))))


def _empty_attribute(oid: str) -> bytes:
    return der.set_of((der.sequence(oid_der(oid), der.tlv(der.UTF8_STRING, b"")),))


def _extensions(wanted: Wanted) -> bytes | None:
    found = []
    names = [der.tlv(_EMPTY_NAMES[kind], b"") for kind in wanted.san_kinds if kind in _EMPTY_NAMES]
    if names and wanted.san_required:
        found.append(_extension(SUBJECT_ALT_NAME, der.sequence(*names)))
    if wanted.key_usage:
        found.append(_extension(KEY_USAGE, _key_usage(wanted.key_usage), critical=_TRUE))
    if wanted.extended_key_usage:
        usages = der.sequence(*map(oid_der, wanted.extended_key_usage))
        found.append(_extension(EXTENDED_KEY_USAGE, usages))
    return der.sequence(*found) if found else None


def _extension(oid: str, value_der: bytes, critical: bytes = b"") -> bytes:
    return der.sequence(oid_der(oid), critical, der.tlv(der.OCTET_STRING, value_der))


def _key_usage(names: tuple[str, ...]) -> bytes:
    """A named bit list without trailing zero bits (X.690 section 11.2.2)."""
    positions = [KEY_USAGE_BITS.index(name) for name in names]
    bits = sum(0x8000 >> position for position in positions)
    last = max(positions)
    octets = bits.to_bytes(2, "big")[: last // 8 + 1]
    return der.tlv(der.BIT_STRING, bytes((7 - last % 8,)) + octets)


def _algorithm(key: WantedKey) -> bytes | None:
    if key.type is KeyType.RSA:
        return der.sequence(oid_der(RSA_ENCRYPTION), _NULL)
    if key.type is KeyType.EC:
        curve = CURVE_OIDS.get(key.curve or "", key.curve)
        return der.sequence(oid_der(EC_PUBLIC_KEY), oid_der(curve) if curve else b"")
    return der.sequence(oid_der(_OIDS[key.type])) if key.type in _OIDS else None


def _control(key: WantedKey) -> Control:
    if key.type is KeyType.RSA and key.size_bits:
        return Control(RSA_KEY_LEN, der.integer(key.size_bits))
    return Control(ALG_ID, _algorithm(key) or der.sequence())
