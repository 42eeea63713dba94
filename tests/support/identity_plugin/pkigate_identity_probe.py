"""Front end ``probe``: tells what a front end with message identities is given.

Not installed: its directory is put on PYTHONPATH, where its entry point is found. ``GET /probe/E`` answers
JSON: the certificates of the endpoint's identities as hex, the one in use first, the issuer of its CRL, and
the names of the Compat documents. ``GET /probe/E/open/HEX`` opens what was encrypted to one of them.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import ClassVar

from cryptography import x509
from pydantic import BaseModel

from gateway.errors import GatewayError, MalformedMessage, NotFound
from gateway.frontend import IdentityKind, Mounted, OwnIdentity, Services
from gateway.http.message import HttpRequest, HttpResponse, PathRoute
from gateway.model.ids import EndpointName, ProtocolName
from gateway.pki.keyfile import KeyKind

PROTOCOL = ProtocolName("probe")


class ProbeOptions(BaseModel):
    identity: OwnIdentity | None = None


class ProbeCompat(BaseModel):
    shout: bool = False


class ProbeFrontEnd:
    name: ClassVar[ProtocolName] = PROTOCOL
    options_model: ClassVar[type[BaseModel]] = ProbeOptions
    compat_model: ClassVar[type[BaseModel]] = ProbeCompat
    reserved_endpoint_names: ClassVar[frozenset[str]] = frozenset()
    message_identity: ClassVar[IdentityKind] = IdentityKind(
        "Probe", KeyKind.RSA_2048, ("digitalSignature", "keyEncipherment")
    )

    def mount(self, services: Services) -> Mounted:
        return Mounted((PathRoute("/probe/", "probe", _Probe(services).answer),))


class _Probe:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, request: HttpRequest) -> HttpResponse:
        endpoint, *rest = request.path.removeprefix("/probe/").split("/")
        if self._services.endpoint(PROTOCOL, endpoint) is None:
            raise NotFound("there is no such endpoint")
        try:
            identities = await self._services.ca_information.identities(PROTOCOL, EndpointName(endpoint))
        except GatewayError as error:
            return HttpResponse(503, str(error).encode(), "text/plain")
        if rest:
            for identity in identities:
                with suppress(MalformedMessage):
                    if (opened := identity.signer.decrypt(bytes.fromhex(rest[1]))).startswith(b"opened"):
                        return HttpResponse(200, opened, "text/plain")
            return HttpResponse(400)
        crl = x509.load_der_x509_crl(
            await self._services.ca_information.crl(PROTOCOL, EndpointName(endpoint))
        )
        told = {
            "identities": [identity.certificate_der.hex() for identity in identities],
            "crl_issuer": crl.issuer.rfc4514_string(),
            "compatibility": [one.name for one in self._services.compatibility(PROTOCOL)],
        }
        return HttpResponse(200, json.dumps(told).encode(), "application/json")
