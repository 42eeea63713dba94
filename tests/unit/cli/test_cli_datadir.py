"""The data directory: what it creates, with which modes, and what it refuses."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.datadir import (
    SERVER_KEY_BYTES,
    DataDirectory,
    derive,
    open_existing,
    packaged_policies,
    prepare,
    resolve_secret,
    settle_ports,
    supervisor_lock,
)
from gateway.durable_file import write_durably
from gateway.errors import ConfigurationError, SecretUnavailable


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_first_start_creates_private_directories_and_secrets_under_an_open_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        data = prepare(tmp_path / "deep" / "data")
    finally:
        os.umask(before)
    assert mode(data.path) == 0o700
    assert mode(data.path / "keys") == 0o700
    assert mode(data.metrics) == 0o700
    assert mode(data.server_key_file) == 0o600
    assert mode(data.passphrase_file) == 0o600
    assert len(data.server_key()) == SERVER_KEY_BYTES
    assert len(data.passphrase_file.read_bytes().strip()) == 44


def test_second_start_keeps_every_byte(data: DataDirectory) -> None:
    (data.policies / "mine.yaml").write_text("# mine\n")
    before = {file: file.read_bytes() for file in data.path.rglob("*") if file.is_file()}
    prepare(data.path)
    assert {file: file.read_bytes() for file in data.path.rglob("*") if file.is_file()} == before


def test_directories_are_told_apart_and_keep_their_names(data: DataDirectory, tmp_path: Path) -> None:
    """acme.md E13: workers of two containers with equal paths and host names are not the same"""
    other = prepare(tmp_path / "other")
    assert len({data.instance(), other.instance(), ""}) == 3
    assert prepare(data.path).instance() == data.instance()


def test_default_policies_are_copied_whole(data: DataDirectory) -> None:
    packaged = {file.name for file in packaged_policies().iterdir() if file.suffix in {".yaml", ".json"}}
    assert {file.name for file in data.policies.iterdir()} == packaged


def test_directory_that_others_could_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    assert mode(prepare(tmp_path / "data").path) == 0o700


def test_server_key_that_others_can_read_is_refused(data: DataDirectory) -> None:
    data.server_key_file.chmod(0o640)
    with pytest.raises(SecretUnavailable, match=r"others may read it \(mode 0640\); run: chmod 600"):
        data.server_key()
    with pytest.raises(SecretUnavailable, match="others may read it"):
        prepare(data.path)


def test_cut_server_key_is_refused(data: DataDirectory) -> None:
    data.server_key_file.write_bytes(b"x" * 63)
    with pytest.raises(SecretUnavailable, match="has 63 bytes, 64 were written"):
        data.server_key()


def test_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigurationError, match="is not a directory; choose one"):
        prepare(tmp_path / "data")


def test_directory_without_a_gateway_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no gateway was started here yet"):
        open_existing(tmp_path)


def test_picked_ports_are_kept_for_the_next_start_and_fixed_ones_are_not_touched(data: DataDirectory) -> None:
    wanted = {"https": ("127.0.0.1", 0), "http": ("127.0.0.1", 0), "metrics": ("127.0.0.1", 9464)}
    first = settle_ports(data, wanted)
    assert first["metrics"] == 9464
    assert first["https"] != first["http"]
    assert settle_ports(data, wanted) == first
    assert settle_ports(data, {**wanted, "more": ("::1", 0)}) | first == settle_ports(
        data, {**wanted, "more": ("::1", 0)}
    )
    assert mode(data.ports_file) == 0o600


def test_kept_port_survives_while_another_listener_is_away(data: DataDirectory) -> None:
    both = settle_ports(data, {"https": ("127.0.0.1", 0), "http": ("127.0.0.1", 0)})
    settle_ports(data, {"https": ("127.0.0.1", 0), "new": ("127.0.0.1", 0)})
    assert settle_ports(data, {"http": ("127.0.0.1", 0)})["http"] == both["http"]


def test_picked_port_is_below_the_range_of_outgoing_connections(data: DataDirectory) -> None:
    assert settle_ports(data, {"https": ("127.0.0.1", 0)})["https"] < 32768


def test_picked_port_can_be_bound(data: DataDirectory) -> None:
    port = settle_ports(data, {"https": ("127.0.0.1", 0)})["https"]
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", port))


def test_address_of_another_machine_is_named_in_the_refusal(data: DataDirectory) -> None:
    with pytest.raises(
        ConfigurationError, match=r"listener address 192\.0\.2\.1: .*; write an address of this"
    ):
        settle_ports(data, {"https": ("192.0.2.1", 0)})


def test_damaged_ports_file_is_refused_rather_than_replaced(data: DataDirectory) -> None:
    data.ports_file.write_text("{")
    with pytest.raises(ConfigurationError, match=r"ports\.json: cannot be read"):
        settle_ports(data, {"https": ("127.0.0.1", 0)})
    assert data.ports_file.read_text() == "{"


HOLD_LOCK = """
import sys, time
from pathlib import Path
from gateway.datadir import open_existing, supervisor_lock
with supervisor_lock(open_existing(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_supervisor_is_refused_with_the_process_of_the_first_until_that_one_ends(
    data: DataDirectory,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(data.path)], stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        refused = pytest.raises(
            ConfigurationError, match=rf"another gateway \(process {first.pid}\) runs on it"
        )
        with refused, supervisor_lock(data, wait_s=0.1):
            pass
        first.kill()
        first.wait()
        with supervisor_lock(data, wait_s=5):
            pass


def test_lock_is_held_as_long_as_a_forked_worker_lives(data: DataDirectory) -> None:
    with supervisor_lock(data, wait_s=0):
        worker = os.fork()
        if worker == 0:
            time.sleep(60)
            os._exit(0)
    try:
        with pytest.raises(ConfigurationError, match="another gateway"), supervisor_lock(data, wait_s=0.1):
            pass
    finally:
        os.kill(worker, 9)
        os.waitpid(worker, 0)
    with supervisor_lock(data, wait_s=0.1):
        pass


def test_derived_secrets_differ_by_label_and_by_key_and_repeat() -> None:
    key, other = b"k" * SERVER_KEY_BYTES, b"o" * SERVER_KEY_BYTES
    assert derive(key, "a") == derive(key, "a")
    assert len({derive(key, "a"), derive(key, "b"), derive(other, "a")}) == 3
    assert len(derive(key, "a")) == 32


def test_secret_of_a_private_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    write_durably(tmp_path / "pass", b" with blanks \r\n")
    assert resolve_secret("file:pass", tmp_path) == b" with blanks "


def test_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    write_durably(tmp_path / "pass", b"secret", mode=0o644)
    with pytest.raises(SecretUnavailable, match="chmod 600"):
        resolve_secret("file:pass", tmp_path)


def test_secret_of_a_systemd_credential_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pass").write_bytes(b"secret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert resolve_secret("cred:pass", Path("/nowhere")) == b"secret"


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("env:PKIGATE_TEST_ABSENT", "the environment has no variable PKIGATE_TEST_ABSENT"),
        ("file:absent", "No such file or directory"),
        ("cred:absent", "LoadCredential=absent:PATH"),
        ("file:", "is no secret reference; write file:PATH, env:NAME or cred:NAME"),
        ("hunter2", "is no secret reference; write file:PATH, env:NAME or cred:NAME"),
    ],
)
def test_secret_that_cannot_be_had_is_refused_with_the_way_out(
    reference: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SecretUnavailable) as caught:
        resolve_secret(reference, tmp_path)
    assert complaint in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_empty_secret_is_refused(tmp_path: Path) -> None:
    write_durably(tmp_path / "pass", b"\n")
    with pytest.raises(SecretUnavailable, match="is empty"):
        resolve_secret("file:pass", tmp_path)


def test_credential_outside_the_credentials_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(SecretUnavailable, match="has no slash"):
        resolve_secret("cred:../shadow", tmp_path)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "kept"
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_durably(target, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]
