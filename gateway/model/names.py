"""Names as they are requested and as they will be signed (RFC 5280 sections 4.1.2.4 and 4.2.1.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class NameKind(StrEnum):
    """The alternatives of GeneralName (RFC 5280 section 4.2.1.6)."""

    DNS = "dns"
    IP = "ip"
    EMAIL = "email"
    URI = "uri"
    DIRECTORY = "directory"
    OTHER = "other"  # otherName
    REGISTERED_ID = "registered-id"
    X400 = "x400"
    EDI_PARTY = "edi-party"


@dataclass(frozen=True, slots=True)
class GeneralName:
    """One subject alternative name.

    ``value`` is the text that policy compares: a lower-case A-label for DNS, RFC 5952 text for IP, the text
    as it stands for e-mail and URI, an RFC 4514 string for a directory name, ``OID`` for a registered id,
    ``OID`` or ``OID=text`` for otherName (``gateway.pki.other_names``). ``der`` is the whole GeneralName TLV
    as requested, or as it will be signed.
    """

    kind: NameKind
    value: str
    der: bytes

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


@dataclass(frozen=True, slots=True)
class AttributeTypeAndValue:
    """One attribute of a distinguished name. ``tag``: ASN.1 string tag (12 UTF8String, 19 Printable)."""

    oid: str
    value: str
    tag: int = 12


@dataclass(frozen=True, slots=True)
class DistinguishedName:
    """An ordered sequence of RDNs, each a set of attributes, first RDN first as in DER."""

    rdns: tuple[tuple[AttributeTypeAndValue, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rdns)

    def values(self, oid: str) -> tuple[str, ...]:
        """The values of every attribute of this type, in order."""
        return tuple(attribute.value for rdn in self.rdns for attribute in rdn if attribute.oid == oid)

    def __str__(self) -> str:
        return distinguished_name_text(self)


ATTRIBUTE_NAMES: dict[str, str] = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.17": "postalCode",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
}
ATTRIBUTE_OIDS: dict[str, str] = {name: oid for oid, name in ATTRIBUTE_NAMES.items()}

CN_OID = ATTRIBUTE_OIDS["CN"]


# What nearly every name consists of, and what never needs escaping.
_PLAIN = re.compile(r"[A-Za-z0-9._:/@*-]+(?: [A-Za-z0-9._:/@*-]+)*")


def distinguished_name_text(name: DistinguishedName) -> str:
    """Write a name as RFC 4514 does, but in DER order, with control characters escaped."""
    return ",".join(
        "+".join(f"{ATTRIBUTE_NAMES.get(a.oid, a.oid)}={_escaped(a.value)}" for a in rdn) for rdn in name.rdns
    )


def _escaped(value: str) -> str:
    if value.isalnum() or _PLAIN.fullmatch(value):
        return value
    out = []
    for index, char in enumerate(value):
        if char in ',+"\\<>;=' or (index == 0 and char in " #") or (index == len(value) - 1 and char == " "):
            out.append("\\" + char)
        elif not char.isprintable():
            out.append("".join(f"\\{byte:02X}" for byte in char.encode("utf-8", "surrogatepass")))
        else:
            out.append(char)
    return "".join(out)
