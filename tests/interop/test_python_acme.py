"""The ``acme`` library 5.9 below certbot, driven by python_acme_client.py (acme.md part D)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.acme_programs import CERTBOT_PYTHON, CONTACT, AcmeLab, installed, run_client
from tests.support.openssl import Judge

pytestmark = pytest.mark.interop

SCRIPT = Path(__file__).with_name("python_acme_client.py")


def test_acme_library_lives_its_life_with_two_account_keys(
    acme_lab: AcmeLab, acme_judge: Judge, tmp_path: Path
) -> None:
    """acme.md C50, C55, C57, C92, C95"""
    with acme_lab.webroot(tmp_path) as challenges:
        settings = {
            "directory": acme_lab.directory(),
            "challenges": str(challenges),
            "contact": CONTACT,
            "names": ["python-acme.test", "www.python-acme.test"],
        }
        trust = {"REQUESTS_CA_BUNDLE": str(acme_lab.root_pem)}
        run_client(installed(CERTBOT_PYTHON), SCRIPT, json.dumps(settings), cwd=tmp_path, environment=trust)
    acme_judge.assert_revoked(tmp_path / "first.pem")
    acme_judge.assert_valid(tmp_path / "second.pem")
