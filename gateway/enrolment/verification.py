"""Who asks: what was presented, verified by the word of the selected policy, and the facts for a decision."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from gateway.authn.authenticate import Authenticator, check_new_request
from gateway.authn.claims import Claims
from gateway.authn.trust import TrustStore, TrustStores
from gateway.clock import Clock
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.gather import Gathered, gather
from gateway.enrolment.key_history import known_to_others
from gateway.errors import MalformedMessage
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import BASIC, Evidence, PresentedPassword
from gateway.pki.certificate import parse_certificate
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.renewal_check import RENEWING
from gateway.policy.rules import AdmissionPolicy, Bundle, CompiledPolicy
from gateway.store import credentials
from gateway.store.store import Store


@dataclass(frozen=True, slots=True)
class Verified:
    """Claims that stood up, and all that one read found for them."""

    claims: Claims
    found: Gathered
    evidence: Evidence


class Verification:
    """Between policy, which says whose credentials count, and the database, which knows them."""

    def __init__(
        self, store: Store, backends: BackendSet, authenticator: Authenticator, clock: Clock
    ) -> None:
        self._store = store
        self._backends = backends
        self._authenticator = authenticator
        self._clock = clock
        self._trust = TrustStores(backends.certificates, backends.own_names)

    async def verify(self, bundle: Bundle, policy: AdmissionPolicy, request: EnrolmentRequest) -> Verified:
        """Verify what was presented, in one read. Raises CredentialRefused, BackendUnavailable (a trust store
        may hold the CA's own certificates), Overloaded and StoreUnavailable."""
        now = self._clock.now()
        claims = self._authenticator.read_claims(policy.authenticate, request)
        look_up = partial(
            gather, request=request, claims=claims, now=now, with_key_history=policy.needs_key_history
        )
        found = await self._store.reader.read(look_up)
        trust = await self._trust_store(bundle, claims)
        evidence = await self._authenticator.verify(claims, found.looked, request, trust, now)
        return Verified(claims, found, evidence)

    def check_new_request(self, verified: Verified) -> None:
        """Whether these credentials may begin something new. Raises CredentialRefused."""
        check_new_request(verified.claims, verified.found.looked, self._clock.now())

    async def facts(
        self, policy: CompiledPolicy, request: EnrolmentRequest, found: Gathered, evidence: Evidence
    ) -> Facts:
        """What rules ask beside the request itself. Raises BackendUnavailable."""
        issuer = await self._backends.issuer(policy.route.backend, policy.route.profile)
        previous = _previous(request, found)
        return Facts(
            now=self._clock.now(),
            issuer_not_after=issuer.not_after,
            previous=previous,
            key_known_to_others=known_to_others(found.same_key, evidence, previous, found.renewed),
        )

    async def revoked_credential(self, request: EnrolmentRequest) -> str:
        """For the operator: that the user name was once good. Read whatever was wrong, so that the time it
        takes tells a guesser nothing."""
        for presented in request.presented:
            if isinstance(presented, PresentedPassword):
                look_up = partial(credentials.revoked_by_name, kind=BASIC, name=presented.user)
                row = await self._store.reader.read(look_up)
                if row is not None:
                    return (
                        f"; credential {row.id} of that name was revoked at {row.revoked_at:%Y-%m-%d %H:%MZ}"
                    )
        return ""

    async def _trust_store(self, bundle: Bundle, claims: Claims) -> TrustStore | None:
        if claims.certificate is None:
            return None
        return await self._trust.get(bundle.trust_stores[claims.certificate.rule.trust])


def _previous(request: EnrolmentRequest, found: Gathered) -> PreviousCertificate | None:
    # An ACME order that says what it replaces is no renewal: that certificate counts for nothing here.
    if request.renews_der is None or request.operation not in RENEWING:
        return None
    try:
        old = parse_certificate(request.renews_der)
    except MalformedMessage:
        return None
    return PreviousCertificate(
        subject=old.subject,
        sans=old.sans,
        spki_sha256=old.spki_sha256,
        not_before=old.not_before,
        not_after=old.not_after,
        issued_here=found.renewed is not None,
    )
