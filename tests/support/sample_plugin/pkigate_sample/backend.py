"""CA backend ``sample-remote``: the client of ``pkigate_sample.ca_server``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ca_backend.api import (
    BackendContext,
    CaAnswer,
    CaBackend,
    CaIssued,
    CaPending,
    CaRefused,
    IssuanceOrder,
    RetryClass,
)
from gateway.errors import BackendInDoubt, BackendUnavailable, NotActed
from gateway.model.certificate import RevocationReason
from pkigate_sample.wire import connect, exchange, from_b64, plan_message, to_b64


class SampleOptions(BaseModel):
    """Options of a Backend document with ``type: sample-remote``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field(
        pattern=r"^(unix:/.+|.+:[0-9]{1,5})$", description="Where the CA listens: HOST:PORT or unix:/PATH."
    )
    retry: RetryClass = Field(
        default=RetryClass.IDEMPOTENT, description="What the CA promises for an order that comes again."
    )
    needs_csr: bool = Field(default=False, description="Whether orders without a CSR are refused.")
    timeout_s: float = Field(default=10, gt=0, description="How long an answer may take, in seconds.")


class SampleBackend:
    """Abilities: ``CanPoll``, ``CanRevoke``, ``CanHealth``."""

    signs_in_process = False

    def __init__(self, name: str, options: SampleOptions) -> None:
        self.name = name
        self.retry = options.retry
        self.needs_csr = options.needs_csr
        self._options = options

    async def issue(self, order: IssuanceOrder) -> CaAnswer:
        if self.needs_csr and order.csr_der is None:
            return CaRefused("csr", "this CA takes orders with a CSR only")
        message = {"op": "issue", "order_id": order.order_id, "plan": plan_message(order.plan)}
        answer = await self._call(message, repeatable=self.retry is RetryClass.IDEMPOTENT)
        return _ca_answer(answer)

    async def poll(self, handle: str) -> CaAnswer:
        return _ca_answer(await self._call({"op": "poll", "handle": handle}))

    async def chain(self) -> tuple[bytes, ...]:
        answer = await self._call({"op": "chain"})
        return tuple(from_b64(certificate) for certificate in answer["chain"])

    async def revoke(self, serial: int, reason: RevocationReason) -> None:
        await self._call({"op": "revoke", "serial": f"{serial:x}", "reason": str(reason)})

    async def health(self) -> Mapping[str, str]:
        try:
            await self._call({"op": "chain"})
        except BackendUnavailable as error:
            return {"ca": str(error)}
        return {"ca": "ok"}

    async def aclose(self) -> None:
        """Every call has a connection of its own, so nothing is left."""

    async def _call(self, message: dict[str, Any], *, repeatable: bool = True) -> dict[str, Any]:
        """One exchange. After the message has left, a lost answer is in doubt unless it may be repeated."""
        address, sent = self._options.address, False
        try:
            async with asyncio.timeout(self._options.timeout_s):
                reader, writer = await connect(address)
                sent = True
                answer = await exchange(reader, writer, message)
        except (OSError, EOFError, TimeoutError, json.JSONDecodeError) as error:
            detail = f"{address}: {type(error).__name__}: {error}"
            if sent and not repeatable:
                raise BackendInDoubt("the CA gave no answer", detail=detail) from error
            not_acted = None if sent else NotActed.CONNECT_ERROR
            raise BackendUnavailable(
                "the CA cannot be reached", detail=detail, not_acted=not_acted
            ) from error
        if answer.get("status") == "error":
            raise BackendUnavailable("the CA cannot work on this", detail=str(answer.get("message")))
        return answer


class FindableSampleBackend(SampleBackend):
    """The same, with ``CanFind``."""

    async def find(self, order_id: str, spki_der: bytes) -> CaAnswer | None:
        answer = await self._call({"op": "find", "order_id": order_id, "spki": to_b64(spki_der)})
        return None if answer["status"] == "unknown" else _ca_answer(answer)


def _ca_answer(answer: dict[str, Any]) -> CaAnswer:
    match answer["status"]:
        case "issued":
            chain = tuple(from_b64(certificate) for certificate in answer["chain"])
            return CaIssued(from_b64(answer["certificate"]), chain)
        case "pending":
            return CaPending(answer["handle"], answer["retry_after_s"])
        case "refused":
            return CaRefused(answer["code"], answer["message"])
    raise BackendInDoubt("the CA gave an answer that cannot be understood", detail=repr(answer)[:200])


class SampleBackendPlugin:
    """``ca_backend.api.BackendPlugin`` of the sample CA."""

    type_name: ClassVar[str] = "sample-remote"
    options_model: ClassVar[type[BaseModel]] = SampleOptions

    def initialise(self, options: Any, context: BackendContext) -> None:
        """Nothing: the CA lives elsewhere."""

    def open(self, options: Any, context: BackendContext) -> CaBackend:
        checked = SampleOptions.model_validate(options)
        findable = checked.retry is RetryClass.FINDABLE
        return (FindableSampleBackend if findable else SampleBackend)(context.name, checked)
