"""Headers of requests, checked (RFC 9810 sections 5.1.1 and 5.1.1.x, RFC 9483 sections 3.1 and 3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.asn1 import cmp, der, typed
from gateway.asn1.cmp import BodyType, PkiHeader
from gateway.asn1.cmp_status import PkiFailureInfo
from gateway.asn1.cmp_support import CERT_PROFILE, CONFIRM_WAIT_TIME, IMPLICIT_CONFIRM, NULL_DER
from gateway.asn1.crmf import MAX_REQUESTS
from gateway.cmp.errors import CmpRefusal
from gateway.cmp.nonces import FollowUp, Nonces
from gateway.cmp.options import CmpOptions
from gateway.cmp.protection import ProtectionKind
from gateway.errors import MalformedMessage
from gateway.model.reasons import ReasonCode

CMP_2000, CMP_2021 = 2, 3
_MIN_OCTETS, _MAX_OCTETS = 16, 64
# One request and one answer: RFC 9810 5.1.1 lets them go without a transactionID
_ALONE = frozenset({BodyType.GENM, BodyType.RR})
# What a transaction that goes on can have begun with, and how it can be protected, as octets in our nonces
_BEGINNINGS = (BodyType.IR, BodyType.CR, BodyType.P10CR, BodyType.KUR, BodyType.RR, BodyType.GENM)
_KINDS = {kind: number for number, kind in enumerate(ProtectionKind)}


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What a header asks for besides its addressing. ``profiles`` are those of certProfile, one for each
    request in their order, "" for none."""

    implicit_confirm: bool = False
    profiles: tuple[str, ...] = ()


def check_version(header: PkiHeader) -> None:
    """Raises CmpRefusal (unsupportedVersion)."""
    if header.pvno not in (CMP_2000, CMP_2021):
        # RFC 9810 section 7: versions that we do not know get unsupportedVersion
        raise CmpRefusal(
            PkiFailureInfo.UNSUPPORTED_VERSION,
            f"pvno {header.pvno} is not supported; use 2 (cmp2000) or 3 (cmp2021)",
            path="pvno",
        )


def read_header(header: PkiHeader, body_type: BodyType, options: CmpOptions, now: datetime) -> HeaderFacts:
    """Check transactionID, senderNonce, messageTime and generalInfo. Raises CmpRefusal, MalformedMessage."""
    least = 1 if options.short_identifiers else _MIN_OCTETS
    identifier = header.transaction_id
    if identifier is None:
        if body_type not in _ALONE or options.strictness == "strict":
            raise _refusal(
                PkiFailureInfo.BAD_DATA_FORMAT, "the transactionID is missing", path="transactionID"
            )
    elif not least <= len(identifier) <= _MAX_OCTETS:
        raise _refusal(
            PkiFailureInfo.BAD_DATA_FORMAT,
            f"the transactionID has {len(identifier)} octets; {least} to {_MAX_OCTETS} are taken",
            path="transactionID",
        )
    size = len(header.sender_nonce or b"")
    if not least <= size <= _MAX_OCTETS:
        raise _refusal(
            PkiFailureInfo.BAD_SENDER_NONCE,
            f"the senderNonce has {size} octets; {least} to {_MAX_OCTETS} are taken",
            code=ReasonCode.AUTH_REPLAY,
            path="senderNonce",
        )
    _check_time(header, options, now)
    return _read_general_info(header)


def check_begins(header: PkiHeader) -> None:
    """Check the nonces of a message that begins a transaction. Raises CmpRefusal."""
    if header.recip_nonce is not None:
        # RFC 9483 3.5: a first message answers nothing
        raise _refusal(
            PkiFailureInfo.BAD_RECIPIENT_NONCE,
            "the message begins a transaction, but has a recipNonce",
            code=ReasonCode.AUTH_REPLAY,
            path="recipNonce",
        )


def transaction_name(header: PkiHeader, begun_by: BodyType, kind: ProtectionKind) -> bytes:
    """What our nonces name a transaction by: its id, how it began and how it is protected."""
    return (header.transaction_id or b"") + bytes((begun_by, _KINDS[kind]))


