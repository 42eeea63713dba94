"""Message identities in running gateways: at the start, over restarts, workers and hosts, and at SIGHUP."""

from __future__ import annotations

import json
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support import policies
from tests.support.gateway import ROOT, Gateway, GatewayDidNotStartError
from tests.unit.composition.identity_house import Brought

PROBE = {"environment": {"PYTHONPATH": str(ROOT / "tests" / "support" / "identity_plugin")}}
LISTENERS = [
    {"name": "https", "port": 0, "serves": ["est", "api"]},
    {"name": "http", "port": 0, "tls": "off", "serves": ["probe", "crl", "ca"]},
]
ISSUING = [{"name": "issuing"}, {"name": "scep", "key": "rsa-2048"}]


def _bundle(*names: str, **options: Any) -> dict[str, str]:
    """EST beside the endpoints ``names`` of the probe, which hand out the CA ``scep``."""
    documents = [
        policies.document("Endpoint", name, protocol="probe", backend="embedded", ca="scep", options=options)
        for name in names
    ]
    loud = policies.document("Compat", "loud", protocol="probe", priority=1, settings={"shout": True})
    text = policies.bundle(
        policies.endpoint("default"),
        policies.enroll_policy("enroll", "default", priority=1),
        loud,
        *documents,
    )["bundle.yaml"]
    plain = '"type": "embedded"'
    return {"bundle.yaml": text.replace(plain, f'{plain}, "options": {json.dumps({"issuing": ISSUING})}', 1)}


def _start(start: Callable[..., Gateway], name: str = "gateway", **options: Any) -> Gateway:
    options = {"policies": _bundle("default"), "config": {"listeners": LISTENERS}, **PROBE, **options}
    return start(name, **options)


def _told(gateway: Gateway, endpoint: str = "default") -> dict[str, Any]:
    with urllib.request.urlopen(f"{gateway.quickstart['http']}/probe/{endpoint}", timeout=60) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def _current(gateway: Gateway, endpoint: str = "default") -> x509.Certificate:
    return x509.load_der_x509_certificate(bytes.fromhex(_told(gateway, endpoint)["identities"][0]))


def _ready(gateway: Gateway) -> dict[str, Any]:
    with urllib.request.urlopen(f"{gateway.quickstart['http']}/readyz", timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _opens(gateway: Gateway, certificate: x509.Certificate) -> bool:
    public_key = certificate.public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    sealed = public_key.encrypt(b"opened here", padding.PKCS1v15()).hex()
    url = f"{gateway.quickstart['http']}/probe/default/open/{sealed}"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return bool(answer.read() == b"opened here")
    except urllib.error.HTTPError:
        return False


def _until(condition: Callable[[], bool], what: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _hang_up(gateway: Gateway, bundle: dict[str, str]) -> None:
    (gateway.directory / "policies" / "bundle.yaml").write_text(bundle["bundle.yaml"])
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)


def test_identity_is_there_at_the_first_start_and_the_same_after_a_restart(
    start_gateway: Callable[..., Gateway],
) -> None:
    gateway = _start(start_gateway)
    told, certificate = _told(gateway), _current(gateway)
    assert told["compatibility"] == ["loud"]
    assert certificate.issuer.rfc4514_string() == told["crl_issuer"]
    assert "SCEP CA" in told["crl_issuer"]
    assert _ready(gateway)["components"]["identity probe/default"] == "ok"
    gateway.restart()
    assert _told(gateway) == told
    assert _opens(gateway, certificate)


def test_gateways_and_workers_on_one_database_have_one_identity(
    start_gateway: Callable[..., Gateway], postgresql_server: Any
) -> None:
    """A client gets the certificate from one gateway and is answered by another."""
    url = postgresql_server.new_database()
    one = _start(start_gateway, "one", database_url=url, workers=2)
    two = Gateway(one.directory.parent / "two", database_url=url, policies=one.policies, **PROBE)
    two.config = {"listeners": LISTENERS}
    two.data.mkdir(parents=True, mode=0o700)
    shutil.copy2(one.data / "server.key", two.data)  # as docs/operations.md has it
    for part in ("keys", "ca"):
        shutil.copytree(one.data / part, two.data / part)
    two.start()
    try:
        certificate = _current(one)
        assert _current(two) == certificate
        assert all(_opens(gateway, certificate) for gateway in (one, two, one, two))
    finally:
        two.stop()


def test_start_with_an_expired_identity_is_refused_with_what_to_do(
    start_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    """scep.md C50"""
    named = Brought(starts=timedelta(days=-9), ends=timedelta(days=-1)).write(tmp_path)
    with pytest.raises(GatewayDidNotStartError, match=r"endpoint probe/default: .*ra\.pem: expired on "):
        _start(start_gateway, policies=_bundle("default", identity=named.model_dump(exclude_none=True)))


def test_identity_that_is_wrong_at_a_reload_leaves_the_one_before(
    start_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    gateway = _start(start_gateway)
    made = _current(gateway)
    named = Brought(kind="P-256").write(tmp_path).model_dump(exclude_none=True)
    _hang_up(gateway, _bundle("default", identity=named))
    _until(lambda: "policy" in _ready(gateway)["degraded"], "the mistake was not told")
    assert "only an RSA key can decrypt" in _ready(gateway)["components"]["policy"]
    assert _current(gateway) == made

    brought = Brought().write(tmp_path)
    _hang_up(gateway, _bundle("default", identity=brought.model_dump(exclude_none=True)))
    _until(lambda: _current(gateway) != made, "the administrator's identity was not taken")
    assert _current(gateway).subject.rfc4514_string() == "CN=Our ra"
    assert _opens(gateway, made)
    assert not _ready(gateway)["degraded"]


def test_endpoint_that_is_added_at_a_reload_gets_its_identity(start_gateway: Callable[..., Gateway]) -> None:
    gateway = _start(start_gateway)
    _hang_up(gateway, _bundle("default", "other"))
    _until(lambda: "identity probe/other" in _ready(gateway)["components"], "the endpoint was not taken")
    assert _current(gateway, "other").subject.rfc4514_string() == "CN=Probe other,O=pkigate"
    assert _ready(gateway)["components"]["identity probe/other"] == "ok"
