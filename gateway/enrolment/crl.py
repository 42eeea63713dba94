"""CRLs of the CAs in this process (RFC 5280 section 5): current at the next GET after a revocation."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ca_backend.api import CaBackend, CanSignCrl, CertificateAuthority, CrlRequest
from gateway.clock import Clock, to_epoch_s
from gateway.enrolment.backends import BackendSet
from gateway.errors import Conflict, NotFound, StoreUnavailable
from gateway.model.certificate import RevokedEntry
from gateway.store import certificates, crl_state
from gateway.store.crl_state import CrlState
from gateway.store.store import Store
from gateway.store.unit import Unit

LIFETIME = timedelta(days=7)
RENEW_BEFORE = timedelta(days=2)
LEAST_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Crl:
    """A CertificateList in force; ``number`` is its CRLNumber."""

    crl_der: bytes
    number: int
    this_update: datetime
    next_update: datetime


class CrlPublisher:
    """Builds a CRL when somebody asks for one that is stale, at most once a second per CA."""

    def __init__(
        self, store: Store, backends: BackendSet, clock: Clock, monotonic: Callable[[], float]
    ) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._backends = backends
        self._seen: tuple[CaBackend, ...] = ()
        self._authorities: dict[str, tuple[CanSignCrl, CertificateAuthority]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._built_at: dict[str, float] = {}
        self._last: dict[str, Crl] = {}

    def authority(self, ca_name: str) -> CertificateAuthority:
        """Raises NotFound."""
        return self._of(ca_name)[1]

    def names(self) -> tuple[str, ...]:
        return tuple(self._current())

    async def crl(self, ca_name: str) -> Crl:
        """The CRL in force. While the database is out of reach, the last one this worker saw.

        Raises NotFound, StoreUnavailable.
        """
        backend, authority = self._of(ca_name)
        try:
            state = await self._state(authority)
            if self._fresh(state):
                return self._remember(ca_name, state)
            async with self._locks.setdefault(ca_name, asyncio.Lock()):
                return await self._build(ca_name, backend, authority)
        except StoreUnavailable:
            last = self._last.get(ca_name)
            if last is None or last.next_update <= self._clock.now():
                raise
            return last

    async def _build(self, ca_name: str, backend: CanSignCrl, authority: CertificateAuthority) -> Crl:
        wait_s = self._built_at.get(ca_name, -LEAST_INTERVAL_S) + LEAST_INTERVAL_S - self._monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        for _ in range(5):
            state = await self._state(authority)
            if self._fresh(state):
                break
            now = self._clock.now()
            # RFC 5280 3.3: an entry stays on one CRL beyond the certificate's expiry.
            since = state.this_update or now
            entries = await self._entries(authority, to_epoch_s(since))
            next_update = now + LIFETIME
            crl_der = await backend.sign_crl(
                CrlRequest(state.number + 1, now, next_update, entries, ca_name=authority.name)
            )
            unit = Unit()
            crl_state.store_crl(unit, state, crl_der=crl_der, this_update=now, next_update=next_update)
            try:
                await self._store.recorder.commit(unit)
            except Conflict:
                continue  # another worker was first; its CRL may do
            self._built_at[ca_name] = self._monotonic()
            crl = Crl(crl_der, state.number + 1, now, next_update)
            self._last[ca_name] = crl
            return crl
        return self._remember(ca_name, await self._state(authority))

    def _remember(self, ca_name: str, state: CrlState) -> Crl:
        assert state.crl_der is not None
        assert state.this_update is not None
        assert state.next_update is not None
        last = self._last.get(ca_name)
        if last is None or last.number != state.number:
            last = Crl(state.crl_der, state.number, state.this_update, state.next_update)
            self._last[ca_name] = last
        return last

    async def _state(self, authority: CertificateAuthority) -> CrlState:
        key = authority.issuer_key_sha256
        return await self._store.reader.read(lambda connection: crl_state.get(connection, key))

    async def _entries(self, authority: CertificateAuthority, since_s: int) -> tuple[RevokedEntry, ...]:
        key = authority.issuer_key_sha256
        return await self._store.reader.read(
            lambda connection: certificates.revoked_entries(connection, key, since_s)
        )

    def _fresh(self, state: CrlState) -> bool:
        if state.stale or state.next_update is None:
            return False
        return self._clock.now() < state.next_update - RENEW_BEFORE

    def _of(self, ca_name: str) -> tuple[CanSignCrl, CertificateAuthority]:
        try:
            return self._current()[ca_name]
        except KeyError:
            raise NotFound(f"there is no CA {ca_name!r} here") from None

    def _current(self) -> dict[str, tuple[CanSignCrl, CertificateAuthority]]:
        """The CAs by their published name; asked for again once a backend was added or replaced."""
        backends = tuple(self._backends.get(name) for name in self._backends.names())
        if len(backends) != len(self._seen) or any(map(operator.is_not, backends, self._seen)):
            self._seen = backends
            self._authorities = {
                authority.name: (backend, authority)
                for backend in backends
                if isinstance(backend, CanSignCrl)
                for authority in backend.authorities()
            }
        return self._authorities
