"""Turns claims into evidence, or refuses: the only maker of VerifiedCredential.

Authentication is a closed match over the kinds of credential; what is not verified here is not evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from gateway.authn import claims as claiming
from gateway.authn.bounds import check_begins, check_scope, revocation_text
from gateway.authn.claims import ClaimedChallenge, Claims, account_identity
from gateway.authn.client_certificate import verify_certificate
from gateway.authn.refusal import CredentialRefused
from gateway.authn.secrets import (
    MACHINE_PREFIX,
    PasswordMemory,
    is_machine_verifier,
    machine_secret_matches,
)
from gateway.authn.shared_secrets import NO_SUCH_REFERENCE
from gateway.authn.throttle import FailureThrottle
from gateway.authn.trust import TrustStore
from gateway.errors import Overloaded
from gateway.model.certificate import CertificateRecord
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import (
    ACME_ACCOUNT,
    BASIC,
    CHALLENGE_DYNAMIC,
    CHALLENGE_STATIC,
    CMP_SECRET,
    MAC,
    CredentialKind,
    Evidence,
    PresentedAccount,
    PresentedMac,
    PresentedPassword,
    VerifiedCredential,
)
from gateway.model.reasons import ReasonCode
from gateway.policy.authentication_rules import (
    AuthenticationRule,
)
from gateway.store.credentials import CredentialRow

MAX_AT_ONCE = 2  # password verifications; each takes 64 MiB
MAX_WAITING = 40  # a second and more of work
NO_SUCH_PAIR = "the user name or the secret is wrong"
NO_SUCH_CHALLENGE = "the challenge password is wrong or no longer good; ask for a new one"
_SORTS = {CHALLENGE_STATIC: "a static", CHALLENGE_DYNAMIC: "a one-time"}
_PREFIX_CHARACTERS = 16  # of a challenge's verifier: enough to tell guesses apart


@dataclass(frozen=True, slots=True)
class Looked:
    """What the database said of the claims: the credential of that user name, the certificate's record, the
    external account that an ACME account is bound to, the credential of that challenge, and of that MAC."""

    credential: CredentialRow | None = None
    certificate: CertificateRecord | None = None
    external: CredentialRow | None = None
    challenge: CredentialRow | None = None
    mac: CredentialRow | None = None


class Authenticator:
    """Verifies claims against the database's and the trust stores' word."""

    def __init__(self, server_key: bytes, monotonic: Callable[[], float]) -> None:
        self._server_key = server_key
        self._throttle = FailureThrottle(monotonic)
        # Each guess is another challenge: bounded by its address. One wrong challenge of one device does not
        # use up what others behind its address have.
        self._challenge_throttle = FailureThrottle(monotonic, per_user=False)
        self._memory = PasswordMemory(monotonic)
        # Its threads start at the first password, so that none exists before the fork.
        self._verifiers = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="pkigate-password")
        self._verifying: dict[bytes, asyncio.Future[bool]] = {}

    def read_claims(self, rule: AuthenticationRule, request: EnrolmentRequest) -> Claims:
        """Pick the credentials that the rule looks at. Raises CredentialRefused where one is missing."""
        return claiming.read_claims(rule, request, self._server_key)

    async def verify(
        self,
        claims: Claims,
        looked: Looked,
        request: EnrolmentRequest,
        trust: TrustStore | None,
        now: datetime,
    ) -> Evidence:
        """Every claim must stand up. Raises CredentialRefused; ``check_new_request`` is left to the caller.

        ``trust`` is the store that the certificate's rule names; it must be given where a certificate is
        claimed.
        """
        verified: list[VerifiedCredential] = []
        if claims.certificate is not None:
            if trust is None:
                raise CredentialRefused("no trust store is configured for client certificates")
            verified.append(verify_certificate(claims.certificate, looked.certificate, trust, now))
        if claims.password is not None:
            verified.append(await self._verify_password(claims.password, looked.credential, request))
        if claims.account is not None:
            verified.append(_verify_account(claims.account, looked.external))
        if claims.challenge is not None:
            verified.append(self._verify_challenge(claims.challenge, looked.challenge, request))
        if claims.mac is not None:
            verified.append(_verify_mac(claims.mac, looked.mac, request))
        return Evidence(tuple(verified))

    def _verify_challenge(
        self, claimed: ClaimedChallenge, row: CredentialRow | None, request: EnrolmentRequest
    ) -> VerifiedCredential:
        """It was found by its verifier, an HMAC under a key that nobody knows: how long that takes tells
        nothing of any stored one."""
        guess = claimed.verifier.removeprefix(MACHINE_PREFIX)[:_PREFIX_CHARACTERS]
        address = request.remote.address
        wait_s = self._challenge_throttle.charge(guess, address)
        if wait_s:
            raise CredentialRefused(
                f"too many failed attempts with this challenge password or from this address; wait {wait_s} "
                "seconds",
                code=ReasonCode.AUTH_THROTTLED,
                retry_after_s=wait_s,
            )
        if row is None or row.revoked_at is not None:
            what = claimed.unknown_text if row is None else revocation_text(row)
            raise CredentialRefused(NO_SUCH_CHALLENGE, detail=what)
        self._challenge_throttle.give_back(guess, address)
        check_scope(row, request.protocol, request.endpoint)
        kind = CHALLENGE_STATIC if row.uses_left is None else CHALLENGE_DYNAMIC
        if kind not in claimed.rule.accept:
            raise CredentialRefused(
                f"{_SORTS[kind]} challenge password is not accepted here; ask for another kind",
                code=ReasonCode.AUTH_CREDENTIAL_SCOPE,
                detail=f"credential {row.id}",
            )
        return _of_row(row, kind, f"challenge:{row.id}")

    async def _verify_password(
        self,
        presented: PresentedPassword,
        row: CredentialRow | None,
        request: EnrolmentRequest,
    ) -> VerifiedCredential:
        address = request.remote.address
        wait_s = self._throttle.charge(presented.user, address)
        if wait_s:
            raise CredentialRefused(
                f"too many failed attempts for this user or address; wait {wait_s} seconds",
                code=ReasonCode.AUTH_THROTTLED,
                retry_after_s=wait_s,
            )
        if not await self._secret_matches(presented, row, address) or row is None:
            shown = repr(presented.user[:100])
            what = f"no credential has the name {shown}" if row is None else f"wrong secret for {shown}"
            raise CredentialRefused(NO_SUCH_PAIR, detail=what)
        if row.revoked_at is not None:
            raise CredentialRefused(NO_SUCH_PAIR, detail=f"credential {row.id} is revoked")
        check_scope(row, request.protocol, request.endpoint)
        return _of_row(row, BASIC, f"basic:{row.id}")

    async def _secret_matches(
        self, presented: PresentedPassword, row: CredentialRow | None, address: str
    ) -> bool:
        """Whether the secret is right. The attempt, charged before, is given back unless the guess was wrong.

        Raises Overloaded.
        """
        secret, verifier = presented.secret.reveal(), row.verifier if row is not None else None
        if verifier is None or is_machine_verifier(verifier):
            matches = machine_secret_matches(self._server_key, verifier, secret)
        elif self._memory.remembers(verifier, secret):
            matches = True
        else:
            entry = self._memory.entry(verifier, secret)
            running = self._verifying.get(entry)
            if running is not None:
                # The same guess at the same time is one guess.
                self._throttle.give_back(presented.user, address)
                return await asyncio.shield(running)
            if len(self._verifying) >= MAX_WAITING:
                self._throttle.give_back(presented.user, address)
                raise Overloaded("too many passwords wait for verification", retry_after_s=2)
            running = asyncio.ensure_future(self._verify_human(verifier, secret))
            self._verifying[entry] = running
            running.add_done_callback(lambda _: self._verifying.pop(entry, None))
            matches = await asyncio.shield(running)
        if matches:
            self._throttle.give_back(presented.user, address)
        return matches

    async def _verify_human(self, verifier: str, secret: bytes) -> bool:
        # argon2id takes some 50 ms and 64 MiB: never on the event loop, and few at once.
        verify = partial(self._memory.verify, verifier, secret)
        matches = await asyncio.get_running_loop().run_in_executor(self._verifiers, verify)
        if matches:
            self._memory.remember(verifier, secret)
        return matches


def check_new_request(claims: Claims, looked: Looked, now: datetime) -> None:
    """Whether verified claims may begin a new request. Raises CredentialRefused.

    Not part of the verification: who repeats a message, or polls, gets its answer although the credential was
    used up by that very request or has expired meanwhile.
    """
    if claims.account is not None and looked.external is not None:
        _check_external_expiry(looked.external, now)
    if claims.password is not None and looked.credential is not None:
        check_begins(looked.credential, now)
    if claims.mac is not None and looked.mac is not None:
        check_begins(looked.mac, now)
    if claims.challenge is not None and looked.challenge is not None:
        # scep.md C39: the client is told the same as of a wrong one, the record tells them apart.
        check_begins(looked.challenge, now, told=NO_SUCH_CHALLENGE)
        _check_age(claims.challenge, looked.challenge, now)


def _check_age(claimed: ClaimedChallenge, row: CredentialRow, now: datetime) -> None:
    ttl_s = claimed.rule.ttl_s
    if ttl_s is not None and now > row.created_at + timedelta(seconds=ttl_s):
        raise CredentialRefused(
            NO_SUCH_CHALLENGE,
            detail=f"credential {row.id} was made at {row.created_at:%Y-%m-%d %H:%M}Z, over {ttl_s} s ago",
            rule="challenge.ttl",
        )


def _verify_mac(
    presented: PresentedMac, row: CredentialRow | None, request: EnrolmentRequest
) -> VerifiedCredential:
    """The message was found right with its secret before; here is asked whether it still counts."""
    if row is None or row.kind != CMP_SECRET:
        unknown = f"no shared secret is credential {presented.credential_id}"
        raise CredentialRefused(NO_SUCH_REFERENCE, detail=unknown)
    if row.revoked_at is not None:
        raise CredentialRefused(NO_SUCH_REFERENCE, detail=revocation_text(row))
    check_scope(row, request.protocol, request.endpoint)
    return _of_row(row, MAC, f"mac:{row.id}")


def _of_row(row: CredentialRow, kind: CredentialKind, identity: str) -> VerifiedCredential:
    return VerifiedCredential(
        kind=kind,
        identity=identity,
        label=row.name,
        credential_id=row.id,
        names=row.names,
        counted=row.uses_left is not None,
        profiles=row.profiles,
        groups=row.groups,
        labels=row.labels,
    )


def _verify_account(presented: PresentedAccount, external: CredentialRow | None) -> VerifiedCredential:
    """The front end found the account valid; here is asked whether what it is bound to still counts.

    Its uses are none of our business: they were taken when accounts were bound to it.
    """
    if presented.credential_id is not None and external is None:
        raise CredentialRefused(
            "the external account that this account is bound to is gone; open a new account",
            code=ReasonCode.AUTH_ACCOUNT,
            detail=f"account {presented.account_id}: no credential {presented.credential_id}",
        )
    if external is not None and external.revoked_at is not None:
        raise CredentialRefused(
            f"the external account {external.name!r} that this account is bound to is no longer good: it was "
            "revoked; open a new account with another one",
            code=ReasonCode.AUTH_ACCOUNT,
            detail=f"account {presented.account_id}: credential {external.id} was revoked at "
            f"{external.revoked_at:%Y-%m-%d %H:%M}Z",
        )
    return VerifiedCredential(
        kind=ACME_ACCOUNT,
        identity=account_identity(presented),
        label=presented.label,
        credential_id=presented.credential_id,
        names=external.names if external is not None else None,
        profiles=external.profiles if external is not None else None,
        proven=presented.proven,
        prevalidated=(external.prevalidated or ()) if external is not None else (),
        detail=(("thumbprint", presented.thumbprint),),
        groups=external.groups if external is not None else (),
        labels=external.labels if external is not None else (),
    )


def _check_external_expiry(external: CredentialRow, now: datetime) -> None:
    if external.expires_at is not None and external.expires_at <= now:
        raise CredentialRefused(
            f"the external account {external.name!r} that this account is bound to is no longer good: it "
            f"expired at {external.expires_at:%Y-%m-%d %H:%M}Z; ask for a new one and open a new account",
            code=ReasonCode.AUTH_ACCOUNT,
            detail=f"credential {external.id} has expired",
        )
