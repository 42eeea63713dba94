"""Demo credentials: made while they are wanted, revoked when not, the same at every start."""

from __future__ import annotations

from contextlib import suppress

from gateway.authn.sealing import seal, unseal
from gateway.authn.secrets import machine_verifier
from gateway.clock import Clock
from gateway.errors import Conflict, SecretUnavailable
from gateway.model.evidence import ACME_EAB, BASIC, CMP_SECRET, SCEP_CHALLENGE, CredentialKind
from gateway.model.ids import new_id
from gateway.quickstart import (
    CMP_DEMO_REFERENCE,
    EAB_DEMO_KEY_IDENTIFIER,
    EST_DEMO_USER,
    SCEP_DEMO_NAME,
    demo_hmac_key,
    demo_secret,
)
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
        self._settle_verified(BASIC, EST_DEMO_USER, "est", wanted=wanted)

    def settle_acme(self, *, wanted: bool) -> None:
        """The external account of ACME (RFC 8555 section 7.3.4). Raises StoreUnavailable."""
        key = demo_hmac_key(self._server_key, "acme-eab")
        self._settle_sealed(ACME_EAB, EAB_DEMO_KEY_IDENTIFIER, "acme", key, wanted=wanted)

    def settle_scep(self, *, wanted: bool) -> None:
        """A static challengePassword of SCEP (RFC 8894 section 7.3). Raises StoreUnavailable."""
        self._settle_verified(SCEP_CHALLENGE, SCEP_DEMO_NAME, "scep", wanted=wanted)

    def settle_cmp(self, *, wanted: bool) -> None:
        """Reference and secret of CMP (RFC 9810 section 5.1.3.1). Raises StoreUnavailable."""
        secret = demo_secret(self._server_key, "cmp").encode()
        self._settle_sealed(CMP_SECRET, CMP_DEMO_REFERENCE, "cmp", secret, wanted=wanted)

    def _settle_verified(self, kind: CredentialKind, name: str, protocol: str, *, wanted: bool) -> None:
        """One whose secret only comes back from clients."""
        verifier = machine_verifier(self._server_key, demo_secret(self._server_key, protocol))
        known = self._known(kind, name)
        row = CredentialRow(
            id=new_id(),
            kind=kind,
            name=name,
            created_at=self._clock.now(),
            protocol=protocol,
            verifier=verifier,
            source=DEMO_SOURCE,
        )
        self._settle(known, row, fits=known is not None and known.verifier == verifier, wanted=wanted)

    def _settle_sealed(
        self, kind: CredentialKind, name: str, protocol: str, secret: bytes, *, wanted: bool
    ) -> None:
        """One whose secret is needed to verify."""
        credential_id = new_id()
        known = self._known(kind, name)
        row = CredentialRow(
            id=credential_id,
            kind=kind,
            name=name,
            created_at=self._clock.now(),
            protocol=protocol,
            sealed=seal(self._server_key, credential_id, secret),
            source=DEMO_SOURCE,
        )
        self._settle(known, row, fits=self._opens_to(known, secret), wanted=wanted)

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
        """What a person made under the same name is left alone.

        One unit after the other: within one, rows are inserted before others are moved, and the new
        credential would meet the old one's name.
        """
        if known is not None and known.source == DEMO_SOURCE and not (wanted and fits):
            unit = Unit()
            credentials.revoke(unit, known.id, self._clock.now())
            unit.audit(AuditEvent("system", "credential.revoke", known.id, details={"name": known.name}))
            self._commit(unit)
            known = None
        if wanted and known is None:
            unit = Unit()
            credentials.insert(unit, row)
            unit.audit(AuditEvent("system", "credential.add", row.id, details={"name": row.name}))
            self._commit(unit)

    def _commit(self, unit: Unit) -> None:
        # A Conflict means that another gateway on the same database did the same at this moment.
        with suppress(Conflict):
            self._store.recorder.commit_blocking(unit)
