"""The EST front end (RFC 7030), named by the entry point ``est``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from gateway.est.errors import refusal_words
from gateway.est.flow import EST
from gateway.est.options import RESERVED_ENDPOINT_NAMES, EstOptions
from gateway.est.routes import PREFIX, EstRoutes
from gateway.frontend import Mounted, Services
from gateway.http.message import PathRoute
from gateway.model.ids import ProtocolName


class EstFrontEnd:
    """Serves ``/.well-known/est/OP`` and ``/.well-known/est/E/OP``."""

    name: ClassVar[ProtocolName] = EST
    options_model: ClassVar[type[BaseModel]] = EstOptions
    reserved_endpoint_names: ClassVar[frozenset[str]] = RESERVED_ENDPOINT_NAMES

    refusal_words = staticmethod(refusal_words)

    def mount(self, services: Services) -> Mounted:
        routes = EstRoutes(services)
        return Mounted((PathRoute(f"{PREFIX}/", EST, routes.answer), PathRoute(PREFIX, EST, routes.answer)))
