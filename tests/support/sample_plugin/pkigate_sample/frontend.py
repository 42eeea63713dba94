"""Front end ``sample``: one certificate per JSON body.

``POST /sample/E/enroll`` takes ``{"csr": BASE64, "user": TEXT, "password": TEXT}`` (user and password
together or not at all) and answers JSON; ``GET /sample/E/ca`` gives the CA certificates.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, ClassVar, assert_never

from pydantic import BaseModel, ConfigDict, Field

from gateway.errors import GatewayError, MalformedMessage, NotFound
from gateway.frontend import BadMessage, EndpointView, Mounted, Services
from gateway.http.message import HttpRequest, HttpResponse, PathRoute
from gateway.model.enrolment import Correlation, EnrolmentRequest, Operation
from gateway.model.evidence import PresentedPassword, RemoteInfo, SecretBytes
from gateway.model.ids import ProtocolName
from gateway.model.outcome import Issued, Outcome, Pending, Refused, Unavailable
from gateway.model.reasons import Reason, ReasonCode
from gateway.pki.csr import parse_csr, verify_possession

PROTOCOL = ProtocolName("sample")

STATUS = {  # every code that is not listed is 403
    ReasonCode.HTTP_NOT_FOUND: 404,
    ReasonCode.HTTP_METHOD: 405,
    ReasonCode.HTTP_TOO_LARGE: 413,
    ReasonCode.MESSAGE_EMPTY: 400,
    ReasonCode.MESSAGE_BASE64: 400,
    ReasonCode.MESSAGE_ASN1: 400,
    ReasonCode.MESSAGE_UNSUPPORTED: 400,
    ReasonCode.CSR_SIGNATURE: 400,
    ReasonCode.AUTH_MISSING: 401,
    ReasonCode.AUTH_FAILED: 401,
}


class SampleEndpointOptions(BaseModel):
    """Options of an Endpoint document with ``protocol: sample``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int = Field(default=65_536, ge=1024, description="Largest body that is read.")


class SampleFrontEnd:
    """``gateway.frontend.FrontEnd`` of the sample protocol."""

    name: ClassVar[ProtocolName] = PROTOCOL
    options_model: ClassVar[type[BaseModel]] = SampleEndpointOptions
    reserved_endpoint_names: ClassVar[frozenset[str]] = frozenset()

    def mount(self, services: Services) -> Mounted:
        return Mounted((PathRoute("/sample/", "sample", _Routes(services).answer),))


class _Routes:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, request: HttpRequest) -> HttpResponse:
        parts = request.path.split("/")[2:]  # "/sample/E/OP"
        endpoint = self._services.endpoint(PROTOCOL, parts[0])
        if endpoint is None or len(parts) != 2 or parts[1] not in ("enroll", "ca"):
            raise NotFound("there is nothing at this path")
        method = "POST" if parts[1] == "enroll" else "GET"
        if request.method != method:
            return _json(405, {"error": f"use {method}"}, ("Allow", method))
        if parts[1] == "ca":
            chain = await self._services.ca_information.ca_certificates(PROTOCOL, endpoint.name)
            return _json(200, {"chain": [_text(certificate) for certificate in chain]})
        return await self._enroll(request, endpoint)

    async def _enroll(self, request: HttpRequest, endpoint: EndpointView) -> HttpResponse:
        remote = RemoteInfo(
            address=request.client_address,
            listener=request.listener,
            via_proxy=request.via_proxy,
            message="enroll",
            transport_id=request.request_id,
        )
        try:
            enrolment = _decoded(await request.body(endpoint.options.max_body_bytes), endpoint, remote)
        except GatewayError as error:
            bad = BadMessage(PROTOCOL, endpoint.name, Operation.ENROLL, error.reason, remote)
            return _outcome(await self._services.enrolments.record_bad_message(bad))
        (outcome,) = await self._services.enrolments.submit((enrolment,))
        return _outcome(outcome)


def _decoded(body: bytes, endpoint: EndpointView, remote: RemoteInfo) -> EnrolmentRequest:
    """Raises MalformedMessage."""
    try:
        message = json.loads(body)
        csr_der = base64.b64decode(message["csr"], validate=True)
        user, password = message.get("user"), message.get("password")
        presented = (
            () if user is None else (PresentedPassword(str(user), SecretBytes(str(password).encode())),)
        )
    except binascii.Error as error:
        raise MalformedMessage("csr is not base64", code=ReasonCode.MESSAGE_BASE64, path="csr") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedMessage(
            'the body must be JSON like {"csr": BASE64, "user": TEXT, "password": TEXT}',
            code=ReasonCode.MESSAGE_UNSUPPORTED,
        ) from error
    parsed = parse_csr(csr_der)
    names = sorted(str(san).encode() for san in parsed.identity.sans)
    return EnrolmentRequest(
        protocol=PROTOCOL,
        endpoint=endpoint.name,
        operation=Operation.ENROLL,
        correlation=Correlation((parsed.public_key.spki_der, str(parsed.subject).encode(), *names)),
        identity=parsed.identity,
        key=verify_possession(parsed),
        remote=remote,
        presented=presented,
        csr_der=csr_der,
    )


def _outcome(outcome: Outcome) -> HttpResponse:
    match outcome:
        case Issued():
            chain = [_text(certificate) for certificate in outcome.chain_der]
            certificate = _text(outcome.certificate_der)
            return _json(200, {"status": "issued", "certificate": certificate, "chain": chain})
        case Pending():
            after = str(outcome.retry_after_s)
            return _json(202, {"status": "pending", "id": outcome.request_id}, ("Retry-After", after))
        case Refused():
            status = STATUS.get(outcome.reasons[0].code, 403) if outcome.reasons else 403
            reasons = [_reason(reason) for reason in outcome.reasons]
            return _json(status, {"status": "refused", "id": outcome.request_id, "reasons": reasons})
        case Unavailable():
            after = str(outcome.retry_after_s)
            answer = {"status": "unavailable", "reasons": [_reason(outcome.reason)]}
            return _json(503, answer, ("Retry-After", after))
    assert_never(outcome)


def _reason(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "message": reason.message, "path": reason.path}


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _json(status: int, answer: dict[str, Any], *headers: tuple[str, str]) -> HttpResponse:
    return HttpResponse(status, json.dumps(answer).encode() + b"\n", "application/json", headers)
