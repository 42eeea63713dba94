"""Secrets that protect messages, found by their reference (RFC 9810 section 5.1.3.1)."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable

from gateway.authn.bounds import in_scope, revocation_text
from gateway.authn.sealing import seal, unseal
from gateway.authn.throttle import Attempts, FailureThrottle
from gateway.errors import GatewayError, RetryLater
from gateway.model.evidence import CMP_SECRET, RemoteInfo, SecretBytes, SharedSecret
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.reasons import ReasonCode
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.store import Store

NO_SUCH_REFERENCE = "the reference or the secret that protects the message is wrong"
_NOBODY = "nobody"  # stands in for the credential of an unknown reference

Check = Callable[[SecretBytes], Awaitable[bool]]


class SharedSecrets:
    """``frontend.SharedSecrets`` over credentials of the kind ``cmp-secret``."""

    def __init__(self, store: Store, server_key: bytes, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._server_key = server_key
        # A reference stands in clear in every message: bounded over all addresses, its owner could be kept
        # out by anybody who has seen one.
        self._attempts = Attempts(FailureThrottle(monotonic, per_user=False))
        self._nobodys_key = secrets.token_bytes(32)
        self._nobodys = seal(server_key, _NOBODY, secrets.token_bytes(32))

    async def verify(
        self,
        protocol: ProtocolName,
        endpoint: EndpointName,
        reference: str,
        check: Check,
        remote: RemoteInfo,
    ) -> SharedSecret:
        """Find the secret of this reference, by which ``check`` is content with the message.

        Raises GatewayError with auth.failed (unknown, revoked or wrong: not told apart) or
        auth.credential-scope, RetryLater with auth.throttled, StoreUnavailable, SecretUnavailable where the
        stored secret cannot be opened, and whatever ``check`` raises: then the attempt does not count.
        """
        wait_s = await self._attempts.begin(reference, remote.address)
        if wait_s:
            raise RetryLater(
                f"too many messages with a wrong secret for this reference or address; wait {wait_s} seconds",
                retry_after_s=wait_s,
                code=ReasonCode.AUTH_THROTTLED,
            )
        failed = True
        try:
            row = await self._store.reader.read(
                lambda connection: credentials.by_name(connection, CMP_SECRET, reference)
            )
            secret = self._secret(row, reference)
            failed = not await check(secret) or row is None
        except GatewayError:
            failed = False
            raise
        finally:
            self._attempts.end(reference, remote.address, failed=failed)
        if failed or row is None:
            detail = await self._what_is_wrong(reference, row)
            raise GatewayError(NO_SUCH_REFERENCE, code=ReasonCode.AUTH_FAILED, detail=detail)
        if not in_scope(row, protocol, endpoint):
            raise GatewayError(
                f"this reference is not for {protocol} at the endpoint {endpoint!r}",
                code=ReasonCode.AUTH_CREDENTIAL_SCOPE,
                detail=f"credential {row.id}",
            )
        return SharedSecret(row.id, row.name, secret)

    def _secret(self, row: CredentialRow | None, reference: str) -> SecretBytes:
        """The work is the same for an unknown reference, whose secret nobody has.

        Each unknown reference has a secret of its own: a derived key that somebody remembers by the secret
        would otherwise be found again for the next unknown one, and be quick.
        """
        stand_in = hmac.digest(self._nobodys_key, reference.encode("utf-8", "replace"), "sha256")
        credential_id, sealed = (_NOBODY, self._nobodys) if row is None else (row.id, row.sealed or b"")
        opened = unseal(self._server_key, credential_id, sealed)
        return opened if row is not None else SecretBytes(stand_in)

    async def _what_is_wrong(self, reference: str, row: CredentialRow | None) -> str:
        """For the operator. A revoked one is looked up whatever is wrong, so that the time tells nothing."""
        revoked = await self._store.reader.read(
            lambda connection: credentials.revoked_by_name(connection, CMP_SECRET, reference)
        )
        shown = repr(reference[:100])
        if row is not None:
            return f"wrong secret for the reference {shown}, credential {row.id}"
        unknown = f"no secret has the reference {shown}"
        return unknown if revoked is None else f"{unknown}; {revocation_text(revoked)}"
