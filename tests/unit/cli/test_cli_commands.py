"""The command line as processes: exit codes, one line per error, what is imported, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import __version__
from gateway.datadir import DataDirectory, settle_ports

Run = Callable[..., Any]
HEAVY = ("alembic", "fastapi", "sqlalchemy", "uvicorn", "uvloop")


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real entry point as a process."""
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("PKIGATE_")}
        | environment,
        timeout=120,
    )


def imported_by(*arguments: str) -> set[str]:
    """The heavy packages that a command imports."""
    script = (
        "import sys; from gateway.cli.main import main\n"
        f"sys.argv = {['pkigate', *arguments]!r}\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('modules:', *sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = ended.stdout.rpartition("modules:")[2].split()
    return {module.partition(".")[0] for module in modules}


def test_version_is_printed_in_words_and_as_json() -> None:
    assert process("version").stdout == f"pkigate {__version__}\n"
    assert process("--version").stdout == f"pkigate {__version__}\n"
    assert json.loads(process("version", "--json").stdout) == {"name": "pkigate", "version": __version__}


def test_version_imports_nothing_but_itself() -> None:
    assert not imported_by("version") & {*HEAVY, "typer", "pydantic", "rich"}


@pytest.mark.parametrize("arguments", [("--help",), ("config", "schema"), ("serve", "--help")])
def test_light_command_imports_neither_database_nor_web_server(arguments: tuple[str, ...]) -> None:
    assert not imported_by(*arguments) & set(HEAVY)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_offers_the_nouns(shell: str) -> None:
    ended = process(
        _PKIGATE_COMPLETE=f"complete_{shell}",
        COMP_WORDS="pkigate cr",
        COMP_CWORD="1",
        _TYPER_COMPLETE_ARGS="pkigate cr",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert "credential" in ended.stdout
    assert "request" not in ended.stdout


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("cert", "list", "--nonsense"), ("cert", "list", "--limit", "0")]
)
def test_wrong_command_line_ends_with_the_usage_code(arguments: tuple[str, ...]) -> None:
    ended = process(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Error: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_database_out_of_reach_ends_with_the_code_for_unavailable_in_one_line(data: DataDirectory) -> None:
    ended = process(
        "cert", "list", "--data-dir", data.path, PKIGATE_DATABASE_URL="postgresql://127.0.0.1:1/none"
    )
    assert (ended.returncode, ended.stdout) == (4, "")
    assert ended.stderr.count("\n") == 1, ended.stderr


def test_file_that_is_no_database_ends_in_one_line(on_data: Run, data: DataDirectory) -> None:
    for file in data.path.glob("pkigate.sqlite3*"):
        file.write_bytes(b"no database" * 1000)
    ended = on_data("cert", "list")
    assert (ended.code, ended.out) in {(1, ""), (4, "")}
    assert ended.err.count("\n") == 1, ended.err


def test_missing_data_directory_is_not_created_by_a_look(pkigate: Run, tmp_path: Path) -> None:
    ended = pkigate("cert", "list", "--data-dir", tmp_path / "absent")
    assert (ended.code, "no gateway was started here yet" in ended.err) == (1, True)
    assert not (tmp_path / "absent").exists()


def test_missing_database_is_not_created_by_a_look(on_data: Run, data: DataDirectory) -> None:
    (data.path / "pkigate.sqlite3").unlink()
    ended = on_data("audit", "verify")
    assert (ended.code, "does not exist yet" in ended.err) == (1, True)
    assert not (data.path / "pkigate.sqlite3").exists()


def test_migration_creates_the_database_once_and_tells_its_version(pkigate: Run, tmp_path: Path) -> None:
    first = pkigate("db", "migrate", "--data-dir", tmp_path / "new", "--json")
    again = pkigate("db", "migrate", "--data-dir", tmp_path / "new", "--json")
    version = pkigate("db", "version", "--data-dir", tmp_path / "new", "--json")
    assert first.code == again.code == 0
    assert first.document == again.document == version.document
    assert first.document["schema_version"]


def test_configuration_mistake_is_told_by_every_command_with_its_place(
    pkigate: Run, data: DataDirectory, tmp_path: Path
) -> None:
    file = tmp_path / "pkigate.yaml"
    file.write_text("workers: 2\nlistners: []\n")
    for command in (("cert", "list"), ("config", "check"), ("serve",)):
        ended = pkigate(*command, "--config", file, "--data-dir", data.path)
        assert (ended.code, ended.out) == (1, "")
        assert (
            ended.err == f"error: {file}:2:1: listners: unknown key 'listners'; did you mean 'listeners'?\n"
        )


def test_configuration_check_tells_every_mistake_in_one_json_document(pkigate: Run, tmp_path: Path) -> None:
    file = tmp_path / "pkigate.yaml"
    file.write_text("workers: x\ndrain_timeout: y\n")
    ended = pkigate("config", "check", "--config", file, "--json")
    assert (ended.code, ended.document["ok"], len(ended.document["errors"])) == (1, False, 2)


def test_good_configuration_is_summed_up(on_data: Run) -> None:
    ended = on_data("config", "check", "--json")
    assert (ended.code, ended.document["errors"]) == (0, [])
    assert len(ended.document["bundle_sha256"]) == 64
    assert "The configuration is good." in on_data("config", "check").out


def test_configuration_check_shows_the_ports_that_were_picked_for_port_0(
    pkigate: Run, data: DataDirectory, tmp_path: Path
) -> None:
    file = tmp_path / "pkigate.yaml"
    file.write_text(
        "listeners: [{name: a, port: 0, serves: [est]}, {name: b, port: 8080, tls: off, serves: [crl]}]\n"
    )
    check = ("config", "check", "--config", file, "--data-dir", data.path)
    before = pkigate(*check, "--json").document["listeners"]
    assert [line.partition("port ")[2] for line in before] == [
        "0, picked at the first start): est",
        "8080): crl",
    ]
    port = settle_ports(data, {"a": ("127.0.0.1", 0)})["a"]
    assert f"port {port}): est" in pkigate(*check).out


def test_configuration_check_finds_unreadable_files_missing_secrets_and_open_demo_credentials(
    pkigate: Run, data: DataDirectory, tmp_path: Path
) -> None:
    file = tmp_path / "pkigate.yaml"
    file.write_text(
        "passphrase: env:NO_SUCH_PASSPHRASE\n"
        "listeners: [{name: a, address: 0.0.0.0, port: 1, serves: [est],"
        " tls: {certificate: absent.pem, key: absent.key}}]\n"
    )
    ended = pkigate("config", "check", "--config", file, "--data-dir", data.path)
    assert ended.code == 1
    demo, certificate, key, passphrase = ended.err.splitlines()
    assert "demo credentials would be reachable on 0.0.0.0" in demo
    assert "demo_credentials: off or PKIGATE_DEMO_CREDENTIALS=off" in demo
    assert f"listeners.a.tls.certificate: {tmp_path}/absent.pem cannot be read" in certificate
    assert "listeners.a.tls.key" in key
    assert "passphrase: env:NO_SUCH_PASSPHRASE: the environment has no variable" in passphrase


def test_misspelt_variable_is_a_warning(on_data: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKIGATE_WORKER", "3")
    ended = on_data("config", "check")
    assert (ended.code, ended.err) == (
        0,
        "warning: PKIGATE_WORKER: means nothing; did you mean PKIGATE_WORKERS?\n",
    )


def test_default_policies_validate(on_data: Run) -> None:
    ended = on_data("policy", "validate", "--json")
    assert (ended.code, ended.document["errors"]) == (0, [])
    assert "est/default" in ended.document["endpoints"]
    assert "embedded" in ended.document["backends"]


def test_policy_mistake_is_told_with_its_place(pkigate: Run, data: DataDirectory) -> None:
    (data.policies / "mine.yaml").write_text("apiVersion: pkigate/v1\nkind: Polcy\nmetadata: {name: mine}\n")
    ended = pkigate("policy", "validate", data.policies)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: mine.yaml:2:")
    as_json = pkigate("policy", "validate", data.policies, "--json")
    assert as_json.document["errors"] == [line.removeprefix("error: ") for line in ended.err.splitlines()]


def test_policy_that_is_never_used_is_a_warning_of_both_checks(on_data: Run, data: DataDirectory) -> None:
    default = (data.policies / "default.yaml").read_text()
    first = next(part for part in default.split("---\n") if "name: est-first-certificate" in part)
    mine = first.replace("est-first-certificate", "presses").replace("priority: 100", "priority: 50")
    (data.policies / "mine.yaml").write_text(mine)
    for command in (("policy", "validate"), ("config", "check")):
        ended = on_data(*command)
        assert ended.code == 0
        assert ended.err.startswith("warning: default.yaml:")
        assert "presses (priority 50) hides est-first-certificate (priority 100) completely" in ended.err
        (warning,) = on_data(*command, "--json").document["warnings"]
        assert ended.err == f"warning: {warning}\n"


def test_policy_of_another_ca_than_its_endpoint_hands_out_is_a_warning(
    on_data: Run, data: DataDirectory
) -> None:
    default = data.policies / "default.yaml"
    default.write_text(default.read_text().replace("\nca: scep", "", 1))
    ended = on_data("policy", "validate")
    assert (ended.code, bool(ended.err)) == (0, True)
    for line in ended.err.splitlines():
        assert line.startswith("warning: default.yaml:")
        assert "issues by the CA 'scep', but its scep endpoint 'default' hands out 'issuing'" in line


def test_single_policy_file_is_validated_alone(pkigate: Run, data: DataDirectory) -> None:
    assert pkigate("policy", "validate", data.policies / "default.yaml").code == 0
    alone = data.policies / "endpoint.draft"
    alone.write_text(
        "apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {name: line1}\nprotocol: est\nbackend: embedded\n"
    )
    ended = pkigate("policy", "validate", alone)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: endpoint.draft:5:10: backend: there is no Backend 'embedded'; ")
    assert ended.err.endswith("name its directory if it uses documents of the files beside it.\n")


def test_policy_schema_is_one_json_document(pkigate: Run) -> None:
    assert "$schema" in pkigate("policy", "schema").document


def test_gateway_refuses_demo_credentials_on_every_address(tmp_path: Path) -> None:
    ended = process("serve", "--data-dir", tmp_path / "data", "--host", "0.0.0.0", "--https-port", 0)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "demo credentials would be reachable on 0.0.0.0; set demo_credentials: off" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_second_gateway_on_a_data_directory_is_refused(data: DataDirectory) -> None:
    from gateway.datadir import supervisor_lock

    with supervisor_lock(data):
        ended = process("serve", "--data-dir", data.path, "--https-port", 0, "--http-port", 0)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"another gateway (process {os.getpid()}) runs on it" in ended.stderr
