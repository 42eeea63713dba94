"""What a worker gives to its front ends: ``frontend.Services``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gateway.clock import Clock
from gateway.datadir import derive
from gateway.enrolment.bundle import ActiveBundle
from gateway.enrolment.service import EnrolmentService
from gateway.frontend import (
    BaseUrls,
    CaInformation,
    Certificates,
    Compatibility,
    EndpointView,
    ExternalAccounts,
    JobQueue,
    OnceOnly,
    SharedSecrets,
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
        store: Store,
        certificates: Certificates,
        ca_information: CaInformation,
        external_accounts: ExternalAccounts,
        shared_secrets: SharedSecrets,
        jobs: JobQueue,
        once_only: OnceOnly,
        base_urls: BaseUrls,
        network: Network,
        clock: Clock,
        server_key: bytes,
        worker: str,
    ) -> None:
        self.enrolments = enrolments
        self.ca_information = ca_information
        self.certificates = certificates
        self.external_accounts = external_accounts
        self.shared_secrets = shared_secrets
        self.records = StoreRecords(store)
        self.jobs = jobs
        self.once_only = once_only
        self.base_urls = base_urls
        self.network = network
        self.clock = clock
        self.worker = worker
        self._bundle = bundle
        self._server_key = server_key

    def shared_key(self, purpose: str) -> bytes:
        return derive(self._server_key, f"front end: {purpose}")

    def endpoint(self, protocol: ProtocolName, name: str) -> EndpointView | None:
        compiled = self._bundle.current.endpoints.get((protocol, name))
        return None if compiled is None else EndpointView(EndpointName(compiled.name), compiled.options)

    def compatibility(self, protocol: ProtocolName) -> tuple[Compatibility, ...]:
        compiled = self._bundle.current.compatibility.get(protocol, ())
        return tuple([Compatibility(one.name, one.settings) for one in compiled])
