"""The judge of interop tests, and a gateway with a label that waits for approval."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import gateway as gateways
from tests.support import policies
from tests.support.gateway import Gateway
from tests.support.openssl import Judge


@pytest.fixture
def judge(gateway: Gateway, tmp_path: Path) -> Judge:
    return Judge(gateway, tmp_path)


@pytest.fixture(scope="module")
def approving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """strongSwan's pki knows no labels, so that the default endpoint is the one that waits."""
    approval = {"required": 1, "expires": "1h", "retry_after": "1s"}
    documents = (
        policies.own_certificates(),
        policies.endpoint("default"),
        policies.enroll_policy("approval", "default", priority=10, approval=approval),
    )
    with gateways.running(
        tmp_path_factory.mktemp("approving"), policies=policies.bundle(*documents)
    ) as started:
        yield started
