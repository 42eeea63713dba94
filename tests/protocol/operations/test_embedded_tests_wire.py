"""Tests in policies as a running gateway takes them: it answers as they say, and refuses to load what fails
them."""

from __future__ import annotations

import json
import signal
import ssl
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import pki, policies
from tests.support.answers import issued, refused
from tests.support.gateway import Gateway, GatewayDidNotStartError

Start = Callable[..., Gateway]
TESTS = [
    {
        "name": "one of ours",
        "request": {"csr": {"dns": ["a.one.test"]}},
        "expect": {"decision": "allow", "subject": "CN=a.one.test"},
    },
    {
        "name": "nobody else's",
        "request": {"csr": {"dns": ["a.two.test"]}},
        "expect": {"decision": "deny", "code": "name.not-allowed", "http": "400"},
    },
]


def _bundle(*suffixes: str) -> str:
    names = {"subject": "first-dns", "dns": {"suffix": list(suffixes)}}
    policy = policies.enroll_policy("enroll", "default", priority=1, names=names, tests=TESTS)
    return policies.bundle(policies.endpoint("default"), policy)["bundle.yaml"]


def _readiness(gateway: Gateway) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=str(gateway.root_pem))
    with urllib.request.urlopen(
        gateway.quickstart["https"] + "/readyz", context=context, timeout=60
    ) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def _until_degraded(gateway: Gateway) -> str:
    deadline = time.monotonic() + 60
    while not (found := _readiness(gateway))["degraded"]:
        assert time.monotonic() < deadline, "readiness does not tell of the failing test"
        time.sleep(0.1)
    assert found["ready"] is True
    return str(found["components"]["policy"])


def test_policy_that_fails_its_tests_is_not_taken_and_the_one_before_goes_on(start_gateway: Start) -> None:
    gateway = start_gateway(policies={"bundle.yaml": _bundle("one.test")})
    client = gateway.est_client()

    def enroll(host: str) -> Any:
        return client.simple_enroll(pki.csr(pki.key(), cn=host, sans=[host]))

    issued(enroll("a.one.test"))
    refused(enroll("a.two.test"), 400, "name.not-allowed")
    (gateway.directory / "policies" / "bundle.yaml").write_text(_bundle("one.test", "two.test"))
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)
    told = _until_degraded(gateway)
    assert 'test "nobody else\'s": expected deny, got allow' in told.replace("\\", "")
    refused(enroll("b.two.test"), 400, "name.not-allowed")
    issued(enroll("b.one.test"))


def test_policy_that_fails_its_tests_stops_the_start(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gateway", policies={"bundle.yaml": _bundle("two.test")})
    with pytest.raises(GatewayDidNotStartError) as error:
        gateway.start()
    assert "test 'one of ours': expected allow, got deny: name.not-allowed (enroll.names.dns at " in str(
        error.value
    )
    assert "Traceback" not in gateway.log
