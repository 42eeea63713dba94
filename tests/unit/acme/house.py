"""The ACME front end without a wire: real policy, real SQLite, the embedded CA, the real way out in lab mode.

``House`` holds what a worker gives to the front end; ``Client`` is one account key that signs and posts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.acme.plugin import AcmeFrontEnd
from gateway.authn.authenticate import Authenticator
from gateway.authn.external import ExternalAccounts
from gateway.authn.shared_secrets import SharedSecrets
from gateway.composition.ca_information import EndpointCas
from gateway.composition.message_identities import MessageIdentities
from gateway.composition.services import GatewayServices
from gateway.datadir import prepare
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.enrolment.crl import CrlPublisher
from gateway.enrolment.issued import IssuedCertificates
from gateway.enrolment.service import EnrolmentService
from gateway.enrolment.work import EnrolmentJobs
from gateway.frontend import Recheck
from gateway.http.message import HttpRequest, HttpResponse, TlsPeer
from gateway.jobs.queue import FrontEndJobs
from gateway.jobs.runner import JobRunner
from gateway.model.ids import ProtocolName, new_id
from gateway.outbound.network import Network, NetworkSettings
from gateway.plugins import load_plugins
from gateway.policy.load import load_bundle
from gateway.policy.sources import PolicySource
from gateway.store.once import MemoryOnce
from gateway.store.store import Store
from tests.support import acme_policies, acme_signing, pki, policies
from tests.unit.ca_backend import embedded_ca

SERVER_KEY = b"k" * 32
BASE = "https://acme.test"
JOSE = "application/jose+json"
LAB_SUFFIXES = ("test", "example", "internal", "localhost")


@dataclass(slots=True)
class SetClock:
    """Stands still until it is moved."""

    moment: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def now(self) -> datetime:
        return self.moment

    def advance(self, **span: float) -> None:
        self.moment += timedelta(**span)


class OneBaseUrl:
    """``frontend.BaseUrls`` of a gateway with one public URL."""

    known = frozenset({BASE})

    def of(self, request: HttpRequest) -> str:
        return BASE


class House:
    """``services`` and the mounted front end. Without ``documents`` there is the endpoint ``default``, whose
    policy takes all challenges for names under test. ``http_port``, ``tls_port``: where validation looks."""

    def __init__(
        self,
        directory: Path,
        store: Store,
        clock: SetClock,
        *documents: policies.Document,
        http_port: int = 80,
        tls_port: int = 443,
    ) -> None:
        self.store = store
        self.clock = clock
        self.embedded = embedded_ca.opened(
            directory / "ca", used=embedded_ca.context(directory / "ca", at=clock)
        )
        backends = BackendSet({"embedded": self.embedded})
        self.bundle = ActiveBundle(
            load_bundle(_sources(documents or default_documents()), load_plugins().registry(lab=True))
        )

        def monotonic() -> float:
            return clock.now().timestamp()

        rechecks: dict[ProtocolName, Recheck] = {}
        self.service = EnrolmentService(
            store=store,
            bundle=self.bundle,
            backends=backends,
            authenticator=Authenticator(SERVER_KEY, monotonic),
            clock=clock,
            monotonic=monotonic,
            observe=lambda _, outcome, code: None,
            rechecks=rechecks,
        )
        self.services = GatewayServices(
            enrolments=self.service,
            bundle=self.bundle,
            store=store,
            ca_information=self._cas(directory, backends, monotonic),
            certificates=IssuedCertificates(store, clock),
            external_accounts=ExternalAccounts(store, SERVER_KEY, clock, monotonic),
            shared_secrets=SharedSecrets(store, SERVER_KEY, monotonic),
            jobs=FrontEndJobs(store),
            once_only=MemoryOnce(clock),
            base_urls=OneBaseUrl(),
            network=Network(NetworkSettings((), http_port, tls_port, True, LAB_SUFFIXES)),
            clock=clock,
            server_key=SERVER_KEY,
            worker="worker of the house",
        )
        self.mounted = AcmeFrontEnd().mount(self.services)
        if self.mounted.recheck is not None:
            rechecks[ProtocolName("acme")] = self.mounted.recheck
        self.work = EnrolmentJobs(store, self.service.settlement, backends, clock)
        self.runner = JobRunner(store, dict(self.work.handlers()), clock, sweep=self.work.sweep)

    def _cas(self, directory: Path, backends: BackendSet, monotonic: Callable[[], float]) -> EndpointCas:
        identities = MessageIdentities(
            {}, self.bundle, backends, self.store, self.clock, prepare(directory / "data")
        )
        crls = CrlPublisher(self.store, backends, self.clock, monotonic)
        return EndpointCas(self.bundle, backends, crls, identities)

    async def aclose(self) -> None:
        if self.mounted.aclose is not None:
            await self.mounted.aclose()

    def client(self, endpoint: str = "default", **more: Any) -> Client:
        return Client(self, endpoint, **more)

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Give the request to the route that the front end mounted for it."""
        for route in self.mounted.routes:
            if request.path == route.prefix or (
                route.prefix.endswith("/") and request.path.startswith(route.prefix)
            ):
                return await route.handler(request)
        raise AssertionError(f"no route takes {request.path}")

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


