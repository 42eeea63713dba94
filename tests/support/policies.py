"""Policy bundles of the tests: documents of ``pkigate/v1``, written as JSON, which is YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Document = dict[str, Any]

NAMES = ("test", "example", "internal")
ALL_KEYS: Document = {
    "rsa": {},
    "ec": ["P-256", "P-384", "P-521"],
    "eddsa": ["Ed25519", "Ed448"],
    "ml_dsa": ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"],
}


def bundle(*documents: Document) -> Mapping[str, str]:
    """One policy file with these documents and the embedded CA as ``embedded``."""
    everything = (document("Backend", "embedded", type="embedded"), *documents)
    return {"bundle.yaml": "".join(f"---\n{json.dumps(one, indent=1)}\n" for one in everything)}


def cross_certified(bundle: Mapping[str, str], *references: str) -> Mapping[str, str]:
    """The same bundle with cross-certificates of the embedded CA in these files."""
    plain = '"type": "embedded"'
    text = bundle["bundle.yaml"]
    assert plain in text
    options = json.dumps({"cross_certificates": references})
    return {**bundle, "bundle.yaml": text.replace(plain, f'{plain}, "options": {options}', 1)}


def document(kind: str, name: str, **parts: Any) -> Document:
    return {"apiVersion": "pkigate/v1", "kind": kind, "metadata": {"name": name}, **parts}


def endpoint(
    name: str, *, grace: str = "10m", backend: str = "embedded", ca: str | None = None, **options: Any
) -> Document:
    """An EST endpoint; ``ca``: which of the backend's CAs it hands out, None for the default."""
    more = {} if ca is None else {"ca": ca}
    return document("Endpoint", name, protocol="est", backend=backend, grace=grace, options=options, **more)


def own_certificates() -> Document:
    """The trust store ``own``: what the embedded CA issued."""
    return document("TrustStore", "own", backends=["embedded"])


def trust_store(name: str, *certificates_pem: bytes) -> Document:
    return document(
        "TrustStore", name, certificates=[pem.decode() for pem in certificates_pem], revocation="none"
    )


def enroll_policy(
    name: str, endpoint_name: str, *, priority: int, authenticate: Document | None = None, **parts: Any
) -> Document:
    """First enrolment by Basic unless ``authenticate`` says otherwise; ``parts`` replace whole parts."""
    return _policy(name, endpoint_name, ["enroll"], priority, authenticate or {"basic": {}}, parts)


def renew_policy(
    name: str,
    endpoint_name: str,
    *,
    priority: int,
    operations: Sequence[str] = ("renew", "rekey"),
    authenticate: Document | None = None,
    **parts: Any,
) -> Document:
    """Renewal of own certificates."""
    certificate = authenticate or {"renewal-cert": {"trust": "own"}}
    return _policy(name, endpoint_name, list(operations), priority, certificate, parts)


def _policy(
    name: str,
    endpoint_name: str,
    operations: Sequence[str],
    priority: int,
    authenticate: Document,
    parts: Mapping[str, Any],
) -> Document:
    usual: Document = {
        "keys": ALL_KEYS,
        "names": {
            "subject": {
                "CN": {"source": "csr", "required": False, "allow": {"suffix": NAMES, "plain": True}}
            },
            "dns": {"suffix": NAMES},
            "cn_in_san": False,
        },
        "extensions": {"key_usage": ["digitalSignature"], "extended_key_usage": ["clientAuth", "serverAuth"]},
        "validity": {"default": "90d"},
        "issue": [{"backend": "embedded"}],
    }
    match = {"protocol": "est", "endpoint": [endpoint_name], "operation": list(operations)}
    return document(
        "Policy", name, priority=priority, match=match, authenticate=authenticate, **{**usual, **parts}
    )
