"""What a worker gives to its front ends: ``frontend.Services``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gateway.clock import Clock
from gateway.datadir import derive
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.enrolment.service import EnrolmentService
from gateway.errors import BackendUnavailable
from gateway.frontend import (
    BaseUrls,
    Certificates,
    EndpointView,
    ExternalAccounts,
    JobQueue,
    OnceOnly,
)
from gateway.model.ids import EndpointName, ProtocolName
from gateway.outbound.network import Network
from gateway.store.store import Store
from gateway.store.unit import Unit

T = TypeVar("T")


class StoreRecords:
    """``frontend.Records`` over the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, query: Callable[[Any], T]) -> T:
        return await self._store.reader.read(query)

    async def commit(self, unit: Unit) -> None:
        await self._store.recorder.commit(unit)


class GatewayServices:
    """``frontend.Services`` of one worker."""

    def __init__(
        self,
        *,
        enrolments: EnrolmentService,
        bundle: ActiveBundle,
        backends: BackendSet,
        store: Store,
        certificates: Certificates,
        external_accounts: ExternalAccounts,
        jobs: JobQueue,
        once_only: OnceOnly,
        base_urls: BaseUrls,
        network: Network,
        clock: Clock,
        server_key: bytes,
        worker: str,
    ) -> None:
        self.enrolments = enrolments
        self.ca_information = self
        self.certificates = certificates
        self.external_accounts = external_accounts
        self.records = StoreRecords(store)
        self.jobs = jobs
        self.once_only = once_only
        self.base_urls = base_urls
        self.network = network
        self.clock = clock
        self.worker = worker
        self._bundle = bundle
        self._backends = backends
        self._server_key = server_key

    def shared_key(self, purpose: str) -> bytes:
        return derive(self._server_key, f"front end: {purpose}")

    def endpoint(self, protocol: ProtocolName, name: str) -> EndpointView | None:
        compiled = self._bundle.current.endpoints.get((protocol, name))
        return None if compiled is None else EndpointView(EndpointName(compiled.name), compiled.options)

    async def ca_certificates(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[bytes, ...]:
        """Issuing CA first, root last. Raises BackendUnavailable."""
        compiled = self._bundle.current.endpoints.get((protocol, endpoint))
        if compiled is None:
            raise BackendUnavailable("this endpoint is gone")
        return await self._backends.certificates(compiled.backend)

    def alternate_chains(self, chain_der: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], ...]:
        """To other roots; whichever backend issued."""
        return self._backends.alternate_chains(chain_der)
