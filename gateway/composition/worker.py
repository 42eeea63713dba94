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
from datetime import timedelta

from gateway.admin.application import AdminServices
from gateway.authn.api_tokens import ApiTokens
from gateway.authn.authenticate import Authenticator
from gateway.authn.external import ExternalAccounts
from gateway.authn.shared_secrets import SharedSecrets
from gateway.clock import SystemClock
from gateway.composition.addresses import Addresses, network_settings, tls_only_services
from gateway.composition.background import Background
from gateway.composition.base_urls import KnownBaseUrls
from gateway.composition.ca_information import EndpointCas
from gateway.composition.front_ends import MountedFrontEnds
from gateway.composition.list_follower import FOLLOW_S as LISTS_S
from gateway.composition.list_follower import ListFollower
from gateway.composition.message_identities import FOLLOW_S, MessageIdentities
from gateway.composition.parts import BackendOpener, signing_backend
from gateway.composition.policies import Policies, PolicyFiles
from gateway.composition.publishing import Publisher
from gateway.composition.readiness import Readiness
from gateway.composition.reload import PolicyReload, both_checks
from gateway.composition.services import GatewayServices
from gateway.composition.tls_identity import TlsIdentity
from gateway.composition.web import web_application
from gateway.config import Config
from gateway.credentials.service import CredentialService
from gateway.datadir import DataDirectory, resolve_secret
from gateway.enrolment.crl import CrlPublisher
from gateway.enrolment.issued import IssuedCertificates
from gateway.enrolment.service import EnrolmentService
from gateway.enrolment.work import LINGERING, EnrolmentJobs
from gateway.frontend import AccountKeys, Recheck
from gateway.http.edge import Edge
from gateway.http.heartbeat import BEAT_S
from gateway.http.listener import ListenerSpec
from gateway.http.listeners import serve
from gateway.http.log import configure_logging
from gateway.http.message import PathRoute
from gateway.http.metrics import Metrics
from gateway.jobs.holder import Holder
from gateway.jobs.queue import FrontEndJobs
from gateway.jobs.runner import JobRunner
from gateway.model.ids import ProtocolName
from gateway.outbound.network import Network
from gateway.plugins import Plugins
from gateway.store import leases
from gateway.store.api_answers import AnswerRetention
from gateway.store.once import Once, open_once
from gateway.store.retention import ChallengeRetention, JobRetention, LimitRetention
from gateway.store.store import Store

LOG = logging.getLogger(__name__)
RENEWAL_S = 3600
FOLLOW_TLS_S = 5.0
GAUGES_S = 1.0
TLS_LEASE = "tls-identity"
IDENTITIES_LEASE = "message-identities"
HOUSE_LEASE = "front-ends' housekeeping"
HOUSEKEEPING_S = 600
LEASE = timedelta(minutes=1)


