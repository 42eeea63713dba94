"""Which policies decide after a reload, a crash and a mistake (docs/operations.md)."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.support import pki, policies
from tests.support.answers import issued, refused
from tests.support.authority import Authority
from tests.support.gateway import Gateway

Start = Callable[..., Gateway]
NAMES = {"subject": "first-dns"}


def _policy(name: str, priority: int, suffix: str, **parts: Any) -> policies.Document:
    names = {**NAMES, "dns": {"suffix": [suffix]}}
    return policies.enroll_policy(name, "default", priority=priority, names=names, **parts)


def _bundle(suffix: str) -> str:
    return policies.bundle(policies.endpoint("default"), _policy("enroll", 1, suffix))["bundle.yaml"]


def _with_second_ca(suffix: str) -> str:
    """The default endpoint issues from a CA that did not exist at the start."""
    documents = (
        policies.document("Backend", "second", type="embedded"),
        policies.endpoint("default", backend="second"),
        _policy("enroll", 1, suffix, issue=[{"backend": "second"}]),
    )
    return policies.bundle(*documents)["bundle.yaml"]


def _write(gateway: Gateway, text: str) -> None:
    (gateway.directory / "policies" / "bundle.yaml").write_text(text)


def _hang_up(gateway: Gateway) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)


def _until(condition: Callable[[], bool], what: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def _kill_worker(gateway: Gateway) -> None:
    before = gateway.worker_pids
    os.kill(before[0], signal.SIGKILL)
    _until(lambda: len(gateway.worker_pids) == len(before) and gateway.worker_pids != before, "no new worker")


def _enroll(gateway: Gateway, host: str) -> Any:
    return gateway.est_client().simple_enroll(pki.csr(pki.key(), cn=host, sans=[host]))


def _reloads(gateway: Gateway) -> int:
    return gateway.log.count("policy.reloaded")


def _audited(gateway: Gateway) -> list[str]:
    gateway.cli("audit", "verify")
    exported = gateway.cli("audit", "export").stdout.splitlines()
    events = [json.loads(line) for line in exported]
    return [event["object_id"] for event in events if event["action"] == "policy.activate"]


def test_worker_that_is_restarted_over_a_broken_draft_decides_as_before(start_gateway: Start) -> None:
    gateway = start_gateway(policies={"bundle.yaml": _bundle("one.test")})
    _write(gateway, _bundle("two.test")[:-40])
    _kill_worker(gateway)
    issued(_enroll(gateway, "a.one.test"))
    assert gateway.log.count("worker.ended") == 1


def test_worker_that_is_restarted_never_decides_by_a_draft(start_gateway: Start) -> None:
    gateway = start_gateway(policies={"bundle.yaml": _bundle("one.test")})
    _write(gateway, _bundle("two.test"))
    _hang_up(gateway)
    _until(lambda: _reloads(gateway) == 1, "no reload")
    _write(gateway, _bundle("three.test"))
    _kill_worker(gateway)
    issued(_enroll(gateway, "a.two.test"))
    refused(_enroll(gateway, "a.three.test"), 400, "name.not-allowed")


def test_restarted_worker_needs_no_file_that_a_trust_store_names(start_gateway: Start) -> None:
    store = policies.document("TrustStore", "ours", files=["ours.pem"], revocation="none")
    documents = (policies.endpoint("default"), store, _policy("enroll", 1, "one.test"))
    texts = {**policies.bundle(*documents), "ours.pem": Authority().certificate_pem.decode()}
    gateway = start_gateway(policies=texts)
    (gateway.directory / "policies" / "ours.pem").unlink()
    _kill_worker(gateway)
    issued(_enroll(gateway, "a.one.test"))


def test_new_ca_of_a_reload_is_made_once_and_published_by_every_worker(start_gateway: Start) -> None:
    gateway = start_gateway(policies={"bundle.yaml": _bundle("one.test")}, workers=2)
    _write(gateway, _with_second_ca("two.test"))
    _hang_up(gateway)
    # A worker may follow the other one before its own signal comes, and then reloads once more.
    _until(lambda: _reloads(gateway) >= 2, "no reload in both workers")
    assert "policy.reload-failed" not in gateway.log
    http = gateway.quickstart["http"]
    issuers = set()
    for number in range(12):  # new connections, so that both workers answer
        issuers.add(issued(_enroll(gateway, f"device-{number}.two.test")).issuer)
        for path in ("/crl/second-issuing.crl", "/crl/second-root.crl", "/ca/second-issuing.cer"):
            with urllib.request.urlopen(http + path, timeout=60) as answer:
                assert answer.status == 200
    assert len(issuers) == 1
    assert sorted(path.name for path in (gateway.data / "ca").iterdir()) == ["embedded", "second"]
    _until(lambda: len(_audited(gateway)) == 2, "the activation is not in the audit log")
    bundle = json.loads((gateway.data / "policies.active.json").read_text())["sha256"]
    assert _audited(gateway)[-1] == bundle
    gateway.policies = {"bundle.yaml": _with_second_ca("two.test")}
    gateway.restart()
    assert len(_audited(gateway)) == 2


def test_backend_that_cannot_be_opened_leaves_the_old_policies_deciding(start_gateway: Start) -> None:
    gateway = start_gateway(policies={"bundle.yaml": _bundle("one.test")}, workers=2)
    (gateway.data / "ca" / "second").mkdir()  # lost files: nothing may be made in their place
    _write(gateway, _with_second_ca("two.test"))
    _hang_up(gateway)
    _until(lambda: gateway.log.count("policy.reload-failed") == 2, "no failed reload in both workers")
    issued(_enroll(gateway, "a.one.test"))
    _kill_worker(gateway)
    for number in range(6):
        issued(_enroll(gateway, f"b-{number}.one.test"))
    assert len(_audited(gateway)) == 1


def test_renewed_listener_certificate_is_taken_without_the_drafts(start_gateway: Start) -> None:
    gateway = start_gateway(policies={"bundle.yaml": _bundle("one.test")})
    _write(gateway, _bundle("two.test"))
    pem = gateway.data / "tls" / "server.pem"
    pem.with_suffix(".new").write_bytes(pem.read_bytes())
    pem.with_suffix(".new").replace(pem)
    _until(lambda: "tls.reloaded" in gateway.log, "the certificate file is not read again")
    issued(_enroll(gateway, "a.one.test"))
    assert _reloads(gateway) == 0


def test_database_steps_are_not_told_at_the_first_start(start_gateway: Start) -> None:
    assert "alembic." not in start_gateway().log
