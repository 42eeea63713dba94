"""External accounts: MAC keys that were given out beforehand (RFC 8555 section 7.3.4)."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from datetime import datetime

from gateway.authn.sealing import seal, unseal
from gateway.authn.throttle import Attempts, FailureThrottle
from gateway.clock import Clock
from gateway.errors import GatewayError, RetryLater
from gateway.model.evidence import ACME_EAB, ExternalAccount, RemoteInfo
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.reasons import ReasonCode
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.store import Store
from gateway.store.unit import Unit

HMAC_KEY_BYTES = 32
NO_SUCH_ACCOUNT = "the external account's key identifier or its MAC is wrong"
_HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}  # RFC 7518 section 3.2
_NOBODY = "nobody"  # stands in for the credential of an unknown key identifier


def new_hmac_key() -> bytes:
    """Make a MAC key of 256 random bits."""
    return secrets.token_bytes(HMAC_KEY_BYTES)


class ExternalAccounts:
    """``frontend.ExternalAccounts`` over credentials of the kind ``acme-eab``."""

    def __init__(self, store: Store, server_key: bytes, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._server_key = server_key
        self._clock = clock
        # Nobody guesses 256 random bits, but a key identifier is no secret: bounded over all addresses, its
        # owner could be kept out by anybody who knows it.
        self._attempts = Attempts(FailureThrottle(monotonic, per_user=False))
        self._nobodys = seal(server_key, _NOBODY, new_hmac_key())

    async def verify(
        self,
        protocol: ProtocolName,
        endpoint: EndpointName,
        key_identifier: str,
        algorithm: str,
        signed: bytes,
        mac: bytes,
        remote: RemoteInfo,
    ) -> ExternalAccount:
        """Check an HMAC ("HS256", "HS384", "HS512") over ``signed``.

        Raises GatewayError with auth.failed or auth.credential-scope, RetryLater with auth.throttled,
        StoreUnavailable, and SecretUnavailable where the stored key cannot be opened.
        """
        wait_s = await self._attempts.begin(key_identifier, remote.address)
        if wait_s:
            raise RetryLater(
                f"too many wrong MACs for this external account or address; wait {wait_s} seconds",
                retry_after_s=wait_s,
                code=ReasonCode.AUTH_THROTTLED,
            )
        failed = True
        try:
            row = await self._store.reader.read(
                lambda connection: credentials.by_name(connection, ACME_EAB, key_identifier)
            )
            failed = not self._mac_matches(row, algorithm, signed, mac) or row is None
        except GatewayError:
            failed = False
            raise
        finally:
            self._attempts.end(key_identifier, remote.address, failed=failed)
        if failed or row is None:
            what = "wrong MAC for" if row is not None else "no external account has the key identifier"
            raise GatewayError(
                NO_SUCH_ACCOUNT, code=ReasonCode.AUTH_FAILED, detail=f"{what} {key_identifier[:100]!r}"
            )
        _check_scope(row, protocol, endpoint, self._clock.now())
        return ExternalAccount(row.id, row.name, counted=row.uses_left is not None)

    def take(self, unit: Unit, account: ExternalAccount, now: datetime) -> None:
        """Take one use off a counted one; commit raises Conflict if none is left or it is good no longer."""
        if account.counted:
            credentials.use(unit, account.credential_id, now)

    def _mac_matches(self, row: CredentialRow | None, algorithm: str, signed: bytes, mac: bytes) -> bool:
        """Compare in constant time. An unknown key identifier makes the same work, with a key nobody has."""
        hash_name = _HASHES.get(algorithm)
        if hash_name is None:
            return False
        credential_id, sealed = (_NOBODY, self._nobodys) if row is None else (row.id, row.sealed or b"")
        key = unseal(self._server_key, credential_id, sealed)
        return hmac.compare_digest(hmac.digest(key.reveal(), signed, hash_name), mac)


def _check_scope(row: CredentialRow, protocol: str, endpoint: str, now: datetime) -> None:
    """The MAC was right, so the answer may say what is wrong with the credential."""
    problem = ""
    if row.protocol not in {None, protocol} or (row.endpoints is not None and endpoint not in row.endpoints):
        problem = f"is not for {protocol} at the endpoint {endpoint!r}"
    elif row.expires_at is not None and row.expires_at <= now:
        problem = f"expired at {row.expires_at:%Y-%m-%d %H:%M}Z; ask for a new one"
    elif row.uses_left is not None and row.uses_left <= 0:
        problem = "has been used up; ask for a new one"
    if problem:
        raise GatewayError(
            f"this external account {problem}",
            code=ReasonCode.AUTH_CREDENTIAL_SCOPE,
            detail=f"credential {row.id}",
        )
