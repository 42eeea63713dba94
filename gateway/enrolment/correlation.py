"""The hash by which a repeated message finds its request again."""

from __future__ import annotations

import hashlib

from gateway.model.enrolment import EnrolmentRequest


def correlation_hash(request: EnrolmentRequest, identity: str) -> str:
    """SHA-256 in hex over the length-prefixed parts; the renewed certificate is one of them, so that the next
    renewal of the same key by the same device is a new request."""
    digest = hashlib.sha256(b"pkigate correlation v1")
    parts = [request.protocol.encode(), request.endpoint.encode()]
    if request.correlation.with_identity:
        parts.append(identity.encode())
    parts.append(hashlib.sha256(request.renews_der).digest() if request.renews_der else b"")
    parts.extend(request.correlation.parts)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.hexdigest()
