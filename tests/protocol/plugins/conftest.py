"""A gateway whose second CA and second front end come from another distribution, by entry point."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import policies
from tests.support.gateway import Gateway, running
from tests.unit.ca_backend.sample_ca import SampleCa

LISTENERS = [
    {
        "name": "https",
        "port": 0,
        "client_certificate": "request",
        "serves": ["est", "sample", "api"],
    },
    {"name": "http", "port": 0, "tls": "off", "serves": ["crl", "ca"]},
]

StartRemote = Callable[..., tuple[Gateway, SampleCa]]


def remote_policies(address: str, retry: str, **policy: Any) -> dict[str, str]:
    """EST at the endpoint ``remote`` issues by the sample CA, the protocol ``sample`` by the embedded one."""
    sample_policy = policies.enroll_policy("by-sample", "front", priority=20)
    sample_policy["match"]["protocol"] = "sample"
    return dict(
        policies.bundle(
            policies.document(
                "Backend", "remote", type="sample-remote", options={"address": address, "retry": retry}
            ),
            policies.endpoint("default"),
            policies.endpoint("remote", backend="remote"),
            policies.document("Endpoint", "front", protocol="sample", backend="embedded"),
            policies.enroll_policy(
                "by-remote", "remote", priority=10, **{"issue": [{"backend": "remote"}], **policy}
            ),
            sample_policy,
        )
    )


@pytest.fixture
def start_remote(tmp_path: Path) -> Iterator[StartRemote]:
    """``start_remote("findable", "--lose-after", "1")`` gives a gateway and the CA behind it."""
    with ExitStack() as stack:

        def start(
            retry: str, *switches: str, policy: dict[str, Any] | None = None
        ) -> tuple[Gateway, SampleCa]:
            ca = stack.enter_context(SampleCa(tmp_path / "ca", "--retry", retry, *switches))
            gateway = stack.enter_context(
                running(
                    tmp_path / "gateway",
                    policies=remote_policies(ca.address, retry, **(policy or {})),
                    config={"listeners": LISTENERS},
                )
            )
            return gateway, ca

        yield start


def journal(ca: SampleCa) -> list[dict[str, Any]]:
    """Every line that the CA has written."""
    return [json.loads(line) for line in (ca.state / "journal.jsonl").read_text().splitlines()]


def issued_orders(ca: SampleCa) -> list[str]:
    return [line["order_id"] for line in journal(ca) if line["kind"] == "issued"]
