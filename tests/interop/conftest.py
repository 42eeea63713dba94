"""The judge of interop tests, a gateway with a label that waits for approval, and one for ACME clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import acme_policies, challtestsrv, policies
from tests.support import gateway as gateways
from tests.support.acme_programs import AcmeLab, ExternalKey
from tests.support.gateway import Gateway
from tests.support.openssl import Judge
from tests.support.ports import spare_port

APPROVAL = {"required": 1, "expires": "1h", "retry_after": "1s"}


FOREIGN_CLIENT_S = 600  # a slow machine starts gateways and other people's programs several times in one test


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give what stands here and has no timeout of its own more time than other tests."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(FOREIGN_CLIENT_S))


@pytest.fixture
def judge(gateway: Gateway, tmp_path: Path) -> Judge:
    return Judge(gateway, tmp_path)


@pytest.fixture(scope="module")
def approving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """strongSwan's pki knows no labels, so that the default endpoint is the one that waits."""
    documents = (
        policies.own_certificates(),
        policies.endpoint("default"),
        policies.enroll_policy("approval", "default", priority=10, approval=APPROVAL),
    )
    with gateways.running(
        tmp_path_factory.mktemp("approving"), policies=policies.bundle(*documents)
    ) as started:
        yield started


def _acme_documents() -> list[policies.Document]:
    short_lived = {"default": "7d", "client_may_request": True}
    return [
        acme_policies.acme_endpoint("default"),
        acme_policies.acme_policy("servers", priority=20),
        acme_policies.acme_policy(
            "short-lived",
            priority=10,
            profile="short-lived",
            description="a week, for hosts that renew every few days",
            validity=short_lived,
        ),
        acme_policies.acme_endpoint("eab", eab="always"),
        acme_policies.acme_policy("bound", "eab", priority=30),
        acme_policies.acme_endpoint("approval"),
        acme_policies.acme_policy("approved", "approval", priority=40, approval=APPROVAL),
    ]


@pytest.fixture(scope="session")
def acme_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcmeLab]:
    """One gateway for all ACME clients, with a DNS server that answers 127.0.0.1 to every name.

    The endpoint ``eab`` wants an external account, orders at ``approval`` wait for a person, ``default``
    offers the profile ``short-lived``.
    """
    directory = tmp_path_factory.mktemp("acme")
    ports = {"http01_port": spare_port(), "tls_alpn01_port": spare_port()}
    with challtestsrv.serving(directory / "challtestsrv.log") as dns:
        config = {"validation": {"resolvers": [dns.address]}, "lab": {"enabled": True, **ports}}
        bundle = policies.bundle(*_acme_documents())
        with gateways.running(directory / "gateway", policies=bundle, config=config) as started:
            yield AcmeLab(started, dns, **ports)


@pytest.fixture
def acme_judge(acme_lab: AcmeLab, tmp_path: Path) -> Judge:
    return Judge(acme_lab.gateway, tmp_path)


@pytest.fixture
def external_key(acme_lab: AcmeLab) -> ExternalKey:
    """A new external account of the endpoint ``eab``."""
    added = acme_lab.gateway.cli_json("credential", "add", "acme-eab", "--endpoint", "eab")
    return ExternalKey(added["kid"], added["hmac_key"])