@dataclass(slots=True)
class Client:
    """One account key at one endpoint. ``kid`` is its URL once there is an account."""

    house: House
    endpoint: str = "default"
    key: pki.PrivateKey = field(default_factory=pki.key)
    kid: str | None = None
    nonce: str | None = None

    @property
    def root(self) -> str:
        return f"{BASE}/acme" if self.endpoint == "default" else f"{BASE}/acme/{self.endpoint}"

    async def get(self, path: str, method: str = "GET", **headers: str) -> HttpResponse:
        """``path`` is a whole URL, or what stands behind the endpoint's root: ``/directory``."""
        return await self.house.send(http_request(method, self.url(path), headers=headers))

    async def new_nonce(self) -> str:
        nonce = header(await self.get("/new-nonce", "HEAD"), "Replay-Nonce")
        assert nonce is not None
        return nonce

    async def post(
        self,
        path: str,
        payload: object = None,
        *,
        by_key: bool | None = None,
        changes: Mapping[str, object] | None = None,
        nonce: str | None = None,
        content_type: str = JOSE,
    ) -> HttpResponse:
        """POST ``payload`` (None: POST-as-GET), signed with the kid, or with the key where there is none."""
        url = self.url(path)
        with_key = self.kid is None if by_key is None else by_key
        used, self.nonce = nonce or self.nonce, None
        body = acme_signing.request_body(
            self.key,
            payload,
            url=url,
            nonce=used or await self.new_nonce(),
            kid=None if with_key else self.kid,
            changes=changes or {},
        )
        answer = await self.post_body(url, body, content_type=content_type)
        self.nonce = header(answer, "Replay-Nonce")
        return answer

    async def post_body(self, path: str, body: bytes, *, content_type: str = JOSE) -> HttpResponse:
        headers = {"content-type": content_type}
        return await self.house.send(http_request("POST", self.url(path), body, headers=headers))

    async def registered(self, **members: object) -> Client:
        """Itself, with an account."""
        answer = await self.post("/new-account", {"termsOfServiceAgreed": True} | members, by_key=True)
        assert answer.status in (200, 201), answer.body
        self.kid = header(answer, "Location")
        return self

    async def new_order(self, names: Sequence[str], **members: object) -> HttpResponse:
        wanted = [{"type": "dns", "value": name} for name in names]
        return await self.post("/new-order", {"identifiers": wanted} | members)

    def url(self, path: str) -> str:
        return path if path.startswith("https:") else self.root + path


def default_documents() -> tuple[policies.Document, ...]:
    """The endpoint ``default`` with one policy."""
    return (
        acme_policies.acme_endpoint("default"),
        acme_policies.acme_policy("web-servers", "default", priority=10),
    )


def http_request(
    method: str, url: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None
) -> HttpRequest:
    """One request as the edge would hand it over."""
    target = url.removeprefix(BASE)
    path, _, query = target.partition("?")
    lines = {"host": "acme.test", "user-agent": "house/1", "accept": "*/*"} | dict(headers or {})
    if method == "POST":
        lines.setdefault("content-length", str(len(body)))
    parts = [body]

    async def receive_body() -> bytes:
        return parts.pop(0) if parts else b""

    return HttpRequest(
        method=method,
        path=path,
        raw_path=path.encode(),
        query=query.encode(),
        http_version="1.1",
        headers=tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()),
        client_address="192.0.2.7",
        listener="https",
        scheme="https",
        tls=TlsPeer("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        request_id=new_id(),
        receive_body=receive_body,
    )


def header(response: HttpResponse, name: str) -> str | None:
    """The first value of a response header."""
    return next((value for key, value in response.headers if key.lower() == name.lower()), None)


def document(response: HttpResponse) -> Any:
    """The JSON of an answer."""
    return json.loads(response.body)


def problem(response: HttpResponse) -> str:
    """The type of a problem document without its URN."""
    assert response.content_type == "application/problem+json", response.body
    return str(document(response)["type"]).removeprefix("urn:ietf:params:acme:error:")


def _sources(documents: Sequence[policies.Document]) -> tuple[PolicySource, ...]:
    files = policies.bundle(*documents)
    return tuple(PolicySource(name, text) for name, text in files.items())
