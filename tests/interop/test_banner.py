"""The start banner's commands for SCEP and CMP, pasted as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.openssl import Judge, run

pytestmark = pytest.mark.interop


def test_scep_command_of_the_banner_gets_a_certificate(
    gateway: Gateway, judge: Judge, tmp_path: Path
) -> None:
    """strongSwan's pki with the demo challenge: the RA is checked against the root, then it enrols."""
    said = run(
        "bash", "-euo", "pipefail", "-c", gateway.banner_command("pki --scepca"), cwd=tmp_path
    ).decode()
    assert "scep-ra.pem: OK" in said
    assert "device-2.test" in said
    judge.assert_valid(tmp_path / "device-2.pem")


def test_cmp_command_of_the_banner_gets_a_certificate(gateway: Gateway, judge: Judge, tmp_path: Path) -> None:
    """Debian's `openssl cmp` with the demo secret: ir, ip, certConf, pkiConf."""
    command = gateway.banner_command(
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out device-3"
    )
    said = run("bash", "-euo", "pipefail", "-c", command, cwd=tmp_path).decode()
    assert "device-3.test" in said
    judge.assert_valid(tmp_path / "device-3.pem")
    states = {
        one["state"] for one in gateway.cli_json("request", "list")["requests"] if one["protocol"] == "cmp"
    }
    assert states == {"issued"}, "confirmed: a certificate without its certConf is unconfirmed"