def check_goes_on(nonces: Nonces, header: PkiHeader, kind: ProtectionKind) -> BodyType:
    """What the transaction began with that this message goes on with, by the nonce of ours that it answers.

    Raises CmpRefusal: badRecipientNonce, badSenderNonce, and for another protection than that of the messages
    before wrongIntegrity or badMessageCheck (RFC 9483 section 3.2).
    """
    found = _begun_by(nonces, header, kind)
    if found is not None:
        return found
    for other in ProtectionKind:
        if other is not kind and _begun_by(nonces, header, other) is not None:
            changed = ProtectionKind.SIGNATURE in (other, kind)
            raise _refusal(
                PkiFailureInfo.WRONG_INTEGRITY if changed else PkiFailureInfo.BAD_MESSAGE_CHECK,
                f"the transaction was protected by {other} before; its protection must stay the same",
                code=ReasonCode.MESSAGE_INTEGRITY,
                path="protectionAlg",
            )
    raise _refusal(
        PkiFailureInfo.BAD_RECIPIENT_NONCE,
        "the recipNonce is not the senderNonce of our last message in this transaction",
        code=ReasonCode.AUTH_REPLAY,
        path="recipNonce",
    )


def _begun_by(nonces: Nonces, header: PkiHeader, kind: ProtectionKind) -> BodyType | None:
    for beginning in _BEGINNINGS:
        name = transaction_name(header, beginning, kind)
        match nonces.check(name, header.recip_nonce, header.sender_nonce):
            case FollowUp.RIGHT:
                return beginning
            case FollowUp.REUSED:
                raise _refusal(
                    PkiFailureInfo.BAD_SENDER_NONCE,
                    "the senderNonce was used in the message before; make a new one for each message",
                    code=ReasonCode.AUTH_REPLAY,
                    path="senderNonce",
                )
            case FollowUp.FOREIGN:
                pass
    return None


def _check_time(header: PkiHeader, options: CmpOptions, now: datetime) -> None:
    moment = header.message_time
    if moment is None:
        if options.strictness == "strict":
            raise _bad_time("messageTime is missing")
    elif options.message_time_skew_s and abs(now - moment) > timedelta(seconds=options.message_time_skew_s):
        raise _bad_time(
            f"messageTime is {moment:%Y-%m-%dT%H:%M:%SZ}, but here it is {now:%Y-%m-%dT%H:%M:%SZ}; set the "
            "clock"
        )


def _read_general_info(header: PkiHeader) -> HeaderFacts:
    values = {info.oid: info.value_der for info in header.general_info}
    if len(values) != len(header.general_info):
        raise _refusal(PkiFailureInfo.BAD_REQUEST, "generalInfo holds one type twice", path="generalInfo")
    implicit = IMPLICIT_CONFIRM in values
    if implicit and values[IMPLICIT_CONFIRM] != NULL_DER:
        raise _refusal(
            PkiFailureInfo.BAD_REQUEST, "the value of implicitConfirm must be NULL", path="generalInfo"
        )
    if CONFIRM_WAIT_TIME in values:
        _check_wait_time(values[CONFIRM_WAIT_TIME])
        if implicit:
            # RFC 9483 4.1.1: one of them, not both
            raise _refusal(
                PkiFailureInfo.BAD_REQUEST,
                "implicitConfirm and confirmWaitTime exclude each other",
                path="generalInfo",
            )
    return HeaderFacts(implicit, _read_profiles(values[CERT_PROFILE]) if CERT_PROFILE in values else ())


def _check_wait_time(value_der: bytes | None) -> None:
    """What the client would like; how long we wait is the endpoint's option."""
    if value_der is None or value_der[0] != der.GENERALIZED_TIME:
        raise MalformedMessage("confirmWaitTime must be a GeneralizedTime", path="generalInfo")
    cmp.decode_time(value_der)


def _read_profiles(value_der: bytes | None) -> tuple[str, ...]:
    """CertProfileValue (RFC 9810 section 5.1.1.4)."""
    profiles = []
    for element in typed.elements(value_der or b"", MAX_REQUESTS, "certProfile", least=1):
        tag, start, _ = der.read_tlv(element)
        if tag != der.UTF8_STRING:
            raise MalformedMessage("the certProfile must hold UTF8Strings", path="generalInfo")
        try:
            profiles.append(element[start:].decode())
        except UnicodeDecodeError as exc:
            raise MalformedMessage("the certProfile holds no UTF-8", path="generalInfo") from exc
    return tuple(profiles)


def _bad_time(text: str) -> CmpRefusal:
    return _refusal(PkiFailureInfo.BAD_TIME, text, code=ReasonCode.MESSAGE_TIME, path="messageTime")


def _refusal(
    failure: PkiFailureInfo, text: str, *, code: ReasonCode = ReasonCode.MESSAGE_UNSUPPORTED, path: str
) -> CmpRefusal:
    return CmpRefusal(failure, text, code=code, path=path)
