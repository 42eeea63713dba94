"""Support messages, genm and genp (RFC 9810 sections 5.3.19 and 5.3.20), for both sides of CMP.

Each kind of information is one InfoTypeAndValue; here stand their identifiers and the values with a structure
of their own. Certificates and CRLs stay DER.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from gateway.asn1 import cmp, der, typed
from gateway.asn1.cmp import InfoTypeAndValue
from gateway.asn1.crmf import CertTemplate, Control, decode_template, read_controls
from gateway.asn1.crmf_encode import encode_controls, encode_template
from gateway.errors import MalformedMessage

MAX_INFOS = 50
MAX_CERTIFICATES = 50
MAX_CRLS = 20

_ID_IT = "1.3.6.1.5.5.7.4"
CA_PROT_ENC_CERT = f"{_ID_IT}.1"
SIGN_KEY_PAIR_TYPES = f"{_ID_IT}.2"
ENC_KEY_PAIR_TYPES = f"{_ID_IT}.3"
PREFERRED_SYMM_ALG = f"{_ID_IT}.4"
CA_KEY_UPDATE_INFO = f"{_ID_IT}.5"
CURRENT_CRL = f"{_ID_IT}.6"
UNSUPPORTED_OIDS = f"{_ID_IT}.7"
KEY_PAIR_PARAM_REQ = f"{_ID_IT}.10"
KEY_PAIR_PARAM_REP = f"{_ID_IT}.11"
REV_PASSPHRASE = f"{_ID_IT}.12"
IMPLICIT_CONFIRM = f"{_ID_IT}.13"
CONFIRM_WAIT_TIME = f"{_ID_IT}.14"
ORIG_PKI_MESSAGE = f"{_ID_IT}.15"
SUPP_LANG_TAGS = f"{_ID_IT}.16"
CA_CERTS = f"{_ID_IT}.17"
ROOT_CA_KEY_UPDATE = f"{_ID_IT}.18"
CERT_REQ_TEMPLATE = f"{_ID_IT}.19"
ROOT_CA_CERT = f"{_ID_IT}.20"
CERT_PROFILE = f"{_ID_IT}.21"
CRL_STATUS_LIST = f"{_ID_IT}.22"
CRLS = f"{_ID_IT}.23"
KEM_CIPHERTEXT_INFO = f"{_ID_IT}.24"

NULL_DER = b"\x05\x00"  # the value of implicitConfirm


@dataclass(frozen=True, slots=True)
class RootCaKeyUpdate:
    """RootCaKeyUpdateContent (RFC 9810 section 5.3.19.15): certificates as DER."""

    new_with_new: bytes = field(repr=False)
    new_with_old: bytes | None = field(default=None, repr=False)
    old_with_new: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CertReqTemplate:
    """CertReqTemplateContent (RFC 9810 section 5.3.19.16)."""

    template: CertTemplate
    key_spec: tuple[Control, ...] = ()


@dataclass(frozen=True, slots=True)
class CrlStatus:
    """CRLStatus (RFC 9810 section 5.3.19.17): a source of CRLs and the time of the one that is known.

    ``source_der`` is a DistributionPointName, or the content of GeneralNames where ``by_issuer``.
    """

    source_der: bytes
    by_issuer: bool
    this_update: datetime | None = None


def decode_gen_msg(body_der: bytes) -> tuple[InfoTypeAndValue, ...]:
    """Read the body of a genm or genp. Raises MalformedMessage."""
    infos = []
    for element in typed.elements(body_der, MAX_INFOS, "general message"):
        parts = typed.fields_of(element, "element of a general message")
        if [part[0] for part in parts[:1]] != [der.OID] or len(parts) > 2:
            raise _malformed("an element of a general message must be an identifier and maybe a value")
        value = typed.element(element, parts[1]) if len(parts) == 2 else None
        infos.append(InfoTypeAndValue(der.oid_text(typed.content(element, parts[0])), value))
    return tuple(infos)


def encode_gen_msg(infos: Iterable[InfoTypeAndValue]) -> bytes:
    """Write the body of a genm or genp."""
    return cmp.encode_general_info(infos)


def decode_certificates(value_der: bytes) -> tuple[bytes, ...]:
    """The certificates of a caCerts value. Raises MalformedMessage."""
    return tuple(typed.elements(value_der, MAX_CERTIFICATES, "list of certificates", least=1))


def decode_crls(value_der: bytes) -> tuple[bytes, ...]:
    """The CRLs of a crls value. Raises MalformedMessage."""
    return tuple(typed.elements(value_der, MAX_CRLS, "list of CRLs", least=1))


def decode_root_ca_key_update(value_der: bytes) -> RootCaKeyUpdate:
    """Read a rootCaKeyUpdate. Raises MalformedMessage."""
    parts = typed.fields_of(value_der, "rootCaKeyUpdate")
    tags = [part[0] for part in parts]
    if tags[:1] != [der.SEQUENCE] or tags[1:] not in ([], [0xA0], [0xA1], [0xA0, 0xA1]):
        raise _malformed("a rootCaKeyUpdate must hold newWithNew, and maybe newWithOld and oldWithNew")
    further = {part[0]: typed.content(value_der, part) for part in parts[1:]}
    return RootCaKeyUpdate(typed.element(value_der, parts[0]), further.get(0xA0), further.get(0xA1))


def encode_root_ca_key_update(update: RootCaKeyUpdate) -> bytes:
    """Write a rootCaKeyUpdate."""
    return der.sequence(
        update.new_with_new,
        b"" if update.new_with_old is None else der.tlv(0xA0, update.new_with_old),
        b"" if update.old_with_new is None else der.tlv(0xA1, update.old_with_new),
    )


def decode_cert_req_template(value_der: bytes) -> CertReqTemplate:
    """Read a certReqTemplate. Raises MalformedMessage."""
    parts = typed.fields_of(value_der, "certReqTemplate")
    if [part[0] for part in parts] not in ([der.SEQUENCE], [der.SEQUENCE, der.SEQUENCE]):
        raise _malformed("a certReqTemplate must hold certTemplate, and maybe keySpec")
    key_spec = read_controls(typed.element(value_der, parts[1]), "keySpec") if len(parts) == 2 else ()
    return CertReqTemplate(decode_template(typed.element(value_der, parts[0])), key_spec)


def encode_cert_req_template(content: CertReqTemplate) -> bytes:
    """Write a certReqTemplate."""
    return der.sequence(encode_template(content.template), encode_controls(content.key_spec))


def decode_crl_status_list(value_der: bytes) -> tuple[CrlStatus, ...]:
    """Read a crlStatusList. Raises MalformedMessage."""
    statuses = []
    for element in typed.elements(value_der, MAX_CRLS, "crlStatusList", least=1):
        parts = typed.fields_of(element, "CRLStatus")
        tags = [part[0] for part in parts]
        # CRLSource is a CHOICE with dpn [0] and issuer [1], both explicit; a CRLStatus may end with a Time
        if tags[:1] not in ([0xA0], [0xA1]) or tags[1:] not in ([], [der.UTC_TIME], [der.GENERALIZED_TIME]):
            raise _malformed("a CRLStatus must hold a source, and maybe a time")
        source = typed.content(element, parts[0])
        if not source or der.read_tlv(source)[2] != len(source):
            raise _malformed("the source of a CRLStatus must be one element")
        moment = cmp.decode_time(typed.element(element, parts[1])) if len(parts) == 2 else None
        statuses.append(CrlStatus(source, tags[0] == 0xA1, moment))
    return tuple(statuses)


def encode_crl_status_list(statuses: Iterable[CrlStatus]) -> bytes:
    """Write a crlStatusList."""
    return der.sequence(
        *(
            der.sequence(
                der.tlv(0xA1 if status.by_issuer else 0xA0, status.source_der),
                b"" if status.this_update is None else cmp.time(status.this_update),
            )
            for status in statuses
        )
    )


def decode_oids(value_der: bytes) -> tuple[str, ...]:
    """The identifiers of an unsupportedOIDs value. Raises MalformedMessage."""
    found = []
    for element in typed.elements(value_der, MAX_INFOS, "list of identifiers", least=1):
        tag, start, _ = der.read_tlv(element)
        if tag != der.OID:
            raise _malformed("a list of identifiers must hold nothing else")
        found.append(der.oid_text(element[start:]))
    return tuple(found)


def encode_oids(oids: Iterable[str]) -> bytes:
    """Write the value of unsupportedOIDs."""
    return der.sequence(*map(der.oid, oids))


def _malformed(message: str) -> MalformedMessage:
    return MalformedMessage(message, path="body")
