"""pollReq (RFC 9810 section 5.3.22): what has become of requests that wait.

Only requests for certificates ever wait here, so there is nothing else to poll for.
"""

from __future__ import annotations

from gateway.asn1.cmp import BodyType
from gateway.asn1.cmp_bodies import PollAnswer, decode_poll_req, encode_poll_rep
from gateway.asn1.cmp_status import PkiFailureInfo
from gateway.cmp.answers import Answer
from gateway.cmp.errors import CmpRefusal
from gateway.cmp.options import CMP
from gateway.cmp.received import P10CR_ID, Received, known_requests
from gateway.cmp.responses import ANSWERS, Response, outcome_texts, response_answer, waits_s
from gateway.model.outcome import Outcome
from gateway.model.reasons import ReasonCode


async def poll(received: Received) -> Answer:
    """The pollRep while all that is asked about waits, else the ip, cp or kup (section 5.3.22, clause 2).

    Raises CmpRefusal, MalformedMessage, StoreUnavailable.
    """
    if received.begun_by not in ANSWERS:
        raise _unknown("nothing waits in this transaction")
    identifiers = decode_poll_req(received.message.body_der)
    if len(set(identifiers)) < len(identifiers):
        raise _unknown("the pollReq names a certReqId twice")
    if identifiers == (P10CR_ID,):
        # Stands for the whole message
        identifiers = await known_requests(received)
    found = await _outcomes(received, identifiers)
    if found and all(waits_s(outcome) is not None for _, outcome in found):
        received.exchange.request.log["outcome"] = "pending"
        answers = (
            PollAnswer(cert_req_id, waits_s(outcome) or 1, outcome_texts(outcome))
            for cert_req_id, outcome in found
        )
        return Answer(BodyType.POLLREP, encode_poll_rep(answers), received.begun_by)
    responses = [Response(cert_req_id, outcome) for cert_req_id, outcome in found]
    # What was issued and waits for no certConf was asked for with implicitConfirm.
    return response_answer(received, responses, implicit_confirm=True)


async def _outcomes(received: Received, identifiers: tuple[int, ...]) -> list[tuple[int, Outcome]]:
    exchange = received.exchange
    outcomes = await exchange.services.enrolments.outcomes_of(
        CMP, exchange.endpoint, [received.parts(cert_req_id) for cert_req_id in identifiers]
    )
    p10cr = received.begun_by is BodyType.P10CR
    found: list[tuple[int, Outcome]] = []
    for cert_req_id, outcome in zip(identifiers, outcomes, strict=True):
        if outcome is None or cert_req_id < P10CR_ID or (cert_req_id == P10CR_ID) is not p10cr:
            raise _unknown(f"this transaction has no request of the certReqId {cert_req_id}")
        found.append((cert_req_id, outcome))
    if not found:
        raise _unknown("nothing waits in this transaction")
    return found


def _unknown(text: str) -> CmpRefusal:
    return CmpRefusal(PkiFailureInfo.BAD_REQUEST, text, code=ReasonCode.TRANSACTION_UNKNOWN, path="certReqId")
