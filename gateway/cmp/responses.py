"""What became of requests, as CertResponses (RFC 9810 section 5.3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from gateway.asn1.cmp import BodyType
from gateway.asn1.cmp_bodies import CertRepMessage, CertResponse, encode_cert_rep
from gateway.asn1.cmp_status import PkiFailureInfo, PkiStatus, PkiStatusInfo
from gateway.cmp.answers import Answer, error_answer, is_root, without_roots
from gateway.cmp.errors import again_string, failure_info, failure_of, retry_strings, status_strings
from gateway.cmp.received import Received
from gateway.cmp.record import recorded
from gateway.cmp.sender import MacSender
from gateway.cmp.template import Asked
from gateway.errors import GatewayError
from gateway.model.keys import Pop
from gateway.model.outcome import Issued, Outcome, Pending, Refused, Unavailable
from gateway.model.reasons import ReasonCode

ANSWERS = {
    BodyType.IR: BodyType.IP,
    BodyType.CR: BodyType.CP,
    BodyType.P10CR: BodyType.CP,
    BodyType.KUR: BodyType.KUP,
}


@dataclass(frozen=True, slots=True)
class Response:
    """One request and its outcome; ``asked`` is None where the request is not at hand (in a poll)."""

    cert_req_id: int
    outcome: Outcome
    asked: Asked | None = None
    pop: Pop | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that could not be read or proven, and is recorded so."""

    cert_req_id: int
    status: PkiStatusInfo


async def failed(received: Received, cert_req_id: int, fault: GatewayError) -> Failed:
    """Record a request that is malformed or whose proof of possession fails."""
    texts = await recorded(received.exchange, received.message.body_type.rfc_name, received.sender, fault)
    return Failed(cert_req_id, PkiStatusInfo(PkiStatus.REJECTION, texts, failure_of(fault)))


def response_answer(
    received: Received, responses: Sequence[Response | Failed], *, implicit_confirm: bool
) -> Answer:
    """The ip, cp or kup; an ``error`` where the transaction is in use (RFC 9810 section 5.1.1)."""
    for response in responses:
        if isinstance(response, Response) and _in_use(response.outcome):
            _log(received, response.outcome)
            return error_answer(
                PkiFailureInfo.TRANSACTION_ID_IN_USE, outcome_texts(response.outcome), received.begun_by
            )
    chain_der: tuple[bytes, ...] = ()
    cert_responses = []
    confirm_by: list[datetime] = []
    again_s: list[int] = []
    for response in responses:
        if isinstance(response, Failed):
            cert_responses.append(CertResponse(response.cert_req_id, response.status))
            continue
        _log(received, response.outcome)
        cert_responses.append(_cert_response(response))
        if isinstance(response.outcome, Issued):
            chain_der = tuple(dict.fromkeys((*chain_der, *response.outcome.chain_der)))
            if response.outcome.confirm_by is not None:
                confirm_by.append(response.outcome.confirm_by)
        elif (seconds := _again_s(response.outcome)) is not None:
            again_s.append(seconds)
    body_type = ANSWERS[received.begun_by]
    # RFC 9810 5.3.4: caPubs in an ip only, and only where a shared secret makes them trustworthy
    in_ip = body_type is BodyType.IP and isinstance(received.sender, MacSender)
    ca_pubs = tuple(one for one in chain_der if is_root(one)) if in_ip else ()
    body_der = encode_cert_rep(CertRepMessage(tuple(cert_responses), ca_pubs))
    granted = (
        implicit_confirm
        and not confirm_by
        and any(one.status.status is not PkiStatus.REJECTION for one in cert_responses)
    )
    return Answer(
        body_type,
        body_der,
        received.begun_by,
        extra_certs=without_roots(chain_der),
        implicit_confirm=granted,
        confirm_by=min(confirm_by, default=None),
        retry_after_s=max(again_s, default=None),
    )


