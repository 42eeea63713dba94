"""CertPoll (RFC 8894 sections 3.3.3 and 4.4): what has become of an earlier PKCSReq or RenewalReq."""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.model.outcome import Outcome
from gateway.model.reasons import ReasonCode
from gateway.scep.exchange import Exchange, transaction_parts
from gateway.scep.message import ScepRequest
from gateway.scep.options import SCEP


async def poll(exchange: Exchange, request: ScepRequest) -> Outcome:
    """The request with this transactionID that the same key signed, however long ago it was decided.

    Issuer and subject are not looked at (section 3.3.3): clients write the name of whichever CA certificate
    they happen to hold, and an answer that depends on them would tell an attacker what he has made of another
    device's ciphertext. Raises GatewayError and StoreUnavailable.
    """
    parts = transaction_parts(request.message)
    outcome = await exchange.services.enrolments.outcome_of(SCEP, exchange.endpoint, parts)
    if outcome is None:
        # Section 4.4: a CertPoll without a matching request MUST be rejected. Somebody else's transaction is
        # as unknown as one that never was.
        raise GatewayError(
            "no request of this key has this transactionID here; send a PKCSReq",
            code=ReasonCode.TRANSACTION_UNKNOWN,
        )
    return outcome
