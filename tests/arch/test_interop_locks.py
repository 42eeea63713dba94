"""The foreign clients that the interop tests install are pinned by hash, and no lock names a registry."""

from __future__ import annotations

import json
import re
from pathlib import Path

INTEROP = Path(__file__).resolve().parents[1] / "interop"


def test_certbot_lock_pins_each_version_with_hashes_and_names_no_registry() -> None:
    text = (INTEROP / "requirements-certbot.lock").read_text()
    assert "://" not in text
    for block in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[a-z0-9-]+==\S+ \\", block), block
        assert "--hash=sha256:" in block, block


def test_npm_lock_pins_each_package_by_hash_and_names_no_registry() -> None:
    text = (INTEROP / "acme_client" / "package-lock.json").read_text()
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert packages.pop("")["dependencies"] == {
        "acme-client": packages["node_modules/acme-client"]["version"]
    }
    for path, package in packages.items():
        assert package["integrity"].startswith("sha512-"), path
        assert "resolved" not in package, path
