"""The hash by which a repeated message finds its request again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from gateway.model.enrolment import EnrolmentRequest


def correlation_hash(request: EnrolmentRequest, identity: str) -> str:
    """SHA-256 in hex over the length-prefixed parts; the renewed certificate is one of them, so that the next
    renewal of the same key by the same device is a new request."""
    correlation = request.correlation
    if not correlation.with_identity:
        return transaction_hash(request.protocol, request.endpoint, correlation.parts)
    renewed = hashlib.sha256(request.renews_der).digest() if request.renews_der else b""
    own = (request.protocol.encode(), request.endpoint.encode(), identity.encode(), renewed)
    return _hash(b"pkigate correlation v1", (*own, *correlation.parts))


def transaction_hash(protocol: str, endpoint: str, parts: tuple[bytes, ...]) -> str:
    """As ``correlation_hash`` where the parts are the protocol's own transaction: nothing else counts."""
    return _hash(b"pkigate transaction v1", (protocol.encode(), endpoint.encode(), *parts))


def _hash(kind: bytes, parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256(kind)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.hexdigest()
