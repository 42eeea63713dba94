"""Who asks: what was presented, verified by the word of the selected policy, and the facts for a decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from gateway.authn.authenticate import Authenticator, check_new_request
from gateway.authn.claims import Claims, without_guesses
from gateway.authn.trust import TrustStore, TrustStores
from gateway.clock import Clock
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.gather import AccountKeyQuery, Gathered, gather
from gateway.enrolment.key_history import known_to_others
from gateway.errors import BackendUnavailable, MalformedMessage
from gateway.model.decision import Route
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import BASIC, Evidence, PresentedPassword
from gateway.model.ids import ProtocolName
from gateway.model.keys import ClientKey
from gateway.pki.certificate import parse_certificate
from gateway.policy.facts import CertifiedNames, Facts, PreviousCertificate
from gateway.policy.lists import ListLookup
from gateway.policy.renewal_check import RENEWING
from gateway.policy.rules import AdmissionPolicy, Bundle, CompiledPolicy
from gateway.store import credentials
from gateway.store.store import Store

# ``frontend.Mounted.account_keys``: a query whether this public key is an account's; None: it can be none.
AccountKeys = Callable[[bytes], AccountKeyQuery | None]


@dataclass(frozen=True, slots=True)
class Verified:
    """Claims that stood up, and all that one read found for them."""

    claims: Claims
    found: Gathered
    evidence: Evidence


class Verification:
    """Between policy, which says whose credentials count, and the database, which knows them."""

    def __init__(
        self,
        store: Store,
        backends: BackendSet,
        authenticator: Authenticator,
        clock: Clock,
        account_keys: Mapping[ProtocolName, AccountKeys] | None = None,
    ) -> None:
        """``account_keys`` tell by protocol whether a key is an account's; may be filled later."""
        self._store = store
        self._backends = backends
        self._authenticator = authenticator
        self._clock = clock
        self._account_keys = {} if account_keys is None else account_keys
        self._trust = TrustStores(backends.certificates, backends.own_names)

    async def verify(
        self,
        bundle: Bundle,
        policy: AdmissionPolicy,
        request: EnrolmentRequest,
        known: Evidence | None = None,
    ) -> Verified:
        """Verify what was presented, in one read. Raises CredentialRefused, BackendUnavailable (a trust store
        may hold the CA's own certificates), Overloaded and StoreUnavailable.

        ``known``: what another policy has verified; whoever could be guessing is not verified once more then.
        """
        now = self._clock.now()
        claims = self._authenticator.read_claims(policy.authenticate, request)
        look_up = partial(
            gather,
            request=request,
            claims=claims,
            now=now,
            with_key_history=policy.needs_key_history,
            account_keys=self._account_key_queries(request) if policy.needs_account_keys else (),
        )
        found = await self._store.reader.read(look_up)
        trust = await self._trust_store(bundle, claims)
        tried, guessed = (claims, ()) if known is None else without_guesses(claims, known)
        evidence = await self._authenticator.verify(tried, found.looked, request, trust, now)
        if guessed:
            evidence = Evidence((*evidence.credentials, *guessed))
        return Verified(claims, found, evidence)

    def check_new_request(self, verified: Verified) -> None:
        """Whether these credentials may begin something new. Raises CredentialRefused."""
        check_new_request(verified.claims, verified.found.looked, self._clock.now())

    async def facts(
        self,
        policy: CompiledPolicy,
        request: EnrolmentRequest,
        found: Gathered,
        evidence: Evidence,
        lists: ListLookup,
    ) -> Facts:
        """What rules ask beside the request itself. Raises BackendUnavailable."""
        routes = policy.routes
        end = await self._end(routes[0]) if len(routes) == 1 else None
        previous = _previous(request, found)
        return Facts(
            now=self._clock.now(),
            issuer_not_after=end,
            issuer_ends=await self._ends(routes) if len(routes) > 1 else {},
            previous=previous,
            key_known_to_others=known_to_others(found.same_key, evidence, previous, found.renewed),
            key_stands_in=_certified_names(found) if policy.keys.one_subject else (),
            key_of_ca=policy.keys.refuse_ca_key and self._is_ca_key(request),
            key_of_account=found.key_of_account,
            lists=lists,
        )

    def check_issuer(self, route: Route, facts: Facts | None) -> None:
        """Raises BackendUnavailable where the end of the only CA that could issue is not known."""
        ends = {} if facts is None else facts.issuer_ends
        if ends and not route.fallbacks and (route.backend, route.profile) not in ends:
            raise BackendUnavailable("the CA behind this endpoint is not available", detail=route.backend)

    async def _end(self, route: Route) -> datetime:
        return (await self._backends.issuer(route.backend, route.profile)).not_after

    async def _ends(self, routes: Iterable[Route]) -> dict[tuple[str, str | None], datetime]:
        """Of those that can be asked; raises BackendUnavailable if there is none."""
        ends: dict[tuple[str, str | None], datetime] = {}
        lost: BackendUnavailable | None = None
        for route in routes:
            try:
                ends[route.backend, route.profile] = await self._end(route)
            except BackendUnavailable as error:
                lost = error
        if lost is not None and not ends:
            raise lost
        return ends

    def _account_key_queries(self, request: EnrolmentRequest) -> tuple[AccountKeyQuery, ...]:
        if not isinstance(request.key, ClientKey):
            return ()
        spki_der = request.key.public_key.spki_der
        asked = [account_keys(spki_der) for account_keys in self._account_keys.values()]
        return tuple(query for query in asked if query is not None)

    def _is_ca_key(self, request: EnrolmentRequest) -> bool:
        key = request.key
        return isinstance(key, ClientKey) and key.public_key.spki_sha256 in self._backends.ca_keys()

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


def _certified_names(found: Gathered) -> tuple[CertifiedNames, ...]:
    return tuple(CertifiedNames(known.subject, frozenset(known.sans)) for known in found.same_key)


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
