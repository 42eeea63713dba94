"""ACME documents for policy bundles of the tests; to be put into ``tests.support.policies.bundle``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.policies import ALL_KEYS, NAMES, Document, document

CHALLENGES = ("http-01", "dns-01", "tls-alpn-01")
LOOPBACK = ("127.0.0.0/8", "::1/128")


def acme_endpoint(
    name: str = "default", *, grace: str = "10m", backend: str = "embedded", **options: Any
) -> Document:
    """An ACME endpoint; ``options`` are those of AcmeOptions."""
    return document("Endpoint", name, protocol="acme", backend=backend, grace=grace, options=options)


def acme_policy(
    name: str,
    endpoint: str | Sequence[str] = "default",
    *,
    priority: int = 100,
    challenges: Sequence[str] = CHALLENGES,
    reuse_authorization: str = "0s",
    profile: str | Sequence[str] | None = None,
    approval: Mapping[str, Any] | None = None,
    description: str = "",
    **parts: Any,
) -> Document:
    """Certificates for web servers under ``NAMES`` and loopback addresses; ``parts`` replace whole parts."""
    account = {"challenges": list(challenges), "reuse_authorization": reuse_authorization}
    match: Document = {
        "protocol": "acme",
        "endpoint": _listed(endpoint),
        "operation": ["enroll"],
        "auth": ["acme-account"],
    }
    if profile is not None:
        match["profile"] = _listed(profile)
    whole: Document = {
        "priority": priority,
        "match": match,
        "authenticate": {"acme-account": account},
        "keys": {**ALL_KEYS, "reuse": "allow"},
        "names": {
            "subject": "first-dns",
            "dns": {"suffix": NAMES, "exact": "localhost", "wildcard": "allow"},
            "ip": {"cidr": LOOPBACK},
        },
        "extensions": {
            "key_usage": ["digitalSignature", "keyEncipherment"],
            "extended_key_usage": ["serverAuth", "clientAuth"],
        },
        "validity": {"default": "90d", "client_may_request": True},
        "issue": [{"backend": "embedded"}],
        **parts,
    }
    if approval is not None:
        whole["approval"] = dict(approval)
    made = document("Policy", name, **whole)
    if description:
        made["metadata"]["description"] = description
    return made


def _listed(words: str | Sequence[str]) -> list[str]:
    return [words] if isinstance(words, str) else list(words)
