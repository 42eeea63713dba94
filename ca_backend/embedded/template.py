"""TBSCertificate from parts that are encoded once per issuer and shape of profile (RFC 5280 section 4.1.2).

A template holds everything but serial number, validity, subject, key, key identifier and names, which makes
it several times as fast as a general builder. A property test holds its output equal to that builder's.
"""

from __future__ import annotations

from dataclasses import dataclass

from ca_backend.api import PublishedUrls
from ca_backend.embedded import extensions as ext
from gateway.model.enrolment import CertificatePlan, Extension
from gateway.pki import der
from gateway.pki.keys import subject_key_identifier
from gateway.pki.names import encode_general_names, encode_name

_VERSION_3 = b"\xa0\x03\x02\x01\x02"
_SKI_HEAD = bytes.fromhex(
    "301d0603551d0e04160414"
)  # Extension, OID 2.5.29.14, OCTET STRING{OCTET STRING(20)}
_SAN_OID = der.oid(ext.SUBJECT_ALT_NAME)
_CRITICAL = b"\x01\x01\xff"

# What the issuer writes itself; a plan may not bring its own (RFC 5280 section 4.2: no extension twice).
# Where CRL and status are found it may say, or that nothing is said: then the issuer's own are left out.
OWN_EXTENSIONS = frozenset(
    {
        ext.BASIC_CONSTRAINTS,
        ext.KEY_USAGE,
        ext.EXTENDED_KEY_USAGE,
        ext.SUBJECT_KEY_IDENTIFIER,
        ext.AUTHORITY_KEY_IDENTIFIER,
        ext.SUBJECT_ALT_NAME,
    }
)


@dataclass(frozen=True, slots=True)
class IssuerFields:
    """What an issuer puts into every certificate; ``name_der`` is its subject as its certificate has it."""

    name_der: bytes
    key_identifier: bytes
    algorithm_der: bytes
    urls: PublishedUrls


@dataclass(frozen=True, slots=True)
class ProfileShape:
    """The fields of a plan that a template is compiled for."""

    key_usage: tuple[str, ...]
    extended_key_usage: tuple[str, ...]
    extensions: tuple[Extension, ...]
    without: tuple[str, ...] = ()


class TbsTemplate:
    """The pre-encoded parts for one issuer and one shape.

    Extensions stand in this order: basicConstraints, keyUsage, extendedKeyUsage, authorityKeyIdentifier,
    cRLDistributionPoints, authorityInfoAccess, subjectKeyIdentifier, subjectAltName, then the plan's own.
    """

    __slots__ = ("_algorithm_and_issuer", "_extensions_head", "_extensions_tail")

    def __init__(self, issuer: IssuerFields, shape: ProfileShape) -> None:
        """Raises KeyError for an unknown key usage, ValueError for an OID that is none."""
        head = [ext.basic_constraints(ca=False)]
        if shape.key_usage:
            head.append(ext.key_usage(shape.key_usage))
        if shape.extended_key_usage:
            head.append(ext.extended_key_usage(shape.extended_key_usage))
        head.append(ext.authority_key_identifier(issuer.key_identifier))
        replaced = {own.oid for own in shape.extensions}.union(shape.without)
        head.extend(made for oid, made in ext.publication(issuer.urls).items() if oid not in replaced)
        self._extensions_head = b"".join(head)
        self._extensions_tail = b"".join(
            ext.extension(own.oid, own.value_der, critical=own.critical) for own in shape.extensions
        )
        self._algorithm_and_issuer = issuer.algorithm_der + issuer.name_der

    def body(self, plan: CertificatePlan) -> bytes:
        """Everything of the TBSCertificate that follows the serial number."""
        subject_alt_name = b""
        if plan.sans:
            # RFC 5280 section 4.2.1.6: critical where the subject is empty
            critical = b"" if plan.subject else _CRITICAL
            names = der.tlv(der.OCTET_STRING, encode_general_names(plan.sans))
            subject_alt_name = der.tlv(der.SEQUENCE, _SAN_OID + critical + names)
        extensions = der.tlv(
            der.SEQUENCE,
            self._extensions_head
            + _SKI_HEAD
            + subject_key_identifier(plan.spki_der)
            + subject_alt_name
            + self._extensions_tail,
        )
        return (
            self._algorithm_and_issuer
            + der.tlv(der.SEQUENCE, ext.time(plan.not_before) + ext.time(plan.not_after))
            + encode_name(plan.subject)
            + plan.spki_der
            + der.tlv(0xA3, extensions)
        )


def tbs_certificate(serial: int, body: bytes) -> bytes:
    """The TBSCertificate, version 3, from a serial number and what ``TbsTemplate.body`` gave."""
    return der.tlv(der.SEQUENCE, _VERSION_3 + der.integer(serial) + body)
