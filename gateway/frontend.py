"""PUBLIC plug-in interface of a protocol front end. Entry-point group ``pkigate.frontends``.

A front end translates between its wire and the enrolment model. It sees neither policy nor CA backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from gateway.clock import Clock
from gateway.http.message import PathRoute
from gateway.model.enrolment import BadMessage, EnrolmentRequest, Operation
from gateway.model.evidence import CredentialKind
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.outcome import Outcome, Refused
from gateway.model.reasons import Reason
from gateway.model.wanted import Wanted

__all__ = [
    "API_VERSION",
    "BadMessage",
    "CaInformation",
    "EndpointView",
    "Enrolments",
    "FrontEnd",
    "Mounted",
    "Services",
]

API_VERSION = 1


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One endpoint as its front end sees it; ``options`` is an instance of the front end's options model."""

    name: EndpointName
    options: Any


class Enrolments(Protocol):
    """The use cases."""

    async def submit(self, requests: Sequence[EnrolmentRequest]) -> tuple[Outcome, ...]:
        """Decide, issue and record; one outcome per request, in order. What it returns is durable.

        Raises Overloaded and StoreUnavailable; every other trouble is in the outcome.
        """

    async def preview(self, request: EnrolmentRequest) -> tuple[Reason, ...]:
        """What policy would say now, without key and without recording; empty means it would pass."""

    async def record_bad_message(self, bad: BadMessage) -> Refused:
        """Record a malformed or misdirected message as refused; bounded per source address."""

    def accepted_credentials(
        self, protocol: ProtocolName, endpoint: EndpointName, operation: Operation
    ) -> tuple[CredentialKind, ...]:
        """Credential kinds that some policy of this endpoint looks at for this operation."""

    def wanted(self, protocol: ProtocolName, endpoint: EndpointName, operation: Operation) -> Wanted | None:
        """What policy expects here, or None where no policy could ever be selected."""


class CaInformation(Protocol):
    """What relying parties need of the CAs behind an endpoint."""

    async def ca_certificates(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[bytes, ...]:
        """All certificates for path building (RFC 7030 section 4.1.3): issuing CA first, root last, as DER.

        Raises BackendUnavailable.
        """


class Services(Protocol):
    """What the gateway gives to a front end."""

    @property
    def enrolments(self) -> Enrolments: ...

    @property
    def ca_information(self) -> CaInformation: ...

    @property
    def clock(self) -> Clock: ...

    def endpoint(self, protocol: ProtocolName, name: str) -> EndpointView | None:
        """The endpoint of this name in the active bundle."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """What a front end puts into the house."""

    routes: tuple[PathRoute, ...]


class FrontEnd(Protocol):
    """What the entry point names: a class with these attributes, made without arguments."""

    name: ClassVar[ProtocolName]
    options_model: ClassVar[type[BaseModel]]
    reserved_endpoint_names: ClassVar[frozenset[str]]

    def mount(self, services: Services) -> Mounted: ...
