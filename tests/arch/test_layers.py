"""The layer contracts are kept, and they are strict enough to see a breach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def _lint(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT_IMPORTS), "--no-cache"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={"PYTHONPATH": str(directory), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    )


def test_every_layer_contract_is_kept() -> None:
    completed = _lint(ROOT)
    assert completed.returncode == 0, completed.stdout + completed.stderr


def _copy_with(tmp_path: Path, module: str, line: str) -> Path:
    """The packages' sources with one more import in one module."""
    for package in ("gateway", "ca_backend"):
        for source in (ROOT / package).rglob("*.py"):
            target = tmp_path / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text())
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    with (tmp_path / module).open("a") as file:
        file.write(f"\n{line}\n")
    return tmp_path


def test_front_end_that_imports_the_store_is_found(tmp_path: Path) -> None:
    completed = _lint(_copy_with(tmp_path, "gateway/est/flow.py", "import gateway.store.store"))
    assert completed.returncode != 0, completed.stdout
    assert "gateway.est.flow" in completed.stdout


def test_policy_that_imports_a_web_framework_is_found(tmp_path: Path) -> None:
    completed = _lint(_copy_with(tmp_path, "gateway/policy/engine.py", "import starlette"))
    assert completed.returncode != 0, completed.stdout
    assert "gateway.policy.engine" in completed.stdout


def test_codec_that_imports_the_database_is_found(tmp_path: Path) -> None:
    completed = _lint(_copy_with(tmp_path, "gateway/est/codec.py", "import sqlalchemy"))
    assert completed.returncode != 0, completed.stdout
    assert "gateway.est.codec" in completed.stdout


def test_front_end_that_imports_a_ca_backend_is_found(tmp_path: Path) -> None:
    completed = _lint(_copy_with(tmp_path, "gateway/est/routes.py", "import ca_backend.api"))
    assert completed.returncode != 0, completed.stdout
    assert "gateway.est.routes" in completed.stdout


def test_message_protection_that_imports_the_database_is_found(tmp_path: Path) -> None:
    completed = _lint(_copy_with(tmp_path, "gateway/cmp/protection.py", "import sqlalchemy"))
    assert completed.returncode != 0, completed.stdout
    assert "gateway.cmp.protection" in completed.stdout


def test_scep_that_imports_an_http_server_is_found(tmp_path: Path) -> None:
    completed = _lint(_copy_with(tmp_path, "gateway/scep/reply.py", "import uvicorn"))
    assert completed.returncode != 0, completed.stdout
    assert "gateway.scep.reply" in completed.stdout
