"""Facts about the tree: error tables are total, no registry address, no secret can print itself."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

from gateway.model.evidence import PresentedPassword, SecretBytes
from gateway.model.reasons import ReasonCode

ROOT = Path(__file__).resolve().parents[2]
PLANTED = "planted-secret-8c1f"
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PRODUCT = sorted(path for name in ("gateway", "ca_backend") for path in (ROOT / name).rglob("*.py"))


def test_est_error_table_is_total_over_reason_codes() -> None:
    from gateway.est import errors

    tables = [
        value
        for value in vars(errors).values()
        if isinstance(value, dict) and ReasonCode.SERVER_FAULT in value
    ]
    assert len(tables) == 1, "gateway/est/errors.py holds one table"
    assert set(tables[0]) == set(ReasonCode)


def test_secret_never_prints_itself() -> None:
    secret = SecretBytes(PLANTED.encode())
    holder = PresentedPassword("user", secret)
    assert PLANTED not in f"{secret} {secret!r} {holder} {holder!r}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_pins_each_version_with_hashes_and_names_no_registry(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    blocks = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    for block in (part for part in blocks if part.strip()):
        assert re.match(r"[A-Za-z0-9._\[\]-]+==[^\s]+", block), block
        assert "--hash=sha256:" in block, block


def test_no_product_module_catches_everything_in_silence() -> None:
    found = []
    for path in PRODUCT:
        handlers = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ExceptHandler))
        for handler in handlers:
            caught = handler.type.id if isinstance(handler.type, ast.Name) else ""
            silent = all(isinstance(statement, ast.Pass) for statement in handler.body)
            if handler.type is None or (silent and caught in {"Exception", "BaseException"}):
                found.append(f"{path.relative_to(ROOT)}:{handler.lineno}")
    assert not found


def test_scripts_and_image_name_no_registry_address() -> None:
    paths = [
        *(ROOT / "scripts").iterdir(),
        ROOT / "Dockerfile",
        ROOT / "pyproject.toml",
        ROOT / ".ci" / "run",
    ]
    named = [
        path.name for path in paths if re.search(r"index-url|://\S*(/simple|/packages/)", path.read_text())
    ]
    assert not named
