"""npm's acme-client 5.4, unmodified, driven by acme_client/lifecycle.cjs (acme.md part D)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.acme_programs import ACME_CLIENT_MODULES, CONTACT, AcmeLab, ExternalKey, run_client
from tests.support.openssl import Judge

pytestmark = pytest.mark.interop

SCRIPT = Path(__file__).with_name("acme_client") / "lifecycle.cjs"


@pytest.mark.parametrize("endpoint", ["default", "eab"])
def test_acme_client_lives_its_life_with_two_account_keys(
    acme_lab: AcmeLab, acme_judge: Judge, tmp_path: Path, external_key: ExternalKey, endpoint: str
) -> None:
    """acme.md C50, C54, C55, C57, C92"""
    binding = {"kid": external_key.kid, "hmacKey": external_key.hmac_key} if endpoint == "eab" else None
    assert ACME_CLIENT_MODULES.is_dir(), "scripts/test interop installs it"
    with acme_lab.webroot(tmp_path) as challenges:
        settings = {
            "directory": acme_lab.directory(endpoint),
            "challenges": str(challenges),
            "contact": CONTACT,
            "names": [f"npm-{endpoint}.test", f"www.npm-{endpoint}.test"],
            "external_key": binding,
        }
        trust = {"NODE_EXTRA_CA_CERTS": str(acme_lab.root_pem), "NODE_PATH": str(ACME_CLIENT_MODULES)}
        run_client("node", SCRIPT, json.dumps(settings), cwd=tmp_path, environment=trust)
    acme_judge.assert_revoked(tmp_path / "first.pem")
    acme_judge.assert_valid(tmp_path / "second.pem")
