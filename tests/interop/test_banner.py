"""The start banner's commands for SCEP and its like, pasted as they stand."""

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
