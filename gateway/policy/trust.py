"""TrustStore documents: PEM texts to certificates (RFC 7468)."""

from __future__ import annotations

import base64
import binascii
import re

from gateway.errors import ConfigurationError, MalformedMessage
from gateway.pki.certificate import parse_certificate
from gateway.policy.complaints import Path
from gateway.policy.document import TrustStore
from gateway.policy.rules import CompiledTrustStore
from gateway.policy.sources import FileReader, PolicySource
from gateway.policy.yaml_marks import ComplaintList, Document

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})


def compile_trust_store(
    store: TrustStore,
    document: Document,
    source: PolicySource,
    read_file: FileReader,
    found: ComplaintList,
) -> CompiledTrustStore:
    """Read every certificate, given ones first, then those of the files; each once."""
    certificates: list[bytes] = []
    for index, pem in enumerate(store.certificates):
        certificates += _certificates(pem, document, ("certificates", index), found)
    for index, name in enumerate(store.files):
        path = ("files", index)
        try:
            pem = read_file(source, name).decode("ascii", "replace")
        except ConfigurationError as error:
            found.add(document, path, str(error))
            continue
        certificates += _certificates(pem, document, path, found)
    return CompiledTrustStore(
        name=store.metadata.name,
        certificates_der=tuple(dict.fromkeys(certificates)),
        backends=store.backends,
        revocation=store.revocation,
        protocols=store.protocols,
    )


def certificate_pem(certificate_der: bytes) -> str:
    """One certificate as PEM text."""
    lines = base64.encodebytes(certificate_der).decode("ascii").replace("\n", "")
    wrapped = "\n".join(lines[start : start + 64] for start in range(0, len(lines), 64))
    return f"-----BEGIN CERTIFICATE-----\n{wrapped}\n-----END CERTIFICATE-----\n"


def _certificates(pem: str, document: Document, path: Path, found: ComplaintList) -> list[bytes]:
    certificates = []
    blocks = _PEM.findall(pem)
    if not blocks:
        text = "there is no PEM block; write -----BEGIN CERTIFICATE----- with its content and its end"
        found.add(document, path, text)
    for label, content in blocks:
        if label not in _CERTIFICATE_LABELS:
            found.add(document, path, f"a PEM block holds {label}; put CA certificates here, nothing else")
            continue
        try:
            certificate_der = base64.b64decode("".join(content.split()), validate=True)
            parsed = parse_certificate(certificate_der)
        except (binascii.Error, MalformedMessage) as error:
            found.add(document, path, f"a certificate cannot be read: {error}; export it again as PEM")
            continue
        if "2.5.29.19" in parsed.extension_oids and not parsed.is_ca:
            text = f"{parsed.subject} is no CA certificate; name that of the CA which issued it"
            found.add(document, path, text)
            continue
        certificates.append(certificate_der)
    return certificates
