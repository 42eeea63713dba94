"""The CA backends of this worker, each with its chains read and its issuers parsed once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from ca_backend.api import CaBackend, CanCrossChain, CanSignCrl, CertificateAuthority
from gateway.enrolment.calls import call
from gateway.errors import BackendInDoubt, BackendUnavailable, NotActed
from gateway.pki.certificate import ParsedCertificate, parse_certificate


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA certificate that a backend signs with, and its way to the root."""

    certificate: ParsedCertificate
    chain_der: tuple[bytes, ...]

    @property
    def not_after(self) -> datetime:
        return self.certificate.not_after


@lru_cache(maxsize=64)  # the same few chains come with every answer
def issuer_of(chain_der: tuple[bytes, ...]) -> Issuer:
    """The CA that signed what came with this chain. Raises MalformedMessage."""
    return Issuer(parse_certificate(chain_der[0]), chain_der)


class BackendSet:
    """Looks backends up by their name in the bundle."""

    def __init__(self, backends: Mapping[str, CaBackend]) -> None:
        self._backends = dict(backends)
        self._issuers: dict[tuple[str, str | None], Issuer] = {}
        self._certificates: dict[str, tuple[bytes, ...]] = {}
        self._authorities: dict[tuple[str, str | None], CertificateAuthority] = {}
        self._chains: dict[tuple[str, str | None], tuple[bytes, ...]] = {}
        self._ca_keys: frozenset[str] | None = None  # None: to be gathered anew

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
                "the CA behind this endpoint is not available",
                detail=f"backend {name!r} is not open",
                not_acted=NotActed.CA_OFFLINE,
            ) from None

    def replace(self, name: str, backend: CaBackend) -> None:
        """Take a newly opened backend in place of an earlier one, whose calls under way go on."""
        self._backends[name] = backend
        self._ca_keys = None
        self._issuers = {key: issuer for key, issuer in self._issuers.items() if key[0] != name}
        self._certificates.pop(name, None)
        self._authorities = {key: one for key, one in self._authorities.items() if key[0] != name}
        self._chains = {key: chain for key, chain in self._chains.items() if key[0] != name}

    def with_opened(self, opened: Mapping[str, CaBackend]) -> BackendSet:
        """A set with these in place of, or beside, the ones here, which stay as they are."""
        return BackendSet({**self._backends, **opened})

    async def issuer(self, name: str, profile: str | None = None) -> Issuer:
        """The CA that signs orders of this profile, as far as it is known; read at first use.

        Without a profile, and where the backend does not tell, the backend's default CA. Raises
        BackendUnavailable.
        """
        known = self._issuers.get((name, profile))
        if known is not None:
            return known
        backend = self.get(name)
        try:
            chain_der = tuple(await call(backend, "chain", backend.chain()))
        except BackendInDoubt as error:  # asking for certificates leaves nothing in doubt
            raise BackendUnavailable(str(error), retry_after_s=error.retry_after_s) from error
        if not chain_der:
            raise BackendUnavailable("the CA gave no certificate of its own", detail=f"backend {name!r}")
        if profile is not None and isinstance(backend, CanSignCrl):
            for authority in backend.authorities():
                if authority.profile == profile:
                    chain_der = (authority.certificate_der, *chain_der[1:])
        issuer = issuer_of(chain_der)
        if self._backends.get(name) is backend:  # else it was replaced while it was asked
            self._issuers[name, profile] = issuer
            self._ca_keys = None
        return issuer

    def authority(self, name: str, ca: str | None = None) -> CertificateAuthority:
        """The CA in this process that signs orders of the profile ``ca``; None: the backend's default.

        Raises BackendUnavailable where the backend has none of this name, or signs elsewhere.
        """
        known = self._authorities.get((name, ca))
        if known is not None:
            return known
        backend = self.get(name)
        authorities = backend.authorities() if isinstance(backend, CanSignCrl) else ()
        for authority in authorities:
            if ca is None or authority.profile == ca:
                self._authorities[name, ca] = authority
                return authority
        raise BackendUnavailable(
            "the CA behind this endpoint is not available",
            detail=f"backend {name!r} has no CA {ca!r} in this process",
        )

    async def chain(self, name: str, ca: str | None = None) -> tuple[bytes, ...]:
        """What clients of the CA ``ca`` need for path building: that CA first, root last.

        Of a CA outside this process also what it had before. Raises BackendUnavailable.
        """
        known = self._chains.get((name, ca))
        if known is not None:
            return known
        backend = self.get(name)
        if isinstance(backend, CanSignCrl):
            above = [one.certificate_der for one in backend.authorities() if one.profile is None]
            found = tuple(dict.fromkeys((self.authority(name, ca).certificate_der, *above)))
            self._chains[name, ca] = found
            return found
        if ca is None:
            return await self.certificates(name)
        return (await self.issuer(name, ca)).chain_der

    async def certificates(self, name: str) -> tuple[bytes, ...]:
        """Every known CA certificate of this backend, an issuing CA first.

        Raises BackendUnavailable.
        """
        known = self._certificates.get(name)
        if known is not None:
            return known
        backend = self.get(name)
        if isinstance(backend, CanSignCrl):
            found = [authority.certificate_der for authority in backend.authorities()]
        else:
            asked = await self.issuer(name)
            known_chains = [one.chain_der for (owner, _), one in self._issuers.items() if owner == name]
            found = [one for chain_der in (asked.chain_der, *known_chains) for one in chain_der]
        certificates = tuple(dict.fromkeys(found))
        if self._backends.get(name) is backend:
            self._certificates[name] = certificates
            self._ca_keys = None
        return certificates

    def alternate_chains(self, chain_der: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], ...]:
        """Further chains, to other roots, for a certificate that was issued with this one."""
        return tuple(
            alternate
            for backend in self._backends.values()
            if isinstance(backend, CanCrossChain)
            for alternate in backend.alternate_chains(chain_der)
        )

    def own_names(self) -> frozenset[bytes]:
        """The raw subject names of every CA that signs in this process."""
        return frozenset(
            issuer_of((authority.certificate_der,)).certificate.subject_der
            for backend in self._backends.values()
            if isinstance(backend, CanSignCrl)
            for authority in backend.authorities()
        )

    def ca_keys(self) -> frozenset[str]:
        """SHA-256 of the public keys of every CA whose certificate is known here by now: of those that sign
        in this process all, of others those that were met."""
        if self._ca_keys is None:
            in_process = [
                authority.certificate_der
                for backend in self._backends.values()
                if isinstance(backend, CanSignCrl)
                for authority in backend.authorities()
            ]
            elsewhere = [one for issuer in self._issuers.values() for one in issuer.chain_der]
            elsewhere += [one for found in self._certificates.values() for one in found]
            self._ca_keys = frozenset(
                issuer_of((certificate_der,)).certificate.spki_sha256
                for certificate_der in dict.fromkeys((*in_process, *elsewhere))
            )
        return self._ca_keys

    def adopt_chain(self, name: str, profile: str | None, chain_der: tuple[bytes, ...]) -> None:
        """Take over the verified chain that came with a foreign CA's answer, if it is a new one.

        Only for CAs outside this process: the others' chains are known from the start.
        """
        known = self._issuers.get((name, profile))
        if known is None or known.chain_der != chain_der:
            self._issuers[name, profile] = issuer_of(chain_der)
            self._ca_keys = None
            # What devices hold of the CA's earlier certificate must still be trusted.
            earlier = self._certificates.get(name)
            if earlier is not None:
                self._certificates[name] = tuple(dict.fromkeys((*chain_der, *earlier)))

    async def aclose(self) -> None:
        await asyncio.gather(*(backend.aclose() for backend in self._backends.values()))