class Worker:
    """Everything that one worker process holds."""

    def __init__(
        self,
        holder: Holder,
        config: Config,
        data: DataDirectory,
        addresses: Addresses,
        plugins: Plugins,
        policies: Policies,
    ) -> None:
        """``policies`` are those that the supervisor read; others that were activated since are preferred."""
        self._holder = holder
        self._config = config
        self._data = data
        self._addresses = addresses
        self._plugins = plugins
        self._clock = SystemClock()
        self._writer, request_log = configure_logging(level=config.logging.level, style=config.logging.format)
        self._metrics = Metrics(data.metrics, holder.slot)
        self._request_log = request_log
        self._store = Store(config.database_url, max_queue=config.limits.queue, clock=self._clock)
        opener = BackendOpener(config, data, addresses, plugins)
        files = PolicyFiles(config, data, plugins)
        self._instance = data.instance()
        self._policies = PolicyReload(files, opener, self._store, self._clock, policies, self._instance)
        self._policies.failed = self._metrics.policy_reload_failed
        self._bundle, self._backends = self._policies.bundle, self._policies.backends
        self._identities = MessageIdentities(
            plugins.identity_kinds(), self._bundle, self._backends, self._store, self._clock, data
        )
        self._lists = ListFollower(
            self._bundle,
            self._store,
            self._clock,
            config.policies,
            lambda reference: resolve_secret(reference, data.path),
            f"{self._instance}:{holder.slot}",
            self._metrics.list_failed,
        )
        self._policies.check = both_checks(self._identities.check, self._lists.check)
        self._crls = CrlPublisher(self._store, self._backends, self._clock, time.monotonic)
        self._tls = TlsIdentity(config, data)
        self._job_retention = JobRetention(self._store)
        self._challenge_retention = ChallengeRetention(self._store)
        self._limit_retention = LimitRetention(self._store)
        self._answer_retention = AnswerRetention(self._store)
        self._background = Background()
        self._stop = asyncio.Event()

    async def run(
        self, listening: Sequence[tuple[ListenerSpec, socket.socket]], ready: Callable[[], None]
    ) -> None:
        """Serve until SIGTERM or SIGINT, then drain."""
        self._writer.start(asyncio.get_running_loop())
        self._store.open()
        # What is there now lives as long as the process. Requests leave few cycles behind: collecting after
        # every 700 new objects, the default, costs CPU for nothing; after 50,000, closed TLS connections
        # (some 50 KiB of OpenSSL's memory in a cycle each) pile up to 40 MiB.
        gc.freeze()
        gc.set_threshold(5_000, 10, 10)
        try:
            await self._serve(listening, ready)
        finally:
            await self._policies.aclose()
            await asyncio.to_thread(self._store.close)
            self._writer.stop()

    async def _serve(
        self, listening: Sequence[tuple[ListenerSpec, socket.socket]], ready: Callable[[], None]
    ) -> None:
        rechecks: dict[ProtocolName, Recheck] = {}
        account_keys: dict[ProtocolName, AccountKeys] = {}
        enrolments = EnrolmentService(
            store=self._store,
            bundle=self._bundle,
            backends=self._backends,
            authenticator=Authenticator(self._data.server_key(), time.monotonic),
            clock=self._clock,
            monotonic=time.monotonic,
            observe=self._metrics.outcome,
            observe_shadow=self._metrics.shadow,
            rechecks=rechecks,
            account_keys=account_keys,
        )
        once = open_once(
            self._config.database_url, self._config.worker_count, self._data.path, clock=self._clock
        )
        await self._identities.open()
        await self._lists.open()
        front_ends = MountedFrontEnds(self._plugins, self._services(enrolments, once), rechecks, account_keys)
        await front_ends.start()  # before the jobs run, so that what it hastens is among the first
        self._start_background(enrolments, front_ends)
        try:
            await serve(
                listening,
                self._edge([spec for spec, _ in listening], front_ends),
                ready=ready,
                drain_s=self._config.drain_timeout,
                on_reload=self._policies.ask,
                on_drain=self._stop.set,
            )
        finally:
            # The loop still turns while jobs end: without beats the supervisor would take it for hanging.
            beating = asyncio.create_task(_beat(ready))
            for number in (signal.SIGHUP, signal.SIGUSR1):
                signal.signal(number, signal.SIG_IGN)
            self._stop.set()
            await self._background.stop()
            await front_ends.aclose()
            await once.aclose()
            beating.cancel()

    def _start_background(self, enrolments: EnrolmentService, front_ends: MountedFrontEnds) -> None:
        work = EnrolmentJobs(self._store, enrolments.settlement, self._backends, self._clock)
        runner = JobRunner(
            self._store,
            work.handlers(),
            self._clock,
            guests=front_ends.handlers(),
            sweep=work.sweep,
            holder=self._holder,
            lingering=LINGERING,
        )
        self._background.until("jobs", self._stop, lambda: runner.run(self._stop))
        self._background.forever("policies", self._policies.run)
        self._background.forever("gauges", self._gauges)
        self._background.every("lists in files", LISTS_S, self._lists.follow_files)
        self._background.every("lists at URLs", LISTS_S, self._lists.follow_urls)
        self._background.every("housekeeping", HOUSEKEEPING_S, lambda: self._keep_house(front_ends))
        self._background.every(
            "message identities", FOLLOW_S, lambda: self._identities.follow(self._may_make_identities)
        )
        if self._tls.wanted:
            self._background.every("tls-renewal", RENEWAL_S, self._renew_tls)
            self._background.forever("tls-files", self._follow_tls)

    def _edge(self, specs: Sequence[ListenerSpec], front_ends: MountedFrontEnds) -> Edge:
        readiness = Readiness(
            self._store,
            self._bundle,
            self._backends,
            self._background,
            self._config.limits.queue,
            lambda: {**self._identities.components(), **self._lists.components()},
        )
        return Edge(
            routes=self._routes(front_ends),
            app=web_application(readiness.components, self._admin_services()),
            listeners=specs,
            tls_only=tls_only_services(self._config),
            trusted_proxies=self._config.trusted_proxies,
            # Without public URLs nobody has said by which names clients come.
            hosts=frozenset(name.lower() for name in self._config.tls_names())
            if self._config.public_urls
            else frozenset(),
            metrics=self._metrics,
            request_log=self._request_log,
        )

    def _services(self, enrolments: EnrolmentService, once: Once) -> GatewayServices:
        server_key = self._data.server_key()
        return GatewayServices(
            enrolments=enrolments,
            bundle=self._bundle,
            store=self._store,
            certificates=IssuedCertificates(self._store, self._clock),
            ca_information=EndpointCas(self._bundle, self._backends, self._crls, self._identities),
            external_accounts=ExternalAccounts(self._store, server_key, self._clock, time.monotonic),
            shared_secrets=SharedSecrets(self._store, server_key, time.monotonic),
            jobs=FrontEndJobs(self._store),
            once_only=once,
            base_urls=KnownBaseUrls(self._config, self._addresses),
            network=Network(network_settings(self._config, self._addresses)),
            clock=self._clock,
            server_key=server_key,
            worker=f"{self._instance}:{self._holder.slot}",
        )

    def _admin_services(self) -> AdminServices:
        server_key = self._data.server_key()
        made = CredentialService(
            self._store, server_key, self._clock, lambda: self._bundle.current.endpoints.keys()
        )
        tokens = ApiTokens(self._store, server_key, self._clock, time.monotonic)
        return AdminServices(made, tokens.verify, self._clock)

    def _routes(self, front_ends: MountedFrontEnds) -> tuple[PathRoute, ...]:
        published = Publisher(self._crls, self._clock).routes()
        return (self._metrics.route(), *front_ends.routes(), *published)

    async def _keep_house(self, front_ends: MountedFrontEnds) -> None:
        """Once in a while, in one worker of all gateways on this database."""
        now = self._clock.now()
        if await leases.acquire(self._store.recorder, HOUSE_LEASE, self._owner, now, now + LEASE):
            await front_ends.keep_house()
            await self._job_retention.prune(now)
            await self._challenge_retention.prune(now)
            await self._limit_retention.prune(now)
            await self._answer_retention.prune(now)

    async def _gauges(self) -> None:
        try:
            while True:
                await asyncio.sleep(GAUGES_S)
                self._note_recorder()
        finally:
            self._note_recorder()

    def _note_recorder(self) -> None:
        recorder = self._store.recorder
        self._metrics.recorder(recorder.depth, recorder.counts)

    @property
    def _owner(self) -> str:
        return f"{self._instance}:{os.getpid()}"

    async def _may_make_identities(self) -> bool:
        """One worker of all gateways on this database at a time; whoever were second would be refused."""
        now = self._clock.now()
        return await leases.acquire(self._store.recorder, IDENTITIES_LEASE, self._owner, now, now + LEASE)

    async def _renew_tls(self) -> None:
        """Renew the listeners' own certificate when it is due; one worker of one gateway does it."""
        if not self._tls.due(self._clock):
            return
        now = self._clock.now()
        name = f"{TLS_LEASE}:{self._instance}"
        if await leases.acquire(self._store.recorder, name, self._owner, now, now + LEASE) and self._tls.due(
            self._clock
        ):
            backend = signing_backend(self._backends)
            await self._tls.issue(backend, self._backends, self._store, self._clock)

    async def _follow_tls(self) -> None:
        """Take a certificate that a worker has renewed. Not by SIGHUP, which would also take policy files
        that somebody is still writing."""
        mark = self._tls.mark()
        while True:
            await asyncio.sleep(FOLLOW_TLS_S)
            if (found := self._tls.mark()) != mark:
                mark = found
                os.kill(os.getpid(), signal.SIGUSR1)


async def _beat(ready: Callable[[], None]) -> None:
    while True:
        ready()
        await asyncio.sleep(BEAT_S)
