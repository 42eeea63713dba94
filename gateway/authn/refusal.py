"""How authentication says no."""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.model.reasons import ReasonCode


class CredentialRefused(GatewayError):
    """A presented credential did not stand up. ``retry_after_s`` is set where waiting helps; ``rule`` (below
    ``authenticate``) and ``where`` (its file:line:column) where one rule alone refused it."""

    default_code = ReasonCode.AUTH_FAILED

    def __init__(
        self,
        public_text: str,
        *,
        code: ReasonCode = ReasonCode.AUTH_FAILED,
        detail: str = "",
        retry_after_s: int = 0,
        rule: str = "",
        where: str = "",
    ) -> None:
        super().__init__(public_text, code=code, detail=detail, path="credential")
        self.retry_after_s = retry_after_s
        self.rule = rule
        self.where = where
