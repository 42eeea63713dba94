"""A gateway with the SCEP endpoints of the wire tests, one for each module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import pki, policies
from tests.support.scep_lab import ScepLab, again, endpoint, first, running_lab

_SLOW: dict[str, Any] = {"required": 1, "expires": "1h", "retry_after": "1s"}
_LEGACY = {
    "digests": ["sha256", "sha384", "sha512", "sha1"],
    "ciphers": ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des-ede3-cbc", "des-cbc"],
}


def _documents(vendor: pki.Authority) -> list[policies.Document]:
    by_vendor = {"signature": {"trust": "vendor"}}
    renewing_vendor = {"renewal-cert": {"trust": "vendor", "allow_expired": "30d"}}
    return [
        policies.trust_store("vendor", vendor.certificate_pem),
        endpoint("default"),
        first("default", "default", 10),
        again("default-again", "default", 11),
        endpoint("other"),
        first("other", "other", 20),
        endpoint("manual"),
        first("manual", "manual", 30, approval=_SLOW),
        endpoint("legacy", update_request=True, **_LEGACY),
        first("legacy", "legacy", 40),
        again("legacy-again", "legacy", 41),
        endpoint("issuer", include_chain="issuer"),
        first("issuer", "issuer", 50),
        endpoint("chain", include_chain="chain", ca_certificates="ra"),
        first("chain", "chain", 60),
        endpoint("omit", empty_content="omit", ca_certificates="ca"),
        first("omit", "omit", 70),
        endpoint("behalf"),
        first("behalf", "behalf", 80, authenticate=by_vendor),
        endpoint("dynamic"),
        first("dynamic", "dynamic", 90, authenticate={"challenge": {"accept": ["dynamic"]}}),
        endpoint("window"),
        first("window", "window", 100),
        again("window-again", "window", 101, renewal={"window": "1d"}),
        endpoint("late"),
        again("late", "late", 110, authenticate=renewing_vendor),
        endpoint("strict-late"),
        again("strict-late", "strict-late", 120, authenticate={"renewal-cert": {"trust": "vendor"}}),
        endpoint("no-retrieval", retrieval=False, renewal_by_pkcsreq=False),
        first("no-retrieval", "no-retrieval", 130),
        again("no-retrieval-again", "no-retrieval", 131),
        endpoint("minute"),
        first("minute", "minute", 150, validity={"default": "1m"}),
        endpoint("small", max_body_bytes=4096),
        first("small", "small", 140),
    ]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScepLab]:
    """The gateway of a module."""
    vendor = pki.Authority("Vendor Root")
    with running_lab(tmp_path_factory.mktemp("scep"), *_documents(vendor), vendor=vendor) as started:
        yield started
