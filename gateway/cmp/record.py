"""The record of messages that never became a request, and the words of their refusal."""

from __future__ import annotations

from dataclasses import replace

from gateway.cmp.errors import status_strings
from gateway.cmp.exchange import Exchange
from gateway.cmp.options import CMP
from gateway.cmp.sender import MacSender, Sender
from gateway.errors import GatewayError, RetryLater
from gateway.frontend import BadMessage


async def recorded(
    exchange: Exchange, operation: str, sender: Sender | None, fault: GatewayError
) -> tuple[str, ...]:
    """Record a fault; gives the statusString for the client. ``operation`` is the body's name.

    A store that is out of reach keeps nobody from being told what is wrong.
    """
    log = exchange.request.log
    log.update(outcome="refused", code=str(fault.code))
    if fault.detail:
        log["detail"] = fault.detail
    reason = fault.reason
    known = replace(reason, message=f"{reason.message} [{fault.detail}]") if fault.detail else reason
    bad = BadMessage(
        protocol=CMP,
        endpoint=exchange.endpoint,
        operation=operation,
        reason=known,
        remote=exchange.request.remote(operation),
        identity=f"mac:{sender.secret.credential_id}" if isinstance(sender, MacSender) else "anonymous",
    )
    try:
        refused = await exchange.services.enrolments.record_bad_message(bad)
    except RetryLater:
        return status_strings((reason,), None)
    if refused.request_id is not None:
        log["enrolment"] = refused.request_id
    return status_strings((reason,), refused.request_id)
