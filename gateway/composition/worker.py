"""One worker: opens everything after the fork, serves until it is told to drain, closes in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from gateway.authn.authenticate import Authenticator
from gateway.clock import SystemClock
from gateway.composition.addresses import Addresses
from gateway.composition.parts import BackendOpener, read_bundle, signing_backend
from gateway.composition.publishing import Publisher
from gateway.composition.tls_identity import TlsIdentity
from gateway.composition.web import web_application
from gateway.config import Config
from gateway.datadir import DataDirectory
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.enrolment.crl import CrlPublisher
from gateway.enrolment.service import EnrolmentService
from gateway.enrolment.work import EnrolmentJobs
from gateway.errors import BackendUnavailable, ConfigurationError, GatewayError, SecretUnavailable
from gateway.frontend import EndpointView
from gateway.http.edge import Edge
from gateway.http.listener import ListenerSpec
from gateway.http.listeners import serve
from gateway.http.log import configure_logging
from gateway.http.message import PathRoute
from gateway.http.metrics import Metrics
from gateway.jobs.runner import JobRunner
from gateway.model.ids import EndpointName, ProtocolName
from gateway.plugins import Plugins
from gateway.store import audit, leases
from gateway.store.store import Store

LOG = logging.getLogger(__name__)
HOUSEKEEPING_S = 3600
GAUGES_S = 1.0
TLS_LEASE = "tls-identity"
LEASE = timedelta(minutes=1)


class GatewayServices:
    """``frontend.Services`` of this worker."""

    def __init__(self, enrolments: EnrolmentService, bundle: ActiveBundle, backends: BackendSet) -> None:
        self.enrolments = enrolments
        self.clock = SystemClock()
        self.ca_information = self
        self._bundle = bundle
        self._backends = backends

    def endpoint(self, protocol: ProtocolName, name: str) -> EndpointView | None:
        compiled = self._bundle.current.endpoints.get((protocol, name))
        return None if compiled is None else EndpointView(EndpointName(compiled.name), compiled.options)

    async def ca_certificates(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[bytes, ...]:
        """Issuing CA first, root last. Raises BackendUnavailable."""
        compiled = self._bundle.current.endpoints.get((protocol, endpoint))
        if compiled is None:
            raise BackendUnavailable("this endpoint is gone")
        return await self._backends.certificates(compiled.backend)


class Worker:
    """Everything that one worker process holds."""

    def __init__(
        self, slot: int, config: Config, data: DataDirectory, addresses: Addresses, plugins: Plugins
    ) -> None:
        self._config = config
        self._data = data
        self._plugins = plugins
        self._clock = SystemClock()
        self._writer, request_log = configure_logging(level=config.logging.level, style=config.logging.format)
        self._metrics = Metrics(data.metrics, slot)
        self._request_log = request_log
        self._bundle = ActiveBundle(read_bundle(config, plugins))
        self._opener = BackendOpener(config, data, addresses, plugins)
        self._backends = self._opener.open(self._bundle.current)
        self._store = Store(config.database_url, max_queue=config.limits.queue, clock=self._clock)
        self._tls = TlsIdentity(config, data)
        self._stop = asyncio.Event()

    async def run(
        self, listening: Sequence[tuple[ListenerSpec, socket.socket]], ready: Callable[[], None]
    ) -> None:
        """Serve until SIGTERM or SIGINT, then drain."""
        self._writer.start(asyncio.get_running_loop())
        self._store.open()
        # What is there now lives as long as the process. Requests leave few cycles behind: collecting after
        # every 700 new objects, the default, costs CPU for nothing; after 50,000, closed TLS connections (some
        # 50 KiB of OpenSSL's memory in a cycle each) pile up to 40 MiB.
        gc.freeze()
        gc.set_threshold(5_000, 10, 10)
        try:
            await self._serve(listening, ready)
        finally:
            await self._backends.aclose()
            await asyncio.to_thread(self._store.close)
            self._writer.stop()

    async def _serve(
        self, listening: Sequence[tuple[ListenerSpec, socket.socket]], ready: Callable[[], None]
    ) -> None:
        enrolments = EnrolmentService(
            store=self._store,
            bundle=self._bundle,
            backends=self._backends,
            authenticator=Authenticator(self._data.server_key(), time.monotonic),
            clock=self._clock,
            monotonic=time.monotonic,
            observe=self._metrics.outcome,
        )
        edge = Edge(
            routes=self._routes(enrolments),
            app=web_application(self._components),
            listeners=[spec for spec, _ in listening],
            trusted_proxies=self._config.trusted_proxies,
            metrics=self._metrics,
            request_log=self._request_log,
        )
        work = EnrolmentJobs(self._store, enrolments.settlement, self._backends, self._clock)
        runner = JobRunner(self._store, work.handlers(), self._clock)
        background = [
            asyncio.create_task(runner.run(self._stop), name="jobs"),
            asyncio.create_task(self._gauges(), name="gauges"),
            asyncio.create_task(self._housekeeping(), name="housekeeping"),
        ]
        try:
            await serve(
                listening,
                edge,
                ready=ready,
                drain_s=self._config.drain_timeout,
                on_reload=self._reload,
                on_drain=self._stop.set,
            )
        finally:
            self._stop.set()
            for task in background[1:]:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)

    def _routes(self, enrolments: EnrolmentService) -> tuple[PathRoute, ...]:
        services = GatewayServices(enrolments, self._bundle, self._backends)
        routes: list[PathRoute] = [self._metrics.route()]
        for frontend in self._plugins.frontends.values():
            routes.extend(frontend.mount(services).routes)
        crls = CrlPublisher(self._store, self._backends, self._clock, time.monotonic)
        routes.extend(Publisher(crls, self._clock).routes())
        return tuple(routes)

    def _reload(self) -> None:
        """Take the policy files anew at SIGHUP; a bad bundle leaves the old one deciding, and says so."""
        try:
            bundle = read_bundle(self._config, self._plugins)
            self._opener.initialise(bundle)
            for name, compiled in bundle.backends.items():
                if self._bundle.current.backends.get(name) != compiled:
                    self._backends.replace(name, self._opener.open_one(compiled))
        except (ConfigurationError, SecretUnavailable) as error:
            self._bundle.problem = str(error)
            LOG.error("policy.reload-failed %s", error)
        else:
            self._bundle.activate(bundle)
            LOG.info("policy.reloaded %s", bundle.sha256)

    async def _components(self) -> dict[str, str]:
        found = {"recorder": "ok", "policy": "ok"}
        try:
            await self._store.reader.read(audit.read_head)
            found["database"] = "ok"
        except GatewayError as error:
            found["database"] = f"down: {error}"
        if self._bundle.problem:
            found["policy"] = f"degraded: {self._bundle.problem.splitlines()[0]}"
        if self._store.recorder.depth > self._config.limits.queue // 2:
            found["recorder"] = "degraded: its queue is more than half full"
        return found

    async def _gauges(self) -> None:
        units = transactions = 0
        while True:
            await asyncio.sleep(GAUGES_S)
            counts = self._store.recorder.counts
            done, batches = counts.units - units, counts.transactions - transactions
            units, transactions = counts.units, counts.transactions
            self._metrics.recorder(self._store.recorder.depth, round(done / batches) if batches else 0)

    async def _housekeeping(self) -> None:
        """Renew the gateway's own TLS certificate; one replica does it, all workers take it by SIGHUP."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            auto = any(listener.tls == "auto" for listener in self._config.listeners)
            if not auto or not self._tls.due(self._clock):
                continue
            with suppress(GatewayError):
                owner = f"{os.uname().nodename}:{os.getppid()}"
                if await leases.acquire(
                    self._store.recorder,
                    f"{TLS_LEASE}:{self._data.path}",
                    owner,
                    self._clock.now(),
                    self._clock.now() + LEASE,
                ):
                    backend = signing_backend(self._backends)
                    await self._tls.issue(backend, self._backends, self._store, self._clock)
                    os.kill(os.getppid(), signal.SIGHUP)
