"""One HTTP request to a CMP endpoint, and what its message is called in the record."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.cmp.nonces import Nonces
from gateway.cmp.options import CmpOptions
from gateway.frontend import Services
from gateway.http.message import HttpRequest
from gateway.model.evidence import RemoteInfo
from gateway.model.ids import EndpointName
from gateway.pki.mac_keys import MacKeys

_MAX_USER_AGENT_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Exchange:
    """``operation`` is what the path names, "" where it takes every body. ``keys`` are those derived from
    shared secrets, ``nonces`` makes and checks ours."""

    services: Services
    request: HttpRequest
    endpoint: EndpointName
    options: CmpOptions
    operation: str
    keys: MacKeys
    nonces: Nonces


def remote_info(request: HttpRequest, message: str) -> RemoteInfo:
    """Where the request came from, for policy and for the record. ``message`` is the body's name."""
    return RemoteInfo(
        address=request.client_address,
        listener=request.listener,
        tls_version=request.tls.version if request.tls else "",
        cipher=request.tls.cipher if request.tls else "",
        via_proxy=request.via_proxy,
        user_agent=(request.header(b"user-agent") or "")[:_MAX_USER_AGENT_CHARACTERS],
        message=message,
        transport_id=request.request_id,
    )
