"""Tokens of the REST API (RFC 6750): found by their verifier, as challenge passwords are."""

from __future__ import annotations

from collections.abc import Callable

from gateway.authn.bounds import revocation_text
from gateway.authn.refusal import CredentialRefused
from gateway.authn.secrets import MACHINE_PREFIX, challenge_verifier
from gateway.authn.throttle import FailureThrottle
from gateway.clock import Clock
from gateway.model.api_caller import ApiCaller
from gateway.model.evidence import API_TOKEN
from gateway.model.permissions import Permission
from gateway.model.reasons import ReasonCode
from gateway.store import credentials
from gateway.store.store import Store

NO_SUCH_TOKEN = "the API token is wrong or was revoked; ask an administrator for a new one"  # noqa: S105  # a text
_PREFIX_CHARACTERS = 16  # of a verifier: enough to tell guesses apart


class ApiTokens:
    """Credentials of the kind ``api-token``, read at every request: a revoked one is refused at once."""

    def __init__(self, store: Store, server_key: bytes, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._server_key = server_key
        self._clock = clock
        # Each guess is another token: bounded by its address.
        self._throttle = FailureThrottle(monotonic, per_user=False)

    async def verify(self, token: bytes, address: str) -> ApiCaller:
        """Raises CredentialRefused (auth.failed, auth.throttled) and StoreUnavailable.

        A permission in the row that this version does not know is none.
        """
        verifier = challenge_verifier(self._server_key, token)
        guess = verifier.removeprefix(MACHINE_PREFIX)[:_PREFIX_CHARACTERS]
        row = await self._store.reader.read(
            lambda connection: credentials.by_verifier(connection, API_TOKEN, verifier)
        )
        # From here on nothing is waited for: requests with a right token, however many come at once, never
        # count against each other.
        wait_s = self._throttle.charge(guess, address)
        if wait_s:
            raise CredentialRefused(
                f"too many wrong API tokens from this address; wait {wait_s} seconds",
                code=ReasonCode.AUTH_THROTTLED,
                retry_after_s=wait_s,
            )
        if row is None or row.revoked_at is not None:
            what = "no credential is this API token" if row is None else revocation_text(row)
            raise CredentialRefused(NO_SUCH_TOKEN, detail=what)
        self._throttle.give_back(guess, address)
        if row.expires_at is not None and row.expires_at <= self._clock.now():
            at = f"expired at {row.expires_at:%Y-%m-%d %H:%M}Z"
            raise CredentialRefused(
                f"this API token {at}; ask an administrator for a new one", detail=f"credential {row.id} {at}"
            )
        known = frozenset(Permission(one) for one in row.permissions or () if one in set(Permission))
        return ApiCaller(row.id, row.name, known, row.endpoints, row.groups)
