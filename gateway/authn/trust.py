"""Trust stores of the bundle as anchors, with the certificates of our own CAs told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.pki.certificate import parse_certificate
from gateway.pki.chain import TrustAnchors
from gateway.policy.rules import CompiledTrustStore

CertificatesOf = Callable[[str], Awaitable[tuple[bytes, ...]]]


@dataclass(frozen=True, slots=True)
class TrustStore:
    """One store, ready for path validation. ``own_issuers`` holds the raw names of CAs behind this gateway:
    what they issued must stand in our record, where its revocation is read at every request."""

    name: str
    anchors: TrustAnchors
    own_issuers: frozenset[bytes]
    checks_revocation: bool


class TrustStores:
    """Builds a store at first use and keeps it until its certificates change."""

    def __init__(self, certificates_of: CertificatesOf) -> None:
        """``certificates_of`` gives every CA certificate of a backend, whichever of them signed."""
        self._certificates_of = certificates_of
        self._known: dict[str, tuple[bytes, TrustStore]] = {}

    async def get(self, compiled: CompiledTrustStore) -> TrustStore:
        """Raises BackendUnavailable if a backend cannot give its certificates."""
        sets = [await self._certificates_of(name) for name in compiled.backends]
        own = [certificate for certificates in sets for certificate in certificates]
        certificates = (*compiled.certificates_der, *own)
        fingerprint = hashlib.sha256(b"".join(certificates) + compiled.revocation.encode()).digest()
        known = self._known.get(compiled.name)
        if known is not None and known[0] == fingerprint:
            return known[1]
        store = TrustStore(
            compiled.name,
            TrustAnchors(certificates),
            frozenset(parse_certificate(certificate).subject_der for certificate in own),
            compiled.revocation == "own",
        )
        self._known[compiled.name] = (fingerprint, store)
        return store
