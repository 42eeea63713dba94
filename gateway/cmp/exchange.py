"""One HTTP request to a CMP endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.cmp.nonces import Nonces
from gateway.cmp.options import CmpOptions
from gateway.frontend import Services
from gateway.http.message import HttpRequest
from gateway.model.ids import EndpointName
from gateway.pki.mac_keys import MacKeys


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
