"""The CMP front end (RFC 9810, 9811), named by the entry point ``cmp``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from gateway.cmp.errors import refusal_words
from gateway.cmp.options import CMP, RESERVED_ENDPOINT_NAMES, CmpOptions
from gateway.cmp.paths import PREFIX
from gateway.cmp.routes import CmpRoutes
from gateway.frontend import IdentityKind, Mounted, Services
from gateway.http.message import PathRoute
from gateway.model.ids import ProtocolName
from gateway.pki import oids
from gateway.pki.keyfile import KeyKind


class CmpFrontEnd:
    """Serves ``/.well-known/cmp`` and ``/.well-known/cmp/p/E``, each with or without an operation."""

    name: ClassVar[ProtocolName] = CMP
    options_model: ClassVar[type[BaseModel]] = CmpOptions
    reserved_endpoint_names: ClassVar[frozenset[str]] = RESERVED_ENDPOINT_NAMES
    message_identity: ClassVar[IdentityKind] = IdentityKind(
        "CMP", KeyKind.EC_P256, ("digitalSignature",), (oids.CMC_RA,)
    )

    refusal_words = staticmethod(refusal_words)

    def mount(self, services: Services) -> Mounted:
        answer = CmpRoutes(services).answer
        return Mounted((PathRoute(PREFIX, CMP, answer), PathRoute(f"{PREFIX}/", CMP, answer)))