def _cert_response(response: Response) -> CertResponse:
    outcome, cert_req_id = response.outcome, response.cert_req_id
    match outcome:
        case Issued():
            changes = response.asked.changes(outcome.certificate_der) if response.asked is not None else ()
            status = PkiStatusInfo(PkiStatus.ACCEPTED)
            if changes:
                text = f"policy has set otherwise than asked for: {', '.join(changes)}"
                status = PkiStatusInfo(PkiStatus.GRANTED_WITH_MODS, (text[:480],))
            return CertResponse(cert_req_id, status, outcome.certificate_der)
        case Pending() | Unavailable(request_id=str()):
            # What is recorded goes on by itself, whatever keeps it: the client polls.
            return CertResponse(cert_req_id, PkiStatusInfo(PkiStatus.WAITING, outcome_texts(outcome)))
        case Refused():
            return CertResponse(
                cert_req_id,
                PkiStatusInfo(PkiStatus.REJECTION, outcome_texts(outcome), _failure(outcome, response.pop)),
            )
        case Unavailable():
            return CertResponse(
                cert_req_id,
                PkiStatusInfo(PkiStatus.REJECTION, outcome_texts(outcome), PkiFailureInfo.SYSTEM_UNAVAIL),
            )
        case _:
            assert_never(outcome)


def waits_s(outcome: Outcome) -> int | None:
    """In how many seconds to ask again; None for what is settled."""
    match outcome:
        case Pending():
            return max(1, outcome.retry_after_s)
        case Unavailable(request_id=str()):
            return max(1, outcome.retry_after_s)
        case _:
            return None


def outcome_texts(outcome: Outcome) -> tuple[str, ...]:
    """The statusString of an outcome, or the reason of a pollRep."""
    match outcome:
        case Issued():
            return ()
        case Pending():
            waits_for = "approval by a person" if outcome.waits_for == "approval" else "the CA"
            return (f"the request waits for {waits_for}; poll after {outcome.retry_after_s} s",)
        case Refused(retry_after_s=int() as seconds):
            return (*status_strings(outcome.reasons, outcome.request_id), again_string(seconds))
        case Refused():
            return status_strings(outcome.reasons, outcome.request_id)
        case Unavailable(request_id=str()):
            return status_strings((outcome.reason,), outcome.request_id)
        case Unavailable():
            return retry_strings(outcome.reason, outcome.retry_after_s)
        case _:
            assert_never(outcome)


def _again_s(outcome: Outcome) -> int | None:
    """In how many seconds to send the message again; None where that would change nothing."""
    match outcome:
        case Unavailable(request_id=None) | Refused(retry_after_s=int()):
            return outcome.retry_after_s
        case _:
            return None


def _failure(refused: Refused, pop: Pop | None) -> PkiFailureInfo:
    reason = refused.reasons[0] if refused.reasons else None
    if reason is not None and reason.code is ReasonCode.CSR_POSSESSION and pop is Pop.RA_VERIFIED:
        return PkiFailureInfo.NOT_AUTHORIZED  # RFC 9483 5.1.2: only an RA vouches for others
    if reason is not None and reason.code is ReasonCode.TRANSACTION_IN_USE:
        return PkiFailureInfo.BAD_REQUEST  # another renewal waits for its certConf
    return failure_info(refused.reasons)


def _in_use(outcome: Outcome) -> bool:
    if not isinstance(outcome, Refused) or not outcome.reasons:
        return False
    reason = outcome.reasons[0]
    # With a path it is about what is renewed, not about the transactionID
    return reason.code is ReasonCode.TRANSACTION_IN_USE and not reason.path


def _log(received: Received, outcome: Outcome) -> None:
    log = received.exchange.request.log
    log["outcome"] = type(outcome).__name__.lower()
    if outcome.request_id is not None:
        log["enrolment"] = outcome.request_id
    if isinstance(outcome, Refused):
        log["code"] = ",".join(reason.code for reason in outcome.reasons[:5])
    elif isinstance(outcome, Unavailable):
        log["code"] = str(outcome.reason.code)
