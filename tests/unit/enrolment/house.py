"""The one path without a wire: real policy, real SQLite, the embedded CA and a foreign CA in this process."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ca_backend.api import (
    CaAnswer,
    CaBackend,
    CaIssued,
    CaPending,
    CaRefused,
    IssuanceOrder,
    RetryClass,
)
from gateway.authn.authenticate import Authenticator
from gateway.authn.secrets import machine_verifier
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.enrolment.service import EnrolmentService
from gateway.enrolment.settle import Recheck
from gateway.enrolment.work import EnrolmentJobs
from gateway.jobs.runner import JobRunner
from gateway.model.certificate import RevocationReason
from gateway.model.enrolment import Correlation, EnrolmentRequest, Operation
from gateway.model.evidence import BASIC, PresentedPassword, RemoteInfo, SecretBytes
from gateway.model.ids import EndpointName, ProtocolName, new_id
from gateway.model.outcome import Outcome, State
from gateway.pki.csr import parse_csr, verify_possession
from gateway.plugins import load_plugins
from gateway.policy.load import load_bundle
from gateway.policy.sources import PolicySource
from gateway.store import credentials, jobs, requests
from gateway.store.credentials import CredentialRow
from gateway.store.jobs import Job
from gateway.store.requests import RequestRow
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.support import pki, policies
from tests.unit.ca_backend import embedded_ca

SERVER_KEY = b"k" * 32
SECRET = "a secret of the device"


@dataclass(slots=True)
class SetClock:
    """Stands still until it is moved."""

    moment: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def now(self) -> datetime:
        return self.moment

    def advance(self, **span: float) -> None:
        self.moment += timedelta(**span)


class ForeignCa:
    """The sample CA, asked without a wire. ``before`` runs ahead of each call and may raise; ``switches`` are
    its own. Abilities: ``CanPoll``, ``CanFind``, ``CanRevoke``."""

    signs_in_process = False
    needs_csr = False

    def __init__(self, state: Path, retry: RetryClass = RetryClass.IDEMPOTENT) -> None:
        authority = importlib.import_module("pkigate_sample.authority")
        self.name = "foreign"
        self.retry = retry
        self.ca = authority.Authority(state)
        self.ca.switches.retry = retry.value
        self.before: Callable[[str], Any] = lambda call: None
        self.calls: list[str] = []
        self.altered: Callable[[CaAnswer], CaAnswer] = lambda answer: answer

    @property
    def revoked(self) -> dict[str, str]:
        found: dict[str, str] = self.ca.journal.revoked
        return found

    async def issue(self, order: IssuanceOrder) -> CaAnswer:
        wire = importlib.import_module("pkigate_sample.wire")
        await self._called("issue")
        return self._answer(self.ca.issue(order.order_id, wire.plan_message(order.plan)))

    async def poll(self, handle: str) -> CaAnswer:
        await self._called("poll")
        return self._answer(self.ca.poll(handle))

    async def find(self, order_id: str, spki_der: bytes) -> CaAnswer | None:
        wire = importlib.import_module("pkigate_sample.wire")
        await self._called("find")
        found = self.ca.find(order_id, wire.to_b64(spki_der))
        return None if found["status"] == "unknown" else self._answer(found)

    async def revoke(self, serial: int, reason: RevocationReason) -> None:
        await self._called("revoke")
        self.ca.revoke(f"{serial:x}", str(reason))

    async def chain(self) -> tuple[bytes, ...]:
        return (self.ca.root_der(),)

    async def aclose(self) -> None:
        """Nothing is held open."""

    async def _called(self, call: str) -> None:
        self.calls.append(call)
        waiting = self.before(call)
        if waiting is not None:
            await waiting

    def _answer(self, answer: dict[str, Any]) -> CaAnswer:
        from_b64 = importlib.import_module("pkigate_sample.wire").from_b64
        match answer["status"]:
            case "issued":
                chain_der = tuple(from_b64(one) for one in answer["chain"])
                return self.altered(CaIssued(from_b64(answer["certificate"]), chain_der))
            case "pending":
                return CaPending(answer["handle"], answer["retry_after_s"])
        return CaRefused(answer["code"], answer["message"])


class House:
    """A service with its endpoints ``default`` (embedded CA), ``foreign`` and ``approval``, and those of
    further ``documents``. ``rechecks`` are asked as those of mounted front ends are."""

    def __init__(
        self,
        directory: Path,
        store: Store,
        clock: SetClock,
        foreign: ForeignCa,
        *documents: policies.Document,
    ) -> None:
        self.store = store
        self.clock = clock
        self.foreign = foreign
        self.embedded = embedded_ca.opened(
            directory / "ca", used=embedded_ca.context(directory / "ca", at=clock)
        )
        backends: dict[str, CaBackend] = {"embedded": self.embedded, "foreign": foreign}
        self.backends = BackendSet(backends)
        self.outcomes: list[tuple[str, str]] = []
        self.rechecks: dict[ProtocolName, Recheck] = {}
        self.service = EnrolmentService(
            store=store,
            bundle=ActiveBundle(load_bundle(_sources(*documents), load_plugins().registry(lab=True))),
            backends=self.backends,
            authenticator=Authenticator(SERVER_KEY, lambda: clock.now().timestamp()),
            clock=clock,
            monotonic=lambda: clock.now().timestamp(),
            observe=lambda _, outcome, code: self.outcomes.append((outcome, code)),
            rechecks=self.rechecks,
        )
        self.work = EnrolmentJobs(store, self.service.settlement, self.backends, clock)
        self.runner = JobRunner(store, self.work.handlers(), clock, sweep=self.work.sweep)

    # -- devices --

    async def credential(self, name: str, **changes: Any) -> CredentialRow:
        values: dict[str, Any] = {
            "id": new_id(),
            "kind": BASIC,
            "name": name,
            "created_at": self.clock.now(),
            "verifier": machine_verifier(SERVER_KEY, SECRET),
        }
        row = CredentialRow(**(values | changes))
        unit = Unit()
        credentials.insert(unit, row)
        await self.store.recorder.commit(unit)
        return row

    def request(
        self,
        host: str,
        *,
        user: str | None = "device",
        secret: str = SECRET,
        endpoint: str = "default",
        address: str = "192.0.2.1",
        private_key: pki.PrivateKey = None,
    ) -> EnrolmentRequest:
        """What a front end makes of the usual CSR."""
        private_key = private_key or pki.key()
        csr = parse_csr(pki.device_csr(private_key, host))
        presented = () if user is None else (PresentedPassword(user, SecretBytes(secret.encode())),)
        return EnrolmentRequest(
            protocol=ProtocolName("est"),
            endpoint=EndpointName(endpoint),
            operation=Operation.ENROLL,
            correlation=Correlation((csr.public_key.spki_der, host.encode())),
            identity=csr.identity,
            key=verify_possession(csr),
            remote=RemoteInfo(address),
            presented=presented,
            csr_der=csr.csr_der,
        )

    async def submit(self, request: EnrolmentRequest) -> Outcome:
        (outcome,) = await self.service.submit((request,))
        return outcome

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Its jobs run, as in a worker."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.runner.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def reaches(self, request_id: str | None, state: State, *, seconds: float = 0) -> RequestRow:
        """Wait until a request is in this state; the clock goes on by ``seconds`` at each look, but not past
        the lease of a job that runs."""
        async with asyncio.timeout(60):
            while (row := await self.row(request_id)).state is not state:
                if seconds and not any(job.state == "running" for job in await self.jobs()):
                    self.clock.advance(seconds=seconds)
                self.runner.wake()
                await asyncio.sleep(0.01)
        return row

    # -- what is recorded --

    async def row(self, request_id: str | None) -> RequestRow:
        assert request_id is not None
        found = await self.store.reader.read(lambda connection: requests.get(connection, request_id))
        assert found is not None
        return found

    async def rows(self) -> tuple[RequestRow, ...]:
        page = await self.store.reader.read(requests.search)
        return page.rows

    async def jobs(self) -> tuple[Job, ...]:
        return await self.store.reader.read(jobs.search)


def _sources(*documents: policies.Document) -> tuple[PolicySource, ...]:
    by_foreign: dict[str, Any] = {"issue": [{"backend": "foreign"}]}
    slow: dict[str, Any] = {"approval": {"required": 1, "expires": "1h", "retry_after": "5s"}}
    foreign = policies.document(
        "Backend", "foreign", type="sample-remote", options={"address": "unix:/nowhere"}
    )
    files = policies.bundle(
        foreign,
        policies.own_certificates(),
        policies.endpoint("default"),
        policies.enroll_policy("plain", "default", priority=10),
        policies.endpoint("foreign", backend="foreign"),
        policies.enroll_policy("by-foreign", "foreign", priority=20, **by_foreign),
        policies.endpoint("approval"),
        policies.enroll_policy("slow", "approval", priority=30, **slow),
        policies.endpoint("slow-foreign", backend="foreign"),
        policies.enroll_policy("slow-foreign", "slow-foreign", priority=40, **slow, **by_foreign),
        *documents,
    )
    return tuple(PolicySource(name, text) for name, text in files.items())
