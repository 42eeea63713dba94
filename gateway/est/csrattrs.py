"""CSR attributes: what policy wants of a CSR, told to the client (RFC 7030 section 4.5, RFC 8951, RFC 9908).

``csr_attributes`` derives both styles from ``Wanted``. A list of CSR attributes states requirements; it
cannot state alternatives (RFC 9908 section 3.2: exactly one attribute for the key). So where policy admits
several keys or hashes, the first one is named. Decoding is in ``csrattrs_decode``.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.keys import KeyType
from gateway.model.wanted import Wanted, WantedKey
from gateway.pki import der
from gateway.pki.oids import (
    CHALLENGE_PASSWORD,
    EXTENDED_KEY_USAGE,
    EXTENSION_REQUEST,
    KEY_USAGE,
    SUBJECT_ALT_NAME,
)

REQUEST_INFO_TEMPLATE = "1.2.840.113549.1.9.16.2.61"  # id-aa-certificationRequestInfoTemplate (RFC 9908)
EXTENSION_REQUEST_TEMPLATE = "1.2.840.113549.1.9.16.2.62"  # id-aa-extensionReqTemplate (RFC 9908)

RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
EC_PUBLIC_KEY = "1.2.840.10045.2.1"
KEY_ALGORITHMS = {
    KeyType.RSA: RSA_ENCRYPTION,
    KeyType.EC: EC_PUBLIC_KEY,
    KeyType.ED25519: "1.3.101.112",
    KeyType.ED448: "1.3.101.113",
    KeyType.ML_DSA_44: "2.16.840.1.101.3.4.3.17",
    KeyType.ML_DSA_65: "2.16.840.1.101.3.4.3.18",
    KeyType.ML_DSA_87: "2.16.840.1.101.3.4.3.19",
}
CURVES = {"P-256": "1.2.840.10045.3.1.7", "P-384": "1.3.132.0.34", "P-521": "1.3.132.0.35"}

_ECDSA_WITH = {
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
}
_RSA_WITH = {
    "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12",
    "sha512": "1.2.840.113549.1.1.13",
}
_HASHES = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_SIGNATURES: dict[KeyType | None, dict[str, str]] = {
    None: _HASHES,
    KeyType.EC: _ECDSA_WITH,
    KeyType.RSA: _RSA_WITH,
}  # the other key types have no choice of hash

# KeyUsage ::= BIT STRING, bit 0 first (RFC 5280 section 4.2.1.3)
_KEY_USAGE_BITS = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
_CONTEXT_0, _CONTEXT_1 = 0xA0, 0xA1


@dataclass(frozen=True, slots=True)
class CsrAttribute:
    """One Attribute: ``values_der`` are whole TLVs; a key attribute may have none (RFC 9908 section 3.2)."""

    oid: str
    values_der: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class CsrAttrs:
    """CsrAttrs (RFC 7030 section 4.5.2): OIDs in dotted form, and attributes."""

    elements: tuple[str | CsrAttribute, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.elements)


@dataclass(frozen=True, slots=True)
class ExtensionTemplate:
    """An extension that the CSR is to carry; ``value_der`` is None where the client finds the value."""

    oid: str
    critical: bool = False
    value_der: bytes | None = None


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """CertificationRequestInfoTemplate (RFC 9908 section 3.4).

    ``subject`` holds RDNs of (attribute OID, value TLV or None); ``key_parameters_der`` is the whole TLV of
    the algorithm's parameters; ``rsa_bits`` the modulus length of the placeholder key.
    """

    subject: tuple[tuple[tuple[str, bytes | None], ...], ...] = ()
    key_algorithm: str | None = None
    key_parameters_der: bytes | None = None
    rsa_bits: int | None = None
    extensions: tuple[ExtensionTemplate, ...] = ()
    attributes: tuple[CsrAttribute, ...] = ()  # all but the extension request


def csr_attributes(wanted: Wanted, *, template: bool) -> CsrAttrs:
    """Derive the answer to /csrattrs; empty where nothing in particular is wanted."""
    key = wanted.keys[0] if wanted.keys else None
    elements: list[str | CsrAttribute] = []
    if wanted.linking_required:
        elements.append(CHALLENGE_PASSWORD)  # RFC 7030 4.5.2: told exactly where linking is required
    if key is not None and key.type in KEY_ALGORITHMS:
        elements.append(_key_attribute(key))
    elements.extend(wanted.subject_attributes)
    if wanted.san_required:
        elements.append(SUBJECT_ALT_NAME)
    usages = _usage_extensions(wanted)
    if usages:
        value = der.sequence(*map(_extension_der, usages))
        elements.append(CsrAttribute(EXTENSION_REQUEST, (value,)))
    signature = _signature_oid(wanted, key)
    if signature:
        elements.append(signature)
    if elements and template:
        elements.append(CsrAttribute(REQUEST_INFO_TEMPLATE, (encode_template(_template(wanted, key)),)))
    return CsrAttrs(tuple(elements))


def _signature_oid(wanted: Wanted, key: WantedKey | None) -> str | None:
    algorithms = _SIGNATURES.get(key.type if key else None, {})
    known = [algorithms[name] for name in wanted.signature_hashes if name in algorithms]
    return known[0] if known else None


def _key_attribute(key: WantedKey) -> CsrAttribute:
    if key.type is KeyType.RSA:
        return CsrAttribute(RSA_ENCRYPTION, (der.integer(key.size_bits),) if key.size_bits else ())
    if key.type is KeyType.EC:
        return CsrAttribute(EC_PUBLIC_KEY, (der.oid(CURVES.get(key.curve, key.curve)),) if key.curve else ())
    return CsrAttribute(KEY_ALGORITHMS[key.type])


def _usage_extensions(wanted: Wanted) -> list[ExtensionTemplate]:
    out = []
    if wanted.key_usage:
        out.append(ExtensionTemplate(KEY_USAGE, critical=True, value_der=_key_usage_der(wanted.key_usage)))
    if wanted.extended_key_usage:
        value = der.sequence(*map(der.oid, wanted.extended_key_usage))
        out.append(ExtensionTemplate(EXTENDED_KEY_USAGE, value_der=value))
    return out


def _key_usage_der(names: tuple[str, ...]) -> bytes:
    """A named bit list without trailing zero bits (X.690 section 11.2.2)."""
    positions = sorted(_KEY_USAGE_BITS.index(name) for name in names)
    octets = bytearray(positions[-1] // 8 + 1)
    for position in positions:
        octets[position // 8] |= 0x80 >> position % 8
    return der.tlv(der.BIT_STRING, bytes((7 - positions[-1] % 8,)) + bytes(octets))


def _template(wanted: Wanted, key: WantedKey | None) -> RequestTemplate:
    extensions = _usage_extensions(wanted)
    if wanted.san_required:
        extensions.append(ExtensionTemplate(SUBJECT_ALT_NAME))
    parameters: bytes | None = None
    if key is not None and key.type is KeyType.EC and key.curve:
        parameters = der.oid(CURVES.get(key.curve, key.curve))
    elif key is not None and key.type is KeyType.RSA:
        parameters = der.tlv(der.NULL, b"")  # RFC 3279 section 2.3.1
    return RequestTemplate(
        subject=tuple(((oid, None),) for oid in wanted.subject_attributes),
        key_algorithm=KEY_ALGORITHMS.get(key.type) if key else None,
        key_parameters_der=parameters,
        rsa_bits=key.size_bits if key and key.type is KeyType.RSA else None,
        extensions=tuple(extensions),
        # No value: it depends on the TLS session. The list form has the bare OID for the same purpose.
        attributes=(CsrAttribute(CHALLENGE_PASSWORD),) if wanted.linking_required else (),
    )


def encode_csrattrs(attributes: CsrAttrs) -> bytes:
    """CsrAttrs as DER, elements in order."""
    return der.sequence(
        *(der.oid(item) if isinstance(item, str) else _attribute_der(item) for item in attributes.elements)
    )


def encode_template(template: RequestTemplate) -> bytes:
    """CertificationRequestInfoTemplate as DER, under IMPLICIT TAGS (RFC 9908 appendix A)."""
    parts = [der.integer(0)]
    if template.subject:
        rdns = (der.set_of(_single_attribute_der(*single) for single in rdn) for rdn in template.subject)
        parts.append(der.sequence(*rdns))
    if template.key_algorithm:
        algorithm = der.sequence(der.oid(template.key_algorithm), template.key_parameters_der or b"")
        placeholder = _rsa_placeholder(template.rsa_bits) if template.rsa_bits else b""
        parts.append(der.tlv(_CONTEXT_0, algorithm + placeholder))
    attributes = [_attribute_der(attribute) for attribute in template.attributes]
    if template.extensions:
        # RFC 9908 3.4: id-ExtensionReq unless some value is left to the client, and never both
        partial = any(extension.value_der is None for extension in template.extensions)
        value = der.sequence(*map(_extension_der, template.extensions))
        oid = EXTENSION_REQUEST_TEMPLATE if partial else EXTENSION_REQUEST
        attributes.append(_attribute_der(CsrAttribute(oid, (value,))))
    parts.append(der.tlv(_CONTEXT_1, b"".join(sorted(attributes))))
    return der.sequence(*parts)


def _attribute_der(attribute: CsrAttribute) -> bytes:
    return der.sequence(der.oid(attribute.oid), der.set_of(attribute.values_der))


def _single_attribute_der(oid: str, value_der: bytes | None) -> bytes:
    return der.sequence(der.oid(oid), value_der or b"")


def _extension_der(extension: ExtensionTemplate) -> bytes:
    critical = der.tlv(der.BOOLEAN, b"\xff") if extension.critical else b""
    value = b"" if extension.value_der is None else der.tlv(der.OCTET_STRING, extension.value_der)
    return der.sequence(der.oid(extension.oid), critical, value)


def _rsa_placeholder(bits: int) -> bytes:
    """A BIT STRING with an RSAPublicKey of that modulus length which nobody could use as a key."""
    public_key = der.sequence(der.integer(1 << bits - 1), der.integer(65537))
    return der.tlv(der.BIT_STRING, b"\x00" + public_key)
