"""The SCEP front end (RFC 8894), named by the entry point ``scep``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from gateway.frontend import IdentityKind, Mounted, Services
from gateway.http.message import PathRoute
from gateway.model.ids import ProtocolName
from gateway.pki.keyfile import KeyKind
from gateway.scep.compat import ScepCompat
from gateway.scep.errors import refusal_words
from gateway.scep.options import RESERVED_ENDPOINT_NAMES, SCEP, ScepOptions
from gateway.scep.paths import prefixes
from gateway.scep.routes import ScepRoutes


class ScepFrontEnd:
    """Serves ``/scep``, ``/scep/E`` and the fixed paths of older clients."""

    name: ClassVar[ProtocolName] = SCEP
    options_model: ClassVar[type[BaseModel]] = ScepOptions
    compat_model: ClassVar[type[BaseModel]] = ScepCompat
    reserved_endpoint_names: ClassVar[frozenset[str]] = RESERVED_ENDPOINT_NAMES
    # One key for both uses (RFC 8894 section 2.1.2): scepclient with a fingerprint keeps one certificate only
    message_identity: ClassVar[IdentityKind] = IdentityKind(
        "SCEP RA", KeyKind.RSA_2048, ("digitalSignature", "keyEncipherment")
    )

    refusal_words = staticmethod(refusal_words)

    def mount(self, services: Services) -> Mounted:
        answer = ScepRoutes(services).answer
        return Mounted(tuple(PathRoute(prefix, SCEP, answer) for prefix in prefixes()))
