"""The sample front end: a foreign protocol on the public interface, found by its entry point."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from importlib.metadata import entry_points

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.clock import SystemClock
from gateway.errors import NotFound
from gateway.frontend import BadMessage, EndpointView
from gateway.http.message import HttpRequest, HttpResponse
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import CredentialKind, PresentedPassword
from gateway.model.ids import EndpointName, ProtocolName, RequestId
from gateway.model.keys import ClientKey, Pop
from gateway.model.outcome import Issued, Outcome, Pending, Refused, Unavailable
from gateway.model.reasons import Reason, ReasonCode
from gateway.model.wanted import Wanted

ID = RequestId("01890000-0000-7000-8000-000000000000")


class RecordingEnrolments:
    """Keeps what the front end asked for and answers as the test says."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.submitted: list[EnrolmentRequest] = []
        self.bad: list[BadMessage] = []

    async def submit(self, requests: Sequence[EnrolmentRequest]) -> tuple[Outcome, ...]:
        self.submitted.extend(requests)
        return (self.outcome,) * len(requests)

    async def preview(self, request: EnrolmentRequest) -> tuple[Reason, ...]:
        return ()

    async def record_bad_message(self, bad: BadMessage) -> Refused:
        self.bad.append(bad)
        return Refused(ID, (bad.reason,))

    def accepted_credentials(
        self, protocol: ProtocolName, endpoint: EndpointName, operation: Operation
    ) -> tuple[CredentialKind, ...]:
        return ()

    def wanted(self, protocol: ProtocolName, endpoint: EndpointName, operation: Operation) -> Wanted | None:
        return None


class OneEndpoint:
    """``gateway.frontend.Services`` with the endpoint ``lab``."""

    def __init__(self, outcome: Outcome, options: object) -> None:
        self.enrolments = RecordingEnrolments(outcome)
        self.ca_information = self
        self.clock = SystemClock()
        self._options = options

    def endpoint(self, protocol: ProtocolName, name: str) -> EndpointView | None:
        return EndpointView(EndpointName("lab"), self._options) if name == "lab" else None

    async def ca_certificates(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[bytes, ...]:
        return (b"issuing", b"root")


ISSUED = Issued(ID, b"leaf", (b"issuing", b"root"))


def mounted(outcome: Outcome = ISSUED) -> tuple[OneEndpoint, object]:
    (found,) = entry_points(group="pkigate.frontends", name="sample")
    front_end = found.load()()
    services = OneEndpoint(outcome, front_end.options_model())
    (route,) = front_end.mount(services).routes
    assert (route.prefix, route.service) == ("/sample/", "sample")
    return services, route.handler


async def send(handler: object, path: str, body: bytes = b"", method: str = "POST") -> HttpResponse:
    parts = [body, b""]

    async def receive() -> bytes:
        return parts.pop(0) if parts else b""

    request = HttpRequest(
        method=method,
        path=path,
        raw_path=path.encode(),
        query=b"",
        http_version="1.1",
        headers=(),
        client_address="192.0.2.1",
        listener="https",
        scheme="https",
        tls=None,
        request_id="transport",
        receive_body=receive,
    )
    response = await handler(request)  # type: ignore[operator]  # a Handler
    assert isinstance(response, HttpResponse)
    return response


def csr_der() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("a.test")])
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def enroll_body(**message: str) -> bytes:
    return json.dumps({"csr": base64.b64encode(csr_der()).decode(), **message}).encode()


async def test_enrolment_reaches_the_model_with_key_names_and_password() -> None:
    services, handler = mounted()
    response = await send(handler, "/sample/lab/enroll", enroll_body(user="u", password="p:w"))
    assert response.status == 200
    assert base64.b64decode(json.loads(response.body)["certificate"]) == b"leaf"
    (request,) = services.enrolments.submitted
    assert [str(san) for san in request.identity.sans] == ["dns:a.test"]
    assert isinstance(request.key, ClientKey)
    assert request.key.pop is Pop.SIGNATURE
    (password,) = request.presented
    assert isinstance(password, PresentedPassword)
    assert (password.user, password.secret.reveal()) == ("u", b"p:w")


@pytest.mark.parametrize(
    ("outcome", "status", "retry_after"),
    [
        (Pending(ID, "approval", 30), 202, "30"),
        (Refused(ID, (Reason(ReasonCode.NAME_NOT_ALLOWED, "no"),)), 403, None),
        (Refused(ID, (Reason(ReasonCode.AUTH_FAILED, "no"),)), 401, None),
        (Unavailable(Reason(ReasonCode.OVERLOADED, "later"), 7), 503, "7"),
    ],
)
async def test_each_outcome_has_its_status(outcome: Outcome, status: int, retry_after: str | None) -> None:
    _, handler = mounted(outcome)
    response = await send(handler, "/sample/lab/enroll", enroll_body())
    assert response.status == status
    assert dict(response.headers).get("Retry-After") == retry_after


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", ReasonCode.MESSAGE_UNSUPPORTED),
        (b"[]", ReasonCode.MESSAGE_UNSUPPORTED),
        (b'{"csr": 7}', ReasonCode.MESSAGE_UNSUPPORTED),
        (b'{"csr": "***"}', ReasonCode.MESSAGE_BASE64),
        (b'{"csr": "MAA="}', ReasonCode.MESSAGE_ASN1),
    ],
)
async def test_malformed_body_is_recorded_and_answered_with_400(body: bytes, code: ReasonCode) -> None:
    services, handler = mounted()
    response = await send(handler, "/sample/lab/enroll", body)
    assert response.status == 400
    assert not services.enrolments.submitted
    assert [bad.reason.code for bad in services.enrolments.bad] == [code]


async def test_oversize_body_is_recorded_and_answered_with_413() -> None:
    services, handler = mounted()
    response = await send(handler, "/sample/lab/enroll", b" " * 70_000)
    assert response.status == 413
    assert [bad.reason.code for bad in services.enrolments.bad] == [ReasonCode.HTTP_TOO_LARGE]


@pytest.mark.parametrize(
    "path", ["/sample/", "/sample/other/enroll", "/sample/lab/x", "/sample/lab/enroll/x"]
)
async def test_unknown_path_is_not_found(path: str) -> None:
    _, handler = mounted()
    with pytest.raises(NotFound):
        await send(handler, path)


async def test_wrong_method_names_the_right_one() -> None:
    _, handler = mounted()
    response = await send(handler, "/sample/lab/enroll", method="GET")
    assert (response.status, dict(response.headers)["Allow"]) == (405, "POST")


async def test_ca_certificates_are_given_issuing_ca_first() -> None:
    _, handler = mounted()
    response = await send(handler, "/sample/lab/ca", method="GET")
    assert [base64.b64decode(each) for each in json.loads(response.body)["chain"]] == [b"issuing", b"root"]
