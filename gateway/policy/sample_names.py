"""Names as a sample request writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.model.names import AttributeTypeAndValue, DistinguishedName, GeneralName
from gateway.pki.names import dns_name, email_name, ip_address_name, uri_name
from gateway.policy.sample_documents import AskedNames
from gateway.policy.terms import attribute_oid

_PRINTABLE = frozenset({"2.5.4.6", "2.5.4.5", "2.5.4.46"})  # C, serialNumber, dnQualifier: RFC 5280 A.1
_IA5 = frozenset({"0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1"})  # DC, emailAddress


def sample_subject(attributes: Mapping[str, Sequence[str]]) -> DistinguishedName:
    """One RDN for each value, in the order in which they are written."""
    rdns = []
    for name, values in attributes.items():
        oid = attribute_oid(name)
        assert oid is not None, name  # the model has checked it
        tag = 19 if oid in _PRINTABLE else 22 if oid in _IA5 else 12
        rdns += [(AttributeTypeAndValue(oid, value, tag),) for value in values]
    return DistinguishedName(tuple(rdns))


def sample_sans(asked: AskedNames) -> tuple[GeneralName, ...]:
    """All alternative names, DNS names first."""
    return (
        *map(dns_name, asked.dns),
        *map(ip_address_name, asked.ip),
        *map(email_name, asked.email),
        *map(uri_name, asked.uri),
    )


def says_names(asked: AskedNames) -> bool:
    """Whether any name is written, be it none at all (``dns: []``)."""
    return bool(asked.model_fields_set & {"subject", "dns", "ip", "email", "uri"})
