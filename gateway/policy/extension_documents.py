"""The ``extensions`` part of a Policy document: what is set beside names."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from gateway.errors import MalformedMessage
from gateway.pki import der, oids
from gateway.policy.complaints import Misfit, did_you_mean
from gateway.policy.content_rules import MustStaple
from gateway.policy.extension_values import (
    AUTHORITY_INFO_ACCESS,
    CERTIFICATE_POLICIES,
    CRL_DISTRIBUTION_POINTS,
    TLS_FEATURE,
)
from gateway.policy.strict_model import StrictModel
from gateway.policy.terms import EXTENDED_KEY_USAGES, ExtendedKeyUsage, KeyUsageBit, Oid, as_list

BACKEND, NONE = "backend", "none"
_FORBIDDEN_USAGES = ("OCSPSigning", "anyExtendedKeyUsage")
_URL_SCHEMES = ("http", "https", "ldap", "ldaps")
_MAX_URLS, _MAX_URL_CHARACTERS = 10, 1024
_MAX_VALUE_BYTES = 4096
_CAS_ALONE = "is for CA certificates only; remove it"
_ISSUERS_OWN = "is always written by the CA; remove it"
# What `other` may not set, since something else here does, or since no enrolled certificate may have it.
_NOT_OTHER = {
    oids.BASIC_CONSTRAINTS: "is always CA:FALSE; remove it",
    oids.KEY_USAGE: "is set by key_usage; write it there",
    oids.EXTENDED_KEY_USAGE: "is set by extended_key_usage; write it there",
    oids.SUBJECT_ALT_NAME: "is set by names; write rules there",
    oids.SUBJECT_KEY_IDENTIFIER: _ISSUERS_OWN,
    oids.AUTHORITY_KEY_IDENTIFIER: _ISSUERS_OWN,
    CERTIFICATE_POLICIES: "is set by policies; write it there",
    TLS_FEATURE: "is set by must_staple; write it there",
    CRL_DISTRIBUTION_POINTS: "is set by cdp; write it there",
    AUTHORITY_INFO_ACCESS: "is set by aia; write it there",
    "2.5.29.30": _CAS_ALONE,  # nameConstraints
    "2.5.29.33": _CAS_ALONE,  # policyMappings
    "2.5.29.36": _CAS_ALONE,  # policyConstraints
    "2.5.29.54": _CAS_ALONE,  # inhibitAnyPolicy
    "1.3.6.1.5.5.7.1.14": "lets whoever has the certificate issue proxy certificates; remove it",  # RFC 3820
    "1.3.6.1.5.5.7.48.1.5": "is for OCSP responders only; remove it",  # id-pkix-ocsp-nocheck
    "1.3.6.1.4.1.11129.2.4.2": "differs from certificate to certificate; remove it",  # RFC 6962: SCTs
    "1.3.6.1.4.1.11129.2.4.3": "makes the certificate useless; remove it",  # RFC 6962: poison
}


def _read_url(value: object, path: tuple[str | int, ...]) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) and len(value) <= _MAX_URL_CHARACTERS else None
    except ValueError:
        parts = None
    if (
        parts is None
        or parts.scheme not in _URL_SCHEMES
        or not (parts.hostname or parts.scheme.startswith("ldap"))
        or not all("!" <= character <= "~" for character in str(value))
    ):
        raise Misfit(
            f"{str(value)[:80]!r} is no URL; write one like http://pki.example.com/ca.crl, in ASCII", path
        )
    return str(value)


def _read_urls(value: object, path: tuple[str | int, ...], what: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not value or len(value) > _MAX_URLS:
        raise Misfit(f"write {what}", path)
    return tuple([_read_url(url, (*path, index)) for index, url in enumerate(value)])


def _read_cdp(value: object) -> str | tuple[str, ...]:
    if value in (BACKEND, NONE):
        return str(value)
    return _read_urls(value, (), f"{BACKEND}, {NONE} or a list of 1 to {_MAX_URLS} URLs")


def _read_aia(value: object) -> str | tuple[tuple[str, tuple[str, ...]], ...]:
    if value in (BACKEND, NONE):
        return str(value)
    if not isinstance(value, dict) or not value:
        raise Misfit(f"write {BACKEND}, {NONE} or {{ocsp: [URL], ca_issuers: [URL]}}, one of them at least")
    for key in value:
        if key not in ("ocsp", "ca_issuers"):
            raise Misfit(
                f"unknown key {key!r}; {did_you_mean(str(key), ('ocsp', 'ca_issuers'))}", (str(key),)
            )
    return tuple(
        [
            (str(key), _read_urls(urls, (str(key),), f"a list of 1 to {_MAX_URLS} URLs"))
            for key, urls in value.items()
        ]
    )


_WORDS = {"enum": [BACKEND, NONE]}
_URLS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": _MAX_URLS}
_ACCESS = {
    "type": "object",
    "properties": {"ocsp": _URLS, "ca_issuers": _URLS},
    "additionalProperties": False,
    "minProperties": 1,
}
Cdp = Annotated[
    str | tuple[str, ...],
    PlainValidator(_read_cdp),
    WithJsonSchema({"anyOf": [_WORDS, {"type": "string", "pattern": "^(http|ldap)s?://"}, _URLS]}),
]
Aia = Annotated[
    str | tuple[tuple[str, tuple[str, ...]], ...],
    PlainValidator(_read_aia),
    WithJsonSchema({"anyOf": [_WORDS, _ACCESS]}),
]


def _read_value(value: object) -> bytes:
    try:
        octets = b64decode(value, validate=True) if isinstance(value, str) else b""
        whole = bool(octets) and der.read_tlv(octets)[2] == len(octets)
    except (binascii.Error, ValueError, MalformedMessage):
        whole = False
    if not whole or len(octets) > _MAX_VALUE_BYTES:
        raise Misfit(
            f"this is not one DER value in base64, of at most {_MAX_VALUE_BYTES} octets; NULL would be BQA="
        )
    return octets


class OtherExtension(StrictModel):
    """An extension that is the same in every certificate of the policy."""

    oid: Oid = Field(description="Its object identifier, in quotes")
    critical: bool = Field(False, description="Whether who does not know it must refuse the certificate")
    value: Annotated[bytes, PlainValidator(_read_value), WithJsonSchema({"type": "string"})] = Field(
        description="Its value (the content of extnValue) as DER, in base64"
    )

    @model_validator(mode="after")
    def _may_be_set(self) -> OtherExtension:
        said = _NOT_OTHER.get(self.oid)
        if said is not None:
            raise Misfit(f"the extension {self.oid} {said}", ("oid",))
        return self


class ExtensionsRules(StrictModel):
    """What is set beside names. It is made from these rules alone, never copied from the CSR."""

    elsewhere: ClassVar[Mapping[str, str]] = {"eku": "is spelled out here; write extended_key_usage"}

    key_usage: Annotated[
        tuple[KeyUsageBit, ...],
        BeforeValidator(as_list, json_schema_input_type=KeyUsageBit | list[KeyUsageBit]),
    ] = Field(
        ("digitalSignature",),
        description="Key usages; those that a type of key cannot do are left out for it (keyEncipherment is "
        "for RSA, keyAgreement for EC)",
    )
    extended_key_usage: Annotated[
        tuple[ExtendedKeyUsage, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])
    ] = Field((), max_length=20, description="Extended key usages, by name or OID; none without this key")
    policies: Annotated[tuple[Oid, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])] = (
        Field((), max_length=20, description="OIDs of certificate policies")
    )
    must_staple: MustStaple = Field(
        MustStaple.NEVER, description="The TLS feature extension (RFC 7633): never, if-requested, always"
    )
    cdp: Cdp = Field(
        BACKEND,
        description="CRL distribution points. backend: as the CA writes them. none: there must be none. "
        "Or the URLs of one CRL",
    )
    aia: Aia = Field(
        BACKEND,
        description="Where to ask for the status and to find the CA's certificate. backend: as the CA writes "
        "it. none: must not be there. Or {ocsp: [URL], ca_issuers: [URL]}",
    )
    other: Annotated[
        tuple[OtherExtension, ...],
        BeforeValidator(
            lambda value: [value] if isinstance(value, dict) else value,
            json_schema_input_type=OtherExtension | list[OtherExtension],
        ),
    ] = Field((), max_length=20, description="Further extensions, the same in every certificate")
    from_csr: Literal["ignore", "deny"] = Field(
        "ignore",
        description="Extensions of the CSR that are not set anyway: ignore or deny. Always denied: CA:TRUE, "
        "keyCertSign, cRLSign, OCSPSigning, and critical ones that will not be set",
    )

    @model_validator(mode="after")
    def _is_for_end_entities(self) -> ExtensionsRules:
        for index, oid in enumerate(self.extended_key_usage):
            for name in _FORBIDDEN_USAGES:
                if oid == EXTENDED_KEY_USAGES[name]:
                    raise Misfit(
                        f"{name} is never given to an enrolled certificate; remove it",
                        ("extended_key_usage", index),
                    )
        return self

    @model_validator(mode="after")
    def _no_extension_stands_twice(self) -> ExtensionsRules:
        seen: set[str] = set()
        for index, other in enumerate(self.other):
            if other.oid in seen:
                raise Misfit(f"the extension {other.oid} is set twice; keep one", ("other", index, "oid"))
            seen.add(other.oid)
        return self
