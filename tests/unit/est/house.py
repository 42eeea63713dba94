"""A small real ``gateway.frontend.Services`` that answers what a test says and keeps what it got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.clock import Clock, SystemClock
from gateway.errors import GatewayError
from gateway.est.options import EstOptions
from gateway.est.plugin import EstFrontEnd
from gateway.frontend import BadMessage, CaInformation, EndpointView, Enrolments
from gateway.http.message import HttpRequest, HttpResponse, TlsPeer
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import BASIC, CredentialKind
from gateway.model.ids import EndpointName, ProtocolName, new_id
from gateway.model.outcome import Outcome, Pending, Refused
from gateway.model.reasons import Reason
from gateway.model.wanted import Wanted
from tests.support import pki

ROOT = pki.Authority("Unit Root")
ISSUING = ROOT.sub("Unit Issuing")


@dataclass
class House:
    """Enrolments, CA information and endpoints in one."""

    answer: Outcome | GatewayError = field(default_factory=lambda: Pending(new_id(), "approval", 30))
    endpoints: dict[str, EstOptions] = field(default_factory=lambda: {"default": EstOptions()})
    accepts: tuple[CredentialKind, ...] = (BASIC,)
    asked_for: Wanted | None = None
    ca_chain: tuple[bytes, ...] | GatewayError = ()
    recording_fault: GatewayError | None = None
    submitted: list[EnrolmentRequest] = field(default_factory=list)
    bad: list[BadMessage] = field(default_factory=list)
    clock: Clock = field(default_factory=SystemClock)
    enrolments: Enrolments = field(init=False)
    ca_information: CaInformation = field(init=False)

    def __post_init__(self) -> None:
        self.enrolments = self
        self.ca_information = self

    def endpoint(self, protocol: ProtocolName, name: str) -> EndpointView | None:
        options = self.endpoints.get(name)
        return EndpointView(EndpointName(name), options) if options is not None else None

    async def submit(self, requests: Sequence[EnrolmentRequest]) -> tuple[Outcome, ...]:
        self.submitted.extend(requests)
        if isinstance(self.answer, GatewayError):
            raise self.answer
        return (self.answer,) * len(requests)

    async def preview(self, request: EnrolmentRequest) -> tuple[Reason, ...]:
        return ()

    async def record_bad_message(self, bad: BadMessage) -> Refused:
        if self.recording_fault is not None:
            raise self.recording_fault
        self.bad.append(bad)
        return Refused(new_id(), (bad.reason,))

    def accepted_credentials(
        self, protocol: ProtocolName, endpoint: EndpointName, operation: Operation
    ) -> tuple[CredentialKind, ...]:
        return self.accepts

    def wanted(self, protocol: ProtocolName, endpoint: EndpointName, operation: Operation) -> Wanted | None:
        return self.asked_for

    async def ca_certificates(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[bytes, ...]:
        if isinstance(self.ca_chain, GatewayError):
            raise self.ca_chain
        return self.ca_chain

    def alternate_chains(self, chain_der: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], ...]:
        return ()

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Give the request to the route that the front end mounted for it."""
        for route in EstFrontEnd().mount(self).routes:
            if request.path == route.prefix or (
                route.prefix.endswith("/") and request.path.startswith(route.prefix)
            ):
                return await route.handler(request)
        raise AssertionError(f"no route takes {request.path}")


def http_request(
    operation: str = "simpleenroll",
    body: bytes | Sequence[bytes] = b"",
    *,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    media_type: str | None = "application/pkcs10",
    tls: TlsPeer | None = None,
    chain: tuple[bytes, ...] = (),
    scheme: str = "https",
    path: str | None = None,
) -> HttpRequest:
    """One request as the edge would hand it over; ``body`` given as a list arrives in these parts."""
    lines = {"host": "localhost", "user-agent": "curl/7.88.1", "accept": "*/*"}
    if media_type is not None and method == "POST":
        lines["content-type"] = media_type
    for name, value in (headers or {}).items():
        lines[name] = value
    if isinstance(body, bytes):
        lines.setdefault("content-length", str(len(body)))
    parts = [body] if isinstance(body, bytes) else list(body)
    path = path if path is not None else f"/.well-known/est/{operation}"

    async def receive_body() -> bytes:
        return parts.pop(0) if parts else b""

    return HttpRequest(
        method=method,
        path=path,
        raw_path=path.encode(),
        query=b"",
        http_version="1.1",
        headers=tuple((k.encode("latin-1"), v.encode("latin-1")) for k, v in lines.items() if v != "-"),
        client_address="192.0.2.7",
        listener="https",
        scheme=scheme,
        tls=tls or (TlsPeer("TLSv1.3", "TLS_AES_256_GCM_SHA384", chain) if scheme == "https" else None),
        request_id="0192-request",
        receive_body=receive_body,
    )


def header(response: HttpResponse, name: str) -> str | None:
    """The only value of a response header; more than one is a failure."""
    values = [value for key, value in response.headers if key.lower() == name.lower()]
    assert len(values) <= 1, values
    return values[0] if values else None


def text(response: HttpResponse) -> str:
    assert response.content_type == "text/plain; charset=utf-8"
    return response.body.decode("utf-8")
