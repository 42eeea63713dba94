"""quickstart.json, demo credentials and the banner."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest

from gateway import quickstart
from gateway.banner import banner, est_command
from gateway.errors import ConfigurationError
from gateway.quickstart import EstAccess, QuickStart, demo_secret, demo_wanted

PASSWORD = "planted-Secret_0123456789"


def quick_start(root: Path, *, est: bool = True) -> QuickStart:
    access = EstAccess("https://127.0.0.1:8443/.well-known/est", "demo", PASSWORD) if est else None
    return QuickStart(
        https="https://127.0.0.1:8443",
        http=None,
        root_pem=root / "root.pem",
        issuing={"subject": "CN=pkigate issuing"},
        crl="http://127.0.0.1:8080/crl/issuing.crl",
        est=access,
    )


def test_document_has_the_agreed_keys_and_none_that_does_not_work(tmp_path: Path) -> None:
    document = quick_start(tmp_path).document()
    assert list(document) == ["version", "https", "root_pem", "ca", "names", "est"]
    assert document["ca"] == {
        "issuing": {"subject": "CN=pkigate issuing"},
        "crl": "http://127.0.0.1:8080/crl/issuing.crl",
    }
    assert "est" not in quick_start(tmp_path, est=False).document()


def test_file_is_private_and_gone_after_removal(tmp_path: Path) -> None:
    file = tmp_path / "quickstart.json"
    quickstart.write(file, quick_start(tmp_path))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_bytes())["est"]["password"] == PASSWORD
    quickstart.remove(file)
    quickstart.remove(file)
    assert not file.exists()


def test_demo_secret_repeats_for_a_server_key_and_differs_by_protocol() -> None:
    key = bytes(64)
    assert demo_secret(key, "est") == demo_secret(key, "est")
    assert len({demo_secret(key, "est"), demo_secret(key, "scep"), demo_secret(b"1" * 64, "est")}) == 3
    assert len(demo_secret(key, "est")) == 24


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1"])
def test_demo_credentials_beyond_loopback_are_refused_unless_configured(address: str) -> None:
    with pytest.raises(ConfigurationError, match="set demo_credentials: off"):
        demo_wanted("auto", ["127.0.0.1", address])
    assert demo_wanted("allow-non-loopback", [address]) is True
    assert demo_wanted("off", [address]) is False


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1"])
def test_demo_credentials_on_loopback_are_made(address: str) -> None:
    assert demo_wanted("auto", [address]) is True


def test_banner_names_addresses_and_data_and_holds_no_secret(tmp_path: Path) -> None:
    text = banner(
        quick_start(tmp_path),
        quickstart_file=tmp_path / "quickstart.json",
        data_directory=tmp_path,
        version="1.2.3",
    )
    assert "pkigate 1.2.3 is ready" in text
    assert "https://127.0.0.1:8443" in text
    assert str(tmp_path) in text
    assert "/simpleenroll" in text
    assert f"pkigate request list --data-dir {tmp_path}\n" in text
    assert PASSWORD not in text
    assert PASSWORD not in repr(quick_start(tmp_path))


def test_banner_without_est_shows_no_command(tmp_path: Path) -> None:
    text = banner(
        quick_start(tmp_path, est=False),
        quickstart_file=tmp_path / "quickstart.json",
        data_directory=tmp_path,
        version="1",
    )
    assert "curl" not in text


def test_command_reads_the_password_from_a_file_whose_path_has_blanks_and_quotes(tmp_path: Path) -> None:
    directory = tmp_path / "a b'c"
    directory.mkdir()
    file = directory / "quickstart.json"
    quickstart.write(file, quick_start(directory))
    command = est_command(quick_start(directory), quickstart_file=file)
    fake_curl = f'curl() {{ printf "%s\\n" "$@" >> "{tmp_path}/calls"; return 1; }}\n'
    subprocess.run(["bash", "-c", fake_curl + command], cwd=tmp_path, capture_output=True, check=False)
    subprocess.run(["bash", "-n", "-c", command], check=True)
    enroll = next(line for line in command.splitlines() if "simpleenroll" in line)
    subprocess.run(
        ["bash", "-c", f"touch device-1.p7; {fake_curl}{enroll.removesuffix(' && ' + chr(92))}"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    calls = (tmp_path / "calls").read_text()
    assert f"demo:{PASSWORD}\n" in calls
    assert f"{directory}/root.pem\n" in calls
