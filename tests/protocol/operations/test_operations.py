"""Starting, watching, reloading and stopping the real gateway (docs/operations.md)."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.support import pki, policies
from tests.support.answers import issued, refused
from tests.support.devices import device_name, enroll_device
from tests.support.gateway import Gateway, GatewayDidNotStartError

Start = Callable[..., Gateway]


def _get(gateway: Gateway, path: str) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=str(gateway.root_pem))
    try:
        with urllib.request.urlopen(
            gateway.quickstart["https"] + path, context=context, timeout=60
        ) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _ready(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_get(gateway, "/readyz")[1])
    return found


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def _bundle(suffix: str) -> str:
    return policies.bundle(
        policies.endpoint("default"),
        policies.enroll_policy(
            "enroll", "default", priority=1, names={"subject": "first-dns", "dns": {"suffix": [suffix]}}
        ),
    )["bundle.yaml"]


def test_second_start_keeps_everything(start_gateway: Start) -> None:
    gateway = start_gateway()
    before, device = gateway.quickstart, enroll_device(gateway.est_client())
    root = gateway.root_pem.read_bytes()
    gateway.restart()
    assert gateway.quickstart == before
    assert gateway.root_pem.read_bytes() == root
    listed = gateway.cli_json("cert", "list")["certificates"]
    assert f"{device.certificate.serial_number:x}" in {row["serial"] for row in listed}
    enroll_device(gateway.est_client())


def test_quickstart_is_there_only_while_the_gateway_is_ready(start_gateway: Start) -> None:
    gateway = start_gateway()
    assert oct(gateway.quickstart_path.stat().st_mode & 0o777) == "0o600"
    assert gateway.stop() == 0
    assert not gateway.quickstart_path.exists()


def test_health_and_readiness_are_answered(start_gateway: Start) -> None:
    gateway = start_gateway()
    assert _get(gateway, "/healthz") == (200, b"ok\n")
    assert _ready(gateway)["ready"] is True
    assert _get(gateway, "/nothing/here")[0] == 404


def test_metrics_count_outcomes_on_a_listener_of_their_own(start_gateway: Start) -> None:
    gateway = start_gateway()
    enroll_device(gateway.est_client())
    told = 'pkigate_outcomes_total{code="",outcome="issued",protocol="est"} 1.0'
    _until(lambda: told in _metrics(gateway), "the certificate is not counted")
    assert _get(gateway, "/metrics")[0] in (403, 404)


def test_metrics_count_what_the_recorder_wrote(start_gateway: Start) -> None:
    gateway = start_gateway()
    enroll_device(gateway.est_client())
    _until(lambda: "pkigate_recorder_units_total 0.0" not in _metrics(gateway), "nothing is counted")
    assert "pkigate_recorder_failures_total 0.0" in _metrics(gateway)


def _metrics(gateway: Gateway) -> str:
    port = json.loads((gateway.data / "ports.json").read_text())["ports"]["metrics"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def test_changed_policy_decides_after_sighup_and_a_broken_one_does_not(start_gateway: Start) -> None:
    gateway = start_gateway(policies={"bundle.yaml": _bundle("one.test")})
    file = gateway.directory / "policies" / "bundle.yaml"
    client = gateway.est_client()

    def enroll(host: str) -> Any:
        return client.simple_enroll(pki.csr(pki.key(), cn=host, sans=[host]))

    issued(enroll("a.one.test"))
    refused(enroll("a.two.test"), 400, "name.not-allowed")
    file.write_text(_bundle("two.test"))
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)
    _until(lambda: enroll("b.two.test").status == 200, "the new policy does not decide")
    file.write_text(_bundle("three.test").replace('"priority": 1', '"priorty": 1'))
    gateway.process.send_signal(signal.SIGHUP)
    _until(lambda: bool(_ready(gateway)["degraded"]), "readiness does not tell of the broken policy")
    assert "bundle.yaml:" in _ready(gateway)["components"]["policy"]
    assert _ready(gateway)["ready"] is True
    issued(enroll("c.two.test"))


def test_sighup_takes_a_new_certificate_and_keeps_open_connections(start_gateway: Start) -> None:
    """est.md C56"""
    gateway = start_gateway()
    first = _served(gateway)
    with gateway.est_client().connection() as kept:
        assert kept.request("GET", "/healthz").status == 200
        (gateway.data / "tls" / "server.pem").unlink()
        gateway.stop()
    gateway.start()
    assert _served(gateway) != first
    with gateway.est_client().connection() as kept:
        assert kept.request("GET", "/healthz").status == 200
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGHUP)
        _until(lambda: "tls.reloaded" in gateway.log, "no reload")
        assert kept.request("GET", "/healthz").status == 200


def _served(gateway: Gateway) -> int:
    host, _, port = gateway.quickstart["https"].partition("//")[2].partition(":")
    pem = ssl.get_server_certificate((host, int(port)))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_broken_policy_stops_the_start_with_its_place(tmp_path: Path) -> None:
    broken = _bundle("one.test").replace('"priority": 1', '"priorty": 1')
    gateway = Gateway(tmp_path / "gateway", policies={"bundle.yaml": broken})
    with pytest.raises(GatewayDidNotStartError) as error:
        gateway.start()
    assert "exit code 1" in str(error.value)
    assert "bundle.yaml:" in str(error.value)
    assert "priority" in str(error.value)
    assert "Traceback" not in gateway.log


def test_port_in_use_stops_the_start_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateway = Gateway(tmp_path / "gateway", arguments=["--http-port", str(port)])
        with pytest.raises(GatewayDidNotStartError) as error:
            gateway.start()
    assert f"port {port} is in use" in str(error.value)
    assert "--http-port" in str(error.value)
    assert "Traceback" not in gateway.log


def test_demo_credentials_are_refused_on_an_open_address(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gateway", arguments=["--host", "0.0.0.0"])
    with pytest.raises(GatewayDidNotStartError) as error:
        gateway.start()
    assert "demo_credentials" in str(error.value)


def test_data_directory_is_private(start_gateway: Start) -> None:
    gateway = start_gateway()
    for path in gateway.data.rglob("*"):
        mode = path.stat().st_mode & 0o777
        if path.suffix == ".pem" and ".key" not in path.name:
            continue  # certificates are for everyone who may enter the directory
        if path.parent.name == "policies":
            continue
        assert not mode & 0o007, f"{path} has mode {mode:o}"
    assert oct(gateway.data.stat().st_mode & 0o777) == "0o700"


def test_no_private_key_lies_in_clear(start_gateway: Start) -> None:
    gateway = start_gateway()
    for path in gateway.data.rglob("*.key.pem"):
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes(), path


def test_secrets_stand_neither_in_database_nor_in_log(start_gateway: Start) -> None:
    gateway = start_gateway()
    made = gateway.cli_json("credential", "add", "--user", "canary")
    client = gateway.est_client(user="canary", password=made["secret"])
    issued(client.simple_enroll(pki.device_csr(pki.key(), device_name())))
    refused(
        gateway.est_client(user="canary", password="guess-" + made["secret"]).simple_enroll(
            pki.device_csr(pki.key(), device_name())
        ),
        401,
        "auth.failed",
    )
    gateway.stop()
    for path in [gateway.log_path, *gateway.data.rglob("*")]:
        if path.is_file():
            assert made["secret"].encode() not in path.read_bytes(), path


def test_killed_worker_is_replaced_and_the_others_go_on(start_gateway: Start) -> None:
    gateway = start_gateway(workers=2)
    before = gateway.worker_pids
    os.kill(before[0], signal.SIGKILL)
    _until(lambda: len(gateway.worker_pids) == 2 and gateway.worker_pids != before, "no new worker")
    enroll_device(gateway.est_client())


def test_quickstart_promises_names_only_while_the_packaged_policies_decide(start_gateway: Start) -> None:
    default = start_gateway("default")
    assert default.quickstart["names"] == ["*.test", "*.example", "*.internal", "localhost"]
    assert "names under *.test" in default.banner()
    own = start_gateway("own", policies={"bundle.yaml": _bundle("one.test")})
    assert "names" not in own.quickstart
    assert "if your policies allow device-1.test" in own.banner()


def test_request_under_another_host_name_is_404_where_public_urls_are_configured(
    start_gateway: Start,
) -> None:
    """est.md C58"""
    gateway = start_gateway(config={"public_urls": ["https://est.example.net", "http://est.example.net"]})
    client = gateway.est_client(url=f"https://localhost:{_port(gateway, 'https')}")
    path = "/.well-known/est/cacerts"
    with client.connection() as kept:
        assert kept.request("GET", path, headers=[("Host", "EST.example.net:443")]).status == 200
        refused_here = kept.request("GET", path, headers=[("Host", "evil.example.org")])
        assert refused_here.status == 404
        assert "evil.example.org" in refused_here.text
        assert kept.request("GET", "/healthz", headers=[("Host", "evil.example.org")]).status == 200


def _port(gateway: Gateway, listener: str) -> int:
    port: int = json.loads((gateway.data / "ports.json").read_text())["ports"][listener]
    return port
