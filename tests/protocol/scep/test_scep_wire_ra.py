"""RA certificates: an administrator's own, and what happens while one takes the place of another
(scep.md C30, C50)."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.support import keys, pki, policies
from tests.support.authority import key_usage
from tests.support.gateway import GatewayDidNotStartError
from tests.support.scep_answer import BAD_REQUEST, PENDING, SUCCESS, issued, refused
from tests.support.scep_client import CERT_POLL, Device, ScepServer
from tests.support.scep_lab import ScepLab, bundle, endpoint, first, rsa_key, running_lab

PATIENCE_S = 90.0  # nothing here is about how fast the machine is
SLOW: dict[str, Any] = {"required": 1, "expires": "1h", "retry_after": "1s"}


BOTH = ("digital_signature", "key_encipherment")


def _ra(
    directory: Path,
    *,
    usages: tuple[str, ...] = BOTH,
    starts: int = -1,
    ends: int = 90,
    other_key: bool = False,
    key: str = "ra",
) -> dict[str, str]:
    """Files of an RA certificate, good or not; days count from now."""
    directory.mkdir()
    authority = pki.Authority("House CA", private_key=rsa_key("house"))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(keys.name("House RA"))
        .issuer_name(authority.name)
        .public_key(rsa_key(key).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=starts))
        .not_valid_after(now + timedelta(days=ends))
        .add_extension(key_usage(*usages), critical=True)
        .sign(rsa_key("house"), hashes.SHA256())
    )
    (directory / "ra.pem").write_bytes(
        pki.Identity(certificate, rsa_key(key), (authority.certificate,)).chain_pem
    )
    (directory / "ra.key").write_bytes(pki.key_pem(rsa_key("other" if other_key else key)))
    (directory / "ra.key").chmod(0o600)
    return {"certificate": f"file:{directory}/ra.pem", "key": f"file:{directory}/ra.key"}


WRONG: dict[str, dict[str, Any]] = {
    "expired": {"starts": -9, "ends": -1},
    "not-yet-valid": {"starts": 1, "ends": 9},
    "usage": {"usages": ("digital_signature",)},
    "key": {"other_key": True},
}

WORDS = {
    "expired": "expired on",
    "not-yet-valid": "not yet",
    "usage": "lacks keyEncipherment",
    "key": "is not the key of",
}


@pytest.mark.parametrize("what", WRONG)
def test_gateway_with_a_wrong_ra_certificate_does_not_start(
    start_gateway: Callable[..., Any], tmp_path: Path, what: str
) -> None:
    """scep.md C50, B13: said at the start, not at the first request."""
    identity = _ra(tmp_path / "ra", **WRONG[what])
    documents = (endpoint("default", identity=identity), first("default", "default", 10))
    with pytest.raises(GatewayDidNotStartError) as caught:
        start_gateway(policies=bundle(*documents))
    assert "Traceback" not in str(caught.value)
    assert "endpoint scep/default" in str(caught.value)
    assert WORDS[what] in str(caught.value)


def test_ra_certificate_of_the_administrators_opens_and_signs(tmp_path: Path) -> None:
    """scep.md C50, B18: one dual-use certificate of another CA."""
    identity = _ra(tmp_path / "ra")
    documents = (endpoint("default", identity=identity), first("default", "default", 10))
    with running_lab(tmp_path / "gateway", *documents) as lab:
        assert lab.server().ra.public_key() == rsa_key("ra").public_key()
        issued(lab.device().enrol(lab.challenge))


# -- warnings --


@pytest.mark.parametrize("ends", [20, 60])
def test_ra_certificate_that_ends_soon_is_warned_of_at_the_start_and_serves(
    tmp_path: Path, ends: int
) -> None:
    """scep.md C50: in the last thirty days, in the log and by readiness."""
    identity = _ra(tmp_path / "ra", ends=ends)
    documents = (endpoint("default", identity=identity), first("default", "default", 10))
    with running_lab(tmp_path / "gateway", *documents) as lab:
        issued(lab.device().enrol(lab.challenge))
        (warned,) = _warned(lab) or [""]
        ready = lab.server().request("GET", "", path="/readyz")
        state = json.loads(ready.body)["components"]["identity scep/default"]
        soon = ends < 30
        assert ("identity scep/default: degraded: it ends on " in warned) is soon
        assert ("name a new one under `identity` of the endpoint" in warned) is soon
        assert (state == "ok") is not soon


def _warned(lab: ScepLab) -> list[str]:
    return [line for line in lab.gateway.log.splitlines() if "start.identity" in line]


# -- one takes the place of another --


def _reloaded(lab: ScepLab, documents: tuple[policies.Document, ...], **more: Any) -> ScepServer:
    """Other policies by SIGHUP; the endpoint ``default`` once it gives another RA certificate, as a client
    sees it that comes now."""
    now = ScepServer(lab.url()).learned()
    before = now.ra
    now.close()
    lab.gateway.policies = bundle(*documents, **more)  # for restarts too
    for name, text in lab.gateway.policies.items():
        (lab.gateway.directory / "policies" / name).write_text(text)
    assert lab.gateway.process is not None
    lab.gateway.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE_S
    while (server := ScepServer(lab.url()).learned()).ra == before:
        server.close()
        assert time.monotonic() < deadline, "the RA certificate did not change"
        time.sleep(0.1)
    return server


def _enrols(server: ScepServer, challenge: str) -> None:
    """A client that knows the RA certificate that ``server`` gave is served, and answered by that one."""
    reply = Device(server, rsa_key("device")).enrol(challenge)
    assert reply.status == SUCCESS
    assert reply.signer == server.ra


def _own(identity: Mapping[str, Any], **parts: Any) -> tuple[policies.Document, ...]:
    return endpoint("default", identity=identity), first("default", "default", 10, **parts)


def test_clients_that_know_the_ra_certificate_before_are_served_while_it_is_named(tmp_path: Path) -> None:
    """scep.md C30: by SIGHUP, and after a restart; who is left out later is told to fetch the new one."""
    old, new = _ra(tmp_path / "old", key="old-ra"), _ra(tmp_path / "new", key="new-ra")
    with running_lab(tmp_path / "gateway", *_own(old)) as lab:
        _enrols(lab.server(), lab.challenge)
        later = _reloaded(lab, _own({**new, "previous": [old]}))
        for server in (lab.server(), later, lab.server()):
            _enrols(server, lab.challenge)
        lab.gateway.restart()
        for server in (lab.server(), later):
            server.close()
            _enrols(server, lab.challenge)
        _check_forgotten(lab, _ra(tmp_path / "third", key="third-ra"))
        later.close()


def _check_forgotten(lab: ScepLab, third: Mapping[str, str]) -> None:
    """With ``third`` alone, the first one opens nothing any more."""
    latest = _reloaded(lab, _own(third))
    device = lab.device()
    answer = lab.server().post(device.message(device.csr(lab.challenge)).build())
    text = refused(latest.reply(answer, device.signer), BAD_REQUEST, "message.asn1")
    assert "fetch it anew with GetCACert" in text
    _enrols(latest, lab.challenge)
    latest.close()


def test_request_that_waits_is_polled_by_the_ra_certificate_that_it_began_with(tmp_path: Path) -> None:
    """scep.md C30, C45: or by the new one; each answer is signed by the one that was addressed."""
    old, new = _ra(tmp_path / "old", key="old-ra"), _ra(tmp_path / "new", key="new-ra")
    with running_lab(tmp_path / "gateway", *_own(old, approval=SLOW)) as lab:
        device = lab.device()
        assert device.enrol(lab.challenge).status == PENDING
        later = _reloaded(lab, _own({**new, "previous": [old]}, approval=SLOW))
        renewed = Device(later, device.private_key, device.cn, device.transaction_id)
        for asking in (device, renewed):
            reply = asking.poll()
            assert (reply.status, reply.signer) == (PENDING, asking.server.ra)
        lab.approve(device)
        certificates = {_until_issued(asking) for asking in (device, renewed)}
        assert len(certificates) == 1
        later.close()


def _until_issued(device: Device) -> x509.Certificate:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        reply = device.send(device.message(device.issuer_and_subject(), CERT_POLL))
        assert reply.signer == device.server.ra
        if reply.status == SUCCESS:
            return issued(reply)
        assert time.monotonic() < deadline, "never issued"
        time.sleep(0.1)


def test_ra_certificate_that_the_gateway_made_is_replaced_without_a_gap(tmp_path: Path) -> None:
    """scep.md C30: when the endpoint moves to another CA; the one before opens on, after a restart too."""
    cas = [{"name": "issuing"}, {"name": "scep", "key": "rsa-2048"}, {"name": "second", "key": "rsa-2048"}]

    def documents(ca: str) -> tuple[policies.Document, ...]:
        return endpoint("default", ca=ca), first("default", "default", 10)

    with running_lab(tmp_path / "gateway", policies=bundle(*documents("scep"), cas=cas)) as lab:
        _enrols(lab.server(), lab.challenge)
        later = _reloaded(lab, documents("second"), cas=cas)
        assert later.ra.issuer != lab.server().ra.issuer
        for server in (lab.server(), later):
            _enrols(server, lab.challenge)
        lab.gateway.restart()
        for server in (lab.server(), later):
            server.close()
            _enrols(server, lab.challenge)
        later.close()
