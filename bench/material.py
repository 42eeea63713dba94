"""Keys and CSRs made before the clock runs: every request has a key and a name of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.spki import spki_of


@dataclass(frozen=True, slots=True)
class Request:
    """A P-256 key (unencrypted PKCS#8 PEM) and its CSR for ``cn``, also as the one DNS name (both DER)."""

    cn: str
    key_pem: bytes
    csr_der: bytes
    spki_der: bytes


def requests(names: Iterable[str]) -> list[Request]:
    """One request per name, by as many processes as there are cores."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(_request, names, chunksize=200))


def _request(cn: str) -> Request:
    private_key = ec.generate_private_key(ec.SECP256R1())
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(cn)]), critical=False)
        .sign(private_key, hashes.SHA256())
    )
    key_pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Request(cn, key_pem, csr.public_bytes(serialization.Encoding.DER), spki_of(private_key))
