"""A full disk: 503 with Retry-After, nothing lost, and work goes on without a restart once there is room."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.est_stream import only_certificate
from tests.support import pki
from tests.support.database import certificates
from tests.support.est_client import Answer, EstClient
from tests.support.gateway import Gateway, running

pytestmark = [pytest.mark.harness, pytest.mark.timeout(600)]
DISK_MIB = 16
ROOM_KIB = 600  # left free for certificates; a few hundred fit
MOST_REQUESTS = 5000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of a few MiB; needs root, as scripts/test says."""
    mount_point = tmp_path / "disk"
    mount_point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(mount_point)], check=True)
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", "--lazy", str(mount_point)], check=True)


def _enroll(client: EstClient, number: int) -> Answer:
    return client.simple_enroll(pki.device_csr(pki.key(), f"full-{number}.test"))


def _leaf(answer: Answer) -> bytes:
    return only_certificate(answer.der)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_full_disk_refuses_politely_loses_nothing_and_recovers(small_disk: Path) -> None:
    with running(small_disk / "gateway") as gateway:
        client = gateway.est_client()
        received: list[bytes] = []
        ballast = small_disk / "ballast"
        _fill(ballast, small_disk)
        refused = _until_refused(client, received)
        assert refused.status == 503, refused.text
        assert int(refused.header("Retry-After") or 0) > 0
        # Reading does not need room: CA certificates are still served.
        assert client.cacerts().status == 200
        ballast.unlink()
        _until_issued(client, received)
        _assert_all_recorded(gateway, received)
        assert "Traceback" not in gateway.log


def _fill(ballast: Path, disk: Path) -> None:
    free = os.statvfs(disk)
    size = free.f_bavail * free.f_frsize - ROOM_KIB * 1024
    assert size > 0, f"the gateway alone needs more than {DISK_MIB} MiB"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _until_refused(client: EstClient, received: list[bytes]) -> Answer:
    for number in range(MOST_REQUESTS):
        answer = _enroll(client, number)
        if answer.status != 200:
            return answer
        received.append(_leaf(answer))
    raise AssertionError(f"{MOST_REQUESTS} certificates fitted into {ROOM_KIB} KiB")


def _until_issued(client: EstClient, received: list[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        answer = _enroll(client, MOST_REQUESTS + len(received))
        if answer.status == 200:
            received.append(_leaf(answer))
            return
        assert answer.status == 503, answer.text
        time.sleep(0.2)
    raise AssertionError("still refused 90 s after there was room again")


def _assert_all_recorded(gateway: Gateway, received: list[bytes]) -> None:
    stored = certificates(gateway.sql_url)
    for certificate_der in received:
        assert stored[hashlib.sha256(certificate_der).hexdigest()][1] == certificate_der
    assert gateway.cli_json("audit", "verify")["ok"] is True
