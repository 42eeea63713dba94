"""What relying parties need of the CAs behind an endpoint: ``frontend.CaInformation``."""

from __future__ import annotations

from gateway.composition.message_identities import MessageIdentities
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.enrolment.crl import CrlPublisher
from gateway.errors import BackendUnavailable
from gateway.frontend import MessageIdentity
from gateway.model.ids import EndpointName, ProtocolName
from gateway.policy.rules import CompiledEndpoint


class EndpointCas:
    """Looks up the CA that an Endpoint document names by ``backend`` and ``ca``."""

    def __init__(
        self,
        bundle: ActiveBundle,
        backends: BackendSet,
        crls: CrlPublisher,
        message_identities: MessageIdentities,
    ) -> None:
        self._bundle = bundle
        self._backends = backends
        self._crls = crls
        self._message_identities = message_identities

    async def ca_certificates(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[bytes, ...]:
        """Issuing CA first, root last. Raises BackendUnavailable."""
        compiled = self._endpoint(protocol, endpoint)
        return await self._backends.chain(compiled.backend, compiled.ca)

    async def crl(self, protocol: ProtocolName, endpoint: EndpointName) -> bytes:
        """Raises BackendUnavailable for a CA outside this process, StoreUnavailable."""
        compiled = self._endpoint(protocol, endpoint)
        authority = self._backends.authority(compiled.backend, compiled.ca)
        return (await self._crls.crl(authority.name)).crl_der

    def alternate_chains(self, chain_der: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], ...]:
        """To other roots; whichever backend issued."""
        return self._backends.alternate_chains(chain_der)

    async def identities(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[MessageIdentity, ...]:
        """The one in use first. Raises BackendUnavailable, StoreUnavailable."""
        return await self._message_identities.of(protocol, endpoint)

    def _endpoint(self, protocol: ProtocolName, endpoint: EndpointName) -> CompiledEndpoint:
        compiled = self._bundle.current.endpoints.get((protocol, endpoint))
        if compiled is None:
            raise BackendUnavailable("this endpoint is gone")
        return compiled
