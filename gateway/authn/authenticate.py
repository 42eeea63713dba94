"""Turns claims into evidence, or refuses: the only maker of VerifiedCredential.

Authentication is a closed match over the kinds of credential; what is not verified here is not evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from gateway.authn.claims import ClaimedCertificate, Claims, account_identity
from gateway.authn.refusal import CredentialRefused
from gateway.authn.secrets import PasswordMemory, is_machine_verifier, machine_secret_matches
from gateway.authn.throttle import FailureThrottle
from gateway.authn.trust import TrustStore
from gateway.errors import Overloaded
from gateway.model.certificate import CertificateRecord, CertificateStatus
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import (
    ACME_ACCOUNT,
    BASIC,
    Evidence,
    PresentedAccount,
    PresentedPassword,
    VerifiedCredential,
)
from gateway.model.reasons import ReasonCode
from gateway.pki.chain import UntrustedCertificate, verify_client_chain
from gateway.store.credentials import CredentialRow

MAX_AT_ONCE = 2  # password verifications; each takes 64 MiB
MAX_WAITING = 40  # a second and more of work
NO_SUCH_PAIR = "the user name or the secret is wrong"


@dataclass(frozen=True, slots=True)
class Looked:
    """What the database said of the claims: the credential of that user name, the certificate's record, the
    external account that an ACME account is bound to."""

    credential: CredentialRow | None = None
    certificate: CertificateRecord | None = None
    external: CredentialRow | None = None


class Authenticator:
    """Verifies claims against the database's and the trust stores' word."""

    def __init__(self, server_key: bytes, monotonic: Callable[[], float]) -> None:
        self._server_key = server_key
        self._throttle = FailureThrottle(monotonic)
        self._memory = PasswordMemory(monotonic)
        # Its threads start at the first password, so that none exists before the fork.
        self._verifiers = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="pkigate-password")
        self._verifying: dict[bytes, asyncio.Future[bool]] = {}

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
            verified.append(_verify_certificate(claims.certificate, looked.certificate, trust, now))
        if claims.password is not None:
            verified.append(await self._verify_password(claims.password, looked.credential, request))
        if claims.account is not None:
            verified.append(_verify_account(claims.account, looked.external))
        return Evidence(tuple(verified))

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
        _check_scope(row, request)
        return VerifiedCredential(
            kind=BASIC,
            identity=f"basic:{row.id}",
            label=row.name,
            credential_id=row.id,
            names=row.names,
            counted=row.uses_left is not None,
        )

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
    row = looked.credential
    if claims.password is None or row is None:
        return
    if row.expires_at is not None and row.expires_at <= now:
        raise CredentialRefused(
            f"this credential expired at {row.expires_at:%Y-%m-%d %H:%M}Z; ask for a new one",
            detail=f"credential {row.id} has expired",
        )
    if row.uses_left is not None and row.uses_left <= 0:
        raise CredentialRefused(
            "this credential has been used up; ask for a new one", detail=f"credential {row.id} is used up"
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
    )


def _check_external_expiry(external: CredentialRow, now: datetime) -> None:
    if external.expires_at is not None and external.expires_at <= now:
        raise CredentialRefused(
            f"the external account {external.name!r} that this account is bound to is no longer good: it "
            f"expired at {external.expires_at:%Y-%m-%d %H:%M}Z; ask for a new one and open a new account",
            code=ReasonCode.AUTH_ACCOUNT,
            detail=f"credential {external.id} has expired",
        )


def _check_scope(row: CredentialRow, request: EnrolmentRequest) -> None:
    """The secret was right, so the answer may say what is wrong with the credential."""
    if row.revoked_at is not None:
        raise CredentialRefused(NO_SUCH_PAIR, detail=f"credential {row.id} is revoked")
    protocol_fits = row.protocol is None or row.protocol == request.protocol
    if not protocol_fits or (row.endpoints is not None and request.endpoint not in row.endpoints):
        raise CredentialRefused(
            f"this credential is not for {request.protocol} at the endpoint {request.endpoint!r}",
            code=ReasonCode.AUTH_CREDENTIAL_SCOPE,
        )


def _verify_certificate(
    claimed: ClaimedCertificate, record: CertificateRecord | None, trust: TrustStore, now: datetime
) -> VerifiedCredential:
    leaf, rule = claimed.leaf, claimed.rule
    try:
        verify_client_chain(
            claimed.presented.chain_der,
            trust.anchors,
            now,
            ignore_expiry_s=rule.allow_expired_s,
            extended_key_usages=rule.extended_key_usage,
        )
    except UntrustedCertificate as exc:
        raise CredentialRefused(str(exc), code=exc.code, detail=exc.detail) from exc
    if leaf.is_ca:
        raise CredentialRefused(
            "a CA certificate is no client certificate", code=ReasonCode.AUTH_CERTIFICATE_USAGE
        )
    ours = leaf.issuer_der in trust.own_issuers
    if trust.checks_revocation:
        _check_status(claimed, record, ours=ours)
    # A name alone proves nothing: ours is what stands in our record.
    recorded = ours and record is not None
    detail = (("certificate_sha256", leaf.sha256), ("ours", "yes" if recorded else "no"))
    return VerifiedCredential(
        kind=claimed.presented.kind,
        identity=claimed.identity,
        label=str(leaf.subject),
        certificate_der=leaf.certificate_der,
        detail=detail,
    )


def _check_status(claimed: ClaimedCertificate, record: CertificateRecord | None, *, ours: bool) -> None:
    if record is None:
        if ours:
            # Signed by our CA but never recorded: it is not ours to vouch for (fail closed).
            raise CredentialRefused(
                "the client certificate is not in this gateway's record; enrol again",
                code=ReasonCode.AUTH_CERTIFICATE_STATUS_UNKNOWN,
                detail=f"sha256 {claimed.leaf.sha256}",
            )
        return
    if record.status is not CertificateStatus.GOOD:
        when = f" since {record.revoked_at:%Y-%m-%d %H:%M}Z" if record.revoked_at else ""
        raise CredentialRefused(
            f"the client certificate is {record.status}{when} ({record.revocation_reason or 'unspecified'})",
            code=ReasonCode.AUTH_CERTIFICATE_REVOKED,
        )
