"""The CA backends of this worker, each with its chain read and its issuer parsed once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ca_backend.api import CaBackend
from gateway.errors import BackendUnavailable
from gateway.pki.certificate import ParsedCertificate, parse_certificate


@dataclass(frozen=True, slots=True)
class Issuer:
    """The CA certificate that a backend signs with now."""

    certificate: ParsedCertificate
    chain_der: tuple[bytes, ...]

    @property
    def not_after(self) -> datetime:
        return self.certificate.not_after


class BackendSet:
    """Looks backends up by their name in the bundle."""

    def __init__(self, backends: Mapping[str, CaBackend]) -> None:
        self._backends = dict(backends)
        self._issuers: dict[str, Issuer] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._backends

    def names(self) -> tuple[str, ...]:
        return tuple(self._backends)

    def get(self, name: str) -> CaBackend:
        """Raises BackendUnavailable if the backend could not be opened in this process."""
        try:
            return self._backends[name]
        except KeyError:
            raise BackendUnavailable(
                "the CA behind this endpoint is not available", detail=f"backend {name!r} is not open"
            ) from None

    def replace(self, name: str, backend: CaBackend) -> None:
        """Take a newly opened backend in place of an earlier one, whose calls under way go on."""
        self._backends[name] = backend
        self._issuers.pop(name, None)

    async def issuer(self, name: str) -> Issuer:
        """The issuer of this backend; read at first use. Raises BackendUnavailable."""
        known = self._issuers.get(name)
        if known is not None:
            return known
        chain_der = await self.get(name).chain()
        if not chain_der:
            raise BackendUnavailable("the CA gave no certificate of its own", detail=f"backend {name!r}")
        issuer = Issuer(parse_certificate(chain_der[0]), tuple(chain_der))
        self._issuers[name] = issuer
        return issuer

    def adopt_chain(self, name: str, chain_der: tuple[bytes, ...]) -> None:
        """Take over the chain that came with an answer if the CA has changed its certificate."""
        known = self._issuers.get(name)
        if known is None or known.chain_der[:1] != chain_der[:1]:
            self._issuers[name] = Issuer(parse_certificate(chain_der[0]), chain_der)

    async def aclose(self) -> None:
        await asyncio.gather(*(backend.aclose() for backend in self._backends.values()))
