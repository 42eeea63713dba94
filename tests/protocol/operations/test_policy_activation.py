"""Which bundle decides after `policy activate` and `rollback`: on one host, on two, and where it cannot."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import ssl
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.support import pki, policies
from tests.support.answers import issued, refused
from tests.support.gateway import Gateway

Start = Callable[..., Gateway]


def _bundle(suffix: str, **parts: Any) -> str:
    """A bundle whose default endpoint issues for names below this suffix alone."""
    names = {"subject": "first-dns", "dns": {"suffix": [suffix]}}
    policy = policies.enroll_policy("enroll", "default", priority=1, names=names, **parts)
    return policies.bundle(policies.endpoint("default"), policy)["bundle.yaml"]


def _write(gateway: Gateway, text: str, directory: str = "policies") -> str:
    path = gateway.directory / directory
    path.mkdir(exist_ok=True)
    (path / "bundle.yaml").write_text(text)
    return str(path)


def _until(condition: Callable[[], bool], what: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def _hang_up(gateway: Gateway) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)


def _enroll(gateway: Gateway, host: str) -> Any:
    return gateway.est_client().simple_enroll(pki.csr(pki.key(), cn=host, sans=[host]))


def _taken(gateway: Gateway, sha256: str, times: int = 1) -> None:
    """Wait until so many workers (or one worker so often) decide by this bundle."""
    told = f"policy.reloaded {sha256}"
    _until(lambda: gateway.log.count(told) >= times, f"{sha256} is not taken")


def _ready(gateway: Gateway) -> dict[str, str]:
    url = gateway.quickstart["https"] + "/readyz"
    context = ssl.create_default_context(cafile=str(gateway.root_pem))
    with urllib.request.urlopen(url, timeout=60, context=context) as answer:
        found: dict[str, str] = json.loads(answer.read())["components"]
    return found


def _events(gateway: Gateway, action: str) -> list[dict[str, Any]]:
    lines = gateway.cli("audit", "export").stdout.splitlines()
    return [event for line in lines if (event := json.loads(line))["action"] == action]


def _metric(gateway: Gateway, name: str) -> float:
    port = json.loads((gateway.data / "ports.json").read_text())["ports"]["metrics"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def test_activated_bundle_decides_in_every_worker_and_a_rollback_outlives_a_restart(
    start_gateway: Start,
) -> None:
    gateway = start_gateway(policies={"bundle.yaml": _bundle("one.test")}, workers=2)
    first = gateway.cli_json("policy", "history")["active"]
    two = _write(gateway, _bundle("two.test"), "others")
    second = gateway.cli_json("policy", "activate", two, "--note", "two now")["active"]
    _taken(gateway, second, 2)
    certificate = issued(_enroll(gateway, "a.two.test"))
    refused(_enroll(gateway, "a.one.test"), 400, "name.not-allowed")
    recorded = gateway.cli_json("cert", "show", f"{certificate.serial_number:x}")
    assert second in json.dumps(recorded)
    with contextlib.closing(sqlite3.connect(gateway.data / "pkigate.sqlite3")) as database:
        rows = set(database.execute("SELECT state, bundle_sha256 FROM request"))
    assert rows == {("issued", second), ("refused", second)}
    assert gateway.cli_json("policy", "rollback")["active"] == first
    _taken(gateway, first, 2)
    issued(_enroll(gateway, "b.one.test"))
    gateway.cli("policy", "rollback", second)
    _taken(gateway, second, 4)
    gateway.restart()  # the files did not change, so they take nothing back
    issued(_enroll(gateway, "c.two.test"))
    hows = [event["details"]["how"] for event in _events(gateway, "policy.activate")]
    assert hows == ["files", "activate", "rollback", "rollback"]


def test_gateways_on_one_database_follow_each_other(start_gateway: Start, postgresql_server: Any) -> None:
    url = postgresql_server.new_database()
    texts = {"bundle.yaml": _bundle("one.test")}
    here = start_gateway("here", policies=texts, database_url=url)
    there = start_gateway("there", policies=texts, database_url=url)
    _write(here, _bundle("two.test"))
    _hang_up(here)
    _until(lambda: "policy.reloaded" in here.log, "no reload")
    _until(lambda: "policy.reloaded" in there.log, "the other gateway does not follow")
    issued(_enroll(there, "a.two.test"))
    refused(_enroll(there, "a.one.test"), 400, "name.not-allowed")
    there.restart()  # its own files are as they were when it followed
    issued(_enroll(there, "b.two.test"))
    here.cli("policy", "rollback")
    _until(lambda: there.log.count("policy.reloaded") == 2, "the other gateway does not follow back")
    issued(_enroll(there, "c.one.test"))


def test_draft_waits_for_its_activation_where_the_configuration_says_so(start_gateway: Start) -> None:
    gateway = start_gateway(
        policies={"bundle.yaml": _bundle("one.test")}, config={"policy_activation": "explicit"}
    )
    _write(gateway, _bundle("two.test"))
    _hang_up(gateway)
    gateway.policies = None  # the draft stays as it is
    gateway.config = {**gateway.config, "policies": str(gateway.directory / "policies")}
    gateway.restart()
    issued(_enroll(gateway, "a.one.test"))
    gateway.cli("policy", "activate")
    _until(lambda: "policy.reloaded" in gateway.log, "the activated bundle is not taken")
    issued(_enroll(gateway, "a.two.test"))
    _write(gateway, _bundle("three.test")[:-40])
    gateway.restart()  # nor does a broken draft stop a start
    issued(_enroll(gateway, "b.two.test"))


def test_bad_files_degrade_and_are_counted_and_told_once_until_they_are_mended(start_gateway: Start) -> None:
    gateway = start_gateway(policies={"bundle.yaml": _bundle("one.test")}, workers=2)
    for number in (1, 2):
        _write(gateway, _bundle("one.test")[:-40])
        _hang_up(gateway)
        _until(lambda n=number: gateway.log.count("policy.reload-failed") == 2 * n, "no failure")  # type: ignore[misc]  # mypy knows no defaults here
    _until(lambda: _metric(gateway, "pkigate_policy_reload_failed_total") == 4.0, "not counted")
    assert _ready(gateway)["policy"].startswith("degraded: bundle.yaml:")
    _until(lambda: bool(_events(gateway, "policy.reload-failed")), "the failure is not in the audit log")
    issued(_enroll(gateway, "a.one.test"))
    _write(gateway, _bundle("two.test"))
    _hang_up(gateway)
    _until(lambda: gateway.log.count("policy.reloaded") >= 2, "no reload in both workers")
    assert _ready(gateway)["policy"] == "ok"
    (event,) = _events(gateway, "policy.reload-failed")
    assert event["outcome"] == "failed"
    assert event["details"]["problem"].startswith("bundle.yaml:")


def test_stored_bundle_that_cannot_be_opened_here_leaves_the_old_one_and_is_left_by_a_rollback(
    start_gateway: Start,
) -> None:
    gateway = start_gateway(policies={"bundle.yaml": _bundle("one.test")})
    (gateway.data / "ca" / "second").mkdir()  # lost files: nothing may be made in their place
    second = policies.document("Backend", "second", type="embedded")
    text = f"{_bundle('two.test', issue=[{'backend': 'second'}])}---\n{json.dumps(second)}\n"
    gateway.cli("policy", "activate", _write(gateway, text, "others"))
    _until(lambda: _ready(gateway)["policy"].startswith("degraded"), "not degraded")
    issued(_enroll(gateway, "a.one.test"))
    gateway.cli("policy", "rollback")
    _until(lambda: _ready(gateway)["policy"] == "ok", "still degraded")
    issued(_enroll(gateway, "b.one.test"))
