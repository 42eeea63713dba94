"""Demo credentials: made while they are wanted, revoked when not, the same at every start."""

from __future__ import annotations

from gateway.authn.sealing import seal, unseal
from gateway.authn.secrets import machine_verifier
from gateway.clock import Clock
from gateway.errors import Conflict, SecretUnavailable
from gateway.model.evidence import ACME_EAB, BASIC
from gateway.model.ids import new_id
from gateway.quickstart import EAB_DEMO_KEY_IDENTIFIER, EST_DEMO_USER, demo_hmac_key, demo_secret
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.store import Store
from gateway.store.unit import AuditEvent, Unit

DEMO_SOURCE = "demo"


class DemoCredentials:
    """What quickstart.json names, in the database."""

    def __init__(self, store: Store, server_key: bytes, clock: Clock) -> None:
        self._store = store
        self._server_key = server_key
        self._clock = clock

    def settle_est(self, *, wanted: bool) -> None:
        """User name and secret of EST. Raises StoreUnavailable."""
        verifier = machine_verifier(self._server_key, demo_secret(self._server_key, "est"))
        known = self._known(BASIC, EST_DEMO_USER)
        row = CredentialRow(
            id=new_id(),
            kind=BASIC,
            name=EST_DEMO_USER,
            created_at=self._clock.now(),
            protocol="est",
            verifier=verifier,
            source=DEMO_SOURCE,
        )
        self._settle(known, row, fits=known is not None and known.verifier == verifier, wanted=wanted)

    def settle_acme(self, *, wanted: bool) -> None:
        """The external account of ACME (RFC 8555 section 7.3.4). Raises StoreUnavailable."""
        key, credential_id = demo_hmac_key(self._server_key, "acme-eab"), new_id()
        known = self._known(ACME_EAB, EAB_DEMO_KEY_IDENTIFIER)
        row = CredentialRow(
            id=credential_id,
            kind=ACME_EAB,
            name=EAB_DEMO_KEY_IDENTIFIER,
            created_at=self._clock.now(),
            protocol="acme",
            sealed=seal(self._server_key, credential_id, key),
            source=DEMO_SOURCE,
        )
        self._settle(known, row, fits=self._opens_to(known, key), wanted=wanted)

    def _known(self, kind: str, name: str) -> CredentialRow | None:
        return self._store.reader.read_blocking(
            lambda connection: credentials.by_name(connection, kind, name)
        )

    def _opens_to(self, known: CredentialRow | None, key: bytes) -> bool:
        if known is None or known.sealed is None:
            return False
        try:
            return unseal(self._server_key, known.id, known.sealed).reveal() == key
        except SecretUnavailable:
            return False

    def _settle(self, known: CredentialRow | None, row: CredentialRow, *, fits: bool, wanted: bool) -> None:
        """What a person made under the same name is left alone."""
        unit = Unit()
        if known is not None and known.source == DEMO_SOURCE and not (wanted and fits):
            credentials.revoke(unit, known.id, self._clock.now())
            unit.audit(AuditEvent("system", "credential.revoke", known.id, details={"name": known.name}))
            known = None
        if wanted and known is None:
            credentials.insert(unit, row)
            unit.audit(AuditEvent("system", "credential.add", row.id, details={"name": row.name}))
        try:
            self._store.recorder.commit_blocking(unit)
        except Conflict:
            return  # another gateway on the same database did the same at this moment
