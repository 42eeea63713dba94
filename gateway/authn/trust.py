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
    protocols: frozenset[str] = frozenset()  # by which ours must have been issued; empty: by any


class TrustStores:
    """Builds a store at first use and keeps it until its certificates change."""

    def __init__(self, certificates_of: CertificatesOf, own_names: Callable[[], frozenset[bytes]]) -> None:
        """``certificates_of`` gives every CA certificate of a backend, whoever signed; ``own_names``
        the raw names of the CAs in this process, which are ours in whatever store they stand."""
        self._certificates_of = certificates_of
        self._own_names = own_names
        self._known: dict[str, tuple[bytes, TrustStore]] = {}

    async def get(self, compiled: CompiledTrustStore) -> TrustStore:
        """Raises BackendUnavailable if a backend cannot give its certificates."""
        sets = [await self._certificates_of(name) for name in compiled.backends]
        own = [certificate for certificates in sets for certificate in certificates]
        certificates = (*compiled.certificates_der, *own)
        # A store may list our own CA by its file: what it issued must be in our record all the same, or a
        # revoked certificate with its ECDSA signature turned round (r, n-s) would be a new, unknown one.
        ours = self._own_names()
        rules = f"{compiled.revocation} {compiled.protocols}"
        stated = b"".join((*certificates, *sorted(ours), rules.encode()))
        fingerprint = hashlib.sha256(stated).digest()
        known = self._known.get(compiled.name)
        if known is not None and known[0] == fingerprint:
            return known[1]
        store = TrustStore(
            compiled.name,
            TrustAnchors(certificates),
            ours | {parse_certificate(certificate).subject_der for certificate in own},
            compiled.revocation == "own",
            frozenset(compiled.protocols),
        )
        self._known[compiled.name] = (fingerprint, store)
        return store
