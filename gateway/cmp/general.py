"""genm: what anybody may know of this CA, one answer for each question (RFC 9810 section 5.3.19).

A question without an answer here comes back in unsupportedOIDs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from gateway.asn1 import cmp, der, typed
from gateway.asn1.cmp import BodyType, InfoTypeAndValue
from gateway.asn1.cmp_status import PkiFailureInfo
from gateway.asn1.cmp_support import (
    CA_CERTS,
    CERT_REQ_TEMPLATE,
    CRL_STATUS_LIST,
    CRLS,
    CURRENT_CRL,
    ROOT_CA_CERT,
    ROOT_CA_KEY_UPDATE,
    SIGN_KEY_PAIR_TYPES,
    SUPP_LANG_TAGS,
    UNSUPPORTED_OIDS,
    CrlStatus,
    decode_crl_status_list,
    decode_gen_msg,
    encode_gen_msg,
    encode_oids,
)
from gateway.cmp.answers import Answer, read_certificate
from gateway.cmp.errors import CmpRefusal
from gateway.cmp.options import CMP
from gateway.cmp.paths import OPERATION_INFOS
from gateway.cmp.received import Received
from gateway.cmp.request_template import cert_req_template, key_pair_types
from gateway.cmp.sender import directory_name
from gateway.errors import BackendUnavailable, MalformedMessage
from gateway.model.enrolment import Operation
from gateway.model.wanted import Wanted
from gateway.pki.certificate import parse_certificate
from gateway.pki.names import decode_name, names_match

_LANGUAGE = "en"
_CRL_DISTRIBUTION_POINTS = "2.5.29.31"
_FULL_NAME = 0xA0


async def general(received: Received) -> Answer:
    """The genp. Raises CmpRefusal, MalformedMessage, BackendUnavailable, StoreUnavailable."""
    infos = decode_gen_msg(received.message.body_der)
    wanted_info = OPERATION_INFOS.get(received.exchange.operation)
    if wanted_info is not None and any(info.oid != wanted_info for info in infos):
        raise CmpRefusal(
            PkiFailureInfo.BAD_REQUEST,
            f"the path of {received.exchange.operation} takes the information type {wanted_info} only",
            path="body",
        )
    answers: list[InfoTypeAndValue] = []
    unsupported: list[str] = []
    for info in infos:
        answer = _ANSWERS.get(info.oid)
        if answer is None:
            unsupported.append(info.oid)
        else:
            answers.append(await answer(received, info))
    if unsupported:
        answers.append(InfoTypeAndValue(UNSUPPORTED_OIDS, encode_oids(dict.fromkeys(unsupported))))
    received.exchange.request.log["outcome"] = "answered"
    return Answer(BodyType.GENP, encode_gen_msg(answers), received.begun_by)


async def _ca_certs(received: Received, info: InfoTypeAndValue) -> InfoTypeAndValue:
    _check_no_value(info)
    exchange = received.exchange
    chain = await exchange.services.ca_information.ca_certificates(CMP, exchange.endpoint)
    return InfoTypeAndValue(CA_CERTS, der.sequence(*chain))


async def _root_update(_: Received, info: InfoTypeAndValue) -> InfoTypeAndValue:
    """No root has a successor yet, so the value is absent (section 5.3.19.15)."""
    if info.value_der is not None:
        parse_certificate(info.value_der)
    return InfoTypeAndValue(ROOT_CA_KEY_UPDATE)


async def _template(received: Received, info: InfoTypeAndValue) -> InfoTypeAndValue:
    _check_no_value(info)
    wanted = _wanted(received)
    return InfoTypeAndValue(CERT_REQ_TEMPLATE, None if wanted is None else cert_req_template(wanted))


async def _key_types(received: Received, info: InfoTypeAndValue) -> InfoTypeAndValue:
    _check_no_value(info)
    wanted = _wanted(received)
    return InfoTypeAndValue(SIGN_KEY_PAIR_TYPES, None if wanted is None else key_pair_types(wanted))


async def _current_crl(received: Received, info: InfoTypeAndValue) -> InfoTypeAndValue:
    _check_no_value(info)
    return InfoTypeAndValue(CURRENT_CRL, await _crl(received))


async def _crl_update(received: Received, info: InfoTypeAndValue) -> InfoTypeAndValue:
    """The CRL of this CA where it is asked for and younger than the one that is known."""
    asked = decode_crl_status_list(info.value_der or b"")
    crl_der = await _crl(received)
    if crl_der is not None:
        this_update = _this_update(crl_der)
        for status in asked:
            newer = status.this_update is None or status.this_update < this_update
            if newer and await _is_ours(received, status):
                return InfoTypeAndValue(CRLS, der.sequence(crl_der))
    return InfoTypeAndValue(CRLS)


async def _language(_: Received, info: InfoTypeAndValue) -> InfoTypeAndValue:
    for element in typed.elements(info.value_der or b"", 50, "list of languages", least=1):
        tag, start, _end = der.read_tlv(element)
        tags = element[start:].decode("ascii", "replace").lower()
        if tag == der.UTF8_STRING and tags.partition("-")[0] == _LANGUAGE:
            return InfoTypeAndValue(SUPP_LANG_TAGS, der.sequence(der.tlv(der.UTF8_STRING, element[start:])))
    # Section 5.3.19.13: an error MUST be returned
    raise CmpRefusal(PkiFailureInfo.BAD_REQUEST, "texts are given in English only: en", path="body")


_ANSWERS: dict[str, Callable[[Received, InfoTypeAndValue], Awaitable[InfoTypeAndValue]]] = {
    CA_CERTS: _ca_certs,
    ROOT_CA_CERT: _root_update,
    CERT_REQ_TEMPLATE: _template,
    SIGN_KEY_PAIR_TYPES: _key_types,
    CURRENT_CRL: _current_crl,
    CRL_STATUS_LIST: _crl_update,
    SUPP_LANG_TAGS: _language,
}


def _check_no_value(info: InfoTypeAndValue) -> None:
    # RFC 9483 4.3.1: infoValue MUST be absent. NULL is how some clients write that.
    if info.value_der not in (None, b"\x05\x00"):
        raise CmpRefusal(
            PkiFailureInfo.BAD_REQUEST, f"the information type {info.oid} takes no value", path="body"
        )


def _wanted(received: Received) -> Wanted | None:
    exchange = received.exchange
    return exchange.services.enrolments.wanted(CMP, exchange.endpoint, Operation.ENROLL)


async def _crl(received: Received) -> bytes | None:
    """None for a CA whose CRL is not made here."""
    exchange = received.exchange
    try:
        return await exchange.services.ca_information.crl(CMP, exchange.endpoint)
    except BackendUnavailable:
        return None


async def _is_ours(received: Received, status: CrlStatus) -> bool:
    """Whether a CRL source means this CA: by its name, or by one in our certificates' distribution points."""
    exchange = received.exchange
    information = exchange.services.ca_information
    if status.by_issuer:
        issuing, *_ = await information.ca_certificates(CMP, exchange.endpoint)
        own = read_certificate(issuing).subject
        for element in typed.elements(status.source_der, 10, "issuer of a CRLStatus"):
            name_der = directory_name(element)
            if name_der is not None and names_match(decode_name(name_der), own):
                return True
        return False
    identity, *_ = await information.identities(CMP, exchange.endpoint)
    certificate = read_certificate(identity.certificate_der)
    points = {one.oid: one.value_der for one in certificate.extensions}.get(_CRL_DISTRIBUTION_POINTS, b"")
    tag, start, end = der.read_tlv(status.source_der)
    if tag != _FULL_NAME:
        return False
    names = typed.parts(status.source_der, start, end, "distribution point")
    return any(typed.element(status.source_der, name) in points for name in names)


def _this_update(crl_der: bytes) -> datetime:
    tbs = typed.element(crl_der, typed.fields_of(crl_der, "CRL")[0])
    times = (part for part in typed.fields_of(tbs, "CRL") if part[0] in (der.UTC_TIME, der.GENERALIZED_TIME))
    first = next(times, None)
    if first is None:
        raise MalformedMessage("the CRL has no thisUpdate")
    return cmp.decode_time(typed.element(tbs, first))
