"""Structures of the EST /csrattrs answer: RFC 7030 section 4.5.2 (as in RFC 8951 section 4) and RFC 9908.

Field lists only, for asn1crypto: the independent reader of what ``gateway.est.csrattrs`` writes. RFC 9908's
module has IMPLICIT TAGS; its ``attributes`` are a SET OF under [1].
"""

from __future__ import annotations

from asn1crypto.core import (
    Any,
    BitString,
    Boolean,
    Choice,
    Integer,
    ObjectIdentifier,
    OctetString,
    Sequence,
    SequenceOf,
    SetOf,
)


class AttributeValues(SetOf):
    _child_spec = Any


class Attribute(Sequence):
    _fields = [("type", ObjectIdentifier), ("values", AttributeValues)]  # noqa: RUF012 - asn1crypto's way


class Attributes(SetOf):
    _child_spec = Attribute


class AttrOrOID(Choice):
    _alternatives = [("oid", ObjectIdentifier), ("attribute", Attribute)]  # type: ignore[assignment]  # noqa: RUF012


class CsrAttrs(SequenceOf):
    _child_spec = AttrOrOID


class SingleAttributeTemplate(Sequence):
    _fields = [("type", ObjectIdentifier), ("value", Any, {"optional": True})]  # noqa: RUF012


class RelativeDistinguishedNameTemplate(SetOf):
    _child_spec = SingleAttributeTemplate


class NameTemplate(SequenceOf):
    _child_spec = RelativeDistinguishedNameTemplate


class AlgorithmIdentifier(Sequence):
    _fields = [("algorithm", ObjectIdentifier), ("parameters", Any, {"optional": True})]  # noqa: RUF012


class SubjectPublicKeyInfoTemplate(Sequence):
    _fields = [  # noqa: RUF012
        ("algorithm", AlgorithmIdentifier),
        ("subject_public_key", BitString, {"optional": True}),
    ]


class CertificationRequestInfoTemplate(Sequence):
    _fields = [  # noqa: RUF012
        ("version", Integer),
        ("subject", NameTemplate, {"optional": True}),
        ("subject_pk_info", SubjectPublicKeyInfoTemplate, {"implicit": 0, "optional": True}),
        ("attributes", Attributes, {"implicit": 1}),
    ]


class ExtensionTemplate(Sequence):
    _fields = [  # noqa: RUF012
        ("extn_id", ObjectIdentifier),
        ("critical", Boolean, {"default": False}),
        ("extn_value", OctetString, {"optional": True}),
    ]


class ExtensionTemplates(SequenceOf):
    _child_spec = ExtensionTemplate
