"""How the message identities of an endpoint stand in the database: one setting, keys sealed.

All gateways on one database so agree on them: what a client encrypted to a certificate that it got from one,
another can open. A setting is replaced only if it is still what was read.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.authn.sealing import seal, unseal
from gateway.clock import from_epoch_s, to_epoch_s
from gateway.errors import SecretUnavailable
from gateway.message_identity import MessageIdentity
from gateway.model.evidence import SecretBytes
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.keyfile import signer_of

VERSION = 1


@dataclass(frozen=True, slots=True)
class KeptIdentity:
    """One identity as it is kept. ``in_use_from``: until then it only opens messages, so that every gateway
    knows it before the first client does. ``chain_der`` is issuer first, root last."""

    certificate: ParsedCertificate
    chain_der: tuple[bytes, ...]
    sealed_key: bytes
    in_use_from: datetime


def setting_name(protocol: str, endpoint: str) -> str:
    """Of the setting that holds the identities of an endpoint, newest first."""
    return f"message-identity {protocol}/{endpoint}"


def seal_key(server_key: bytes, name: str, key: SecretBytes) -> bytes:
    """``name`` is the setting's: the key opens nowhere else."""
    return seal(server_key, name, key.reveal())


def open_identity(kept: KeptIdentity, server_key: bytes, name: str) -> MessageIdentity:
    """Raises SecretUnavailable."""
    try:
        key = unseal(server_key, name, kept.sealed_key)
    except SecretUnavailable as error:
        raise SecretUnavailable(
            f"the key of {kept.certificate.subject} in the database ({name}) was sealed under another server "
            "key; gateways on one database need the same server.key",
            detail=error.detail,
        ) from error
    return MessageIdentity(kept.certificate.certificate_der, kept.chain_der, signer_of(key, name))


def written(identities: Sequence[KeptIdentity]) -> str:
    """The value of the setting."""
    return json.dumps(
        {
            "v": VERSION,
            "identities": [
                {
                    "certificate": _text(one.certificate.certificate_der),
                    "chain": [_text(certificate_der) for certificate_der in one.chain_der],
                    "sealed_key": _text(one.sealed_key),
                    "in_use_from": to_epoch_s(one.in_use_from),
                }
                for one in identities
            ],
        },
        separators=(",", ":"),
    )


def read(value: str | None) -> tuple[KeptIdentity, ...]:
    """What ``written`` wrote; nothing where there is no setting. Raises SecretUnavailable for other text."""
    if value is None:
        return ()
    try:
        document = json.loads(value)
        if document["v"] != VERSION:
            raise ValueError(f"version {document['v']}")
        return tuple(
            KeptIdentity(
                parse_certificate(base64.b64decode(one["certificate"])),
                tuple(base64.b64decode(text) for text in one["chain"]),
                base64.b64decode(one["sealed_key"]),
                from_epoch_s(one["in_use_from"]),
            )
            for one in document["identities"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise SecretUnavailable(
            "a message identity in the database cannot be read", detail=f"{type(error).__name__}: {error}"
        ) from error


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
