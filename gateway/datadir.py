"""The data directory: everything that one gateway keeps on its disk besides the database's rows.

    DATA/             0700
      server.key      64 random bytes that other secrets are derived from, 0600
      keys/           0700; passphrase: opens the private keys, 0600
      policies/       copied from the packaged defaults at the first start; people edit them
      policies.active.json  the policies that decide, 0600: what was good at the start or the last SIGHUP
      policies.files.sha256  of the files that were activated last from here, so that a start sees a change
      instance        names this data directory among all that share one database; never copied
      ports.json      what port 0 picked, kept for later starts
      metrics/        files of the multiprocess metrics, emptied at start
      lock            held while a supervisor runs
      quickstart.json while the gateway is ready, 0600

It never looks into key files: those belong to ``gateway.pki.keyfile`` and the CA backends.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.durable_file import sync_directory, write_durably
from gateway.errors import ConfigurationError, SecretUnavailable

SERVER_KEY_BYTES = 64
_INSTANCE_BYTES = 16
DERIVED_KEY_BYTES = 32
MAX_SECRET_FILE_BYTES = 64 * 1024
_LOCK_WAIT_S = 3.0  # workers of a killed supervisor need a moment to die and let go of the lock
_LOCK_PAUSE_S = 0.05
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_KEPT_PORTS = range(20_000, 32_000)
_PORT_TRIES = 100
_PRIVATE_DIRECTORY_MODE = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Where things lie under an existing data directory. ``path`` is absolute."""

    path: Path

    @property
    def server_key_file(self) -> Path:
        return self.path / "server.key"

    @property
    def passphrase_file(self) -> Path:
        return self.path / "keys" / "passphrase"

    @property
    def policies(self) -> Path:
        return self.path / "policies"

    @property
    def active_policies_file(self) -> Path:
        return self.path / "policies.active.json"

    @property
    def activated_files_file(self) -> Path:
        return self.path / "policies.files.sha256"

    @property
    def instance_file(self) -> Path:
        return self.path / "instance"

    @property
    def ports_file(self) -> Path:
        return self.path / "ports.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics"

    @property
    def quickstart_file(self) -> Path:
        return self.path / "quickstart.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    def server_key(self) -> bytes:
        """Read the server key: 64 bytes. Raises SecretUnavailable."""
        key = _read_private(self.server_key_file)
        if len(key) != SERVER_KEY_BYTES:
            raise SecretUnavailable(
                f"{self.server_key_file}: has {len(key)} bytes, {SERVER_KEY_BYTES} were written; "
                "restore it from a backup"
            )
        return key

    def instance(self) -> str:
        """The name of this data directory: like that of no other, also on hosts of equal name and paths.

        Raises SecretUnavailable.
        """
        return _read_private(self.instance_file).decode("ascii", "replace").strip()


def prepare(path: Path) -> DataDirectory:
    """Create what is missing under ``path`` and check the modes of what exists. Repeatable.

    Raises ConfigurationError where the directory cannot be used, SecretUnavailable for a secret that
    others can read.
    """
    data = DataDirectory(path.absolute())
    try:
        _private_directory(data.path)
        _private_directory(data.path / "keys")
        _private_directory(data.metrics)
        if not data.server_key_file.exists():
            write_durably(data.server_key_file, secrets.token_bytes(SERVER_KEY_BYTES))
        if not data.instance_file.exists():
            write_durably(data.instance_file, f"{secrets.token_hex(_INSTANCE_BYTES)}\n".encode())
        if not data.passphrase_file.exists():
            write_durably(data.passphrase_file, base64.b64encode(secrets.token_bytes(32)) + b"\n")
        if not data.policies.exists():
            _copy_policies(packaged_policies(), data.policies)
    except OSError as exc:
        raise ConfigurationError(
            f"data directory {data.path}: {exc.strerror or exc}; "
            "choose one that this user can write with --data-dir",
        ) from exc
    _refuse_others(data.server_key_file)
    _refuse_others(data.passphrase_file)
    return data


def open_existing(path: Path) -> DataDirectory:
    """The data directory of a gateway that was started before. Raises ConfigurationError if there is none."""
    data = DataDirectory(path.absolute())
    if not data.server_key_file.exists():
        raise ConfigurationError(
            f"data directory {data.path}: no gateway was started here yet; "
            "name the right one with --data-dir, or run `pkigate serve` first",
        )
    return data


def packaged_policies() -> Path:
    """The default policies: beside the package in a source checkout, inside of it in a wheel."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "default_policies", package.parent / "policies"):
        if candidate.is_dir():
            return candidate
    raise ConfigurationError("the default policies are missing from this installation; install pkigate again")


@contextmanager
def supervisor_lock(data: DataDirectory, *, wait_s: float = _LOCK_WAIT_S) -> Iterator[str]:
    """Hold the lock of this data directory; forked workers share it, so it is free once all are gone.

    Gives the name of the place that is held. Whoever had the same name before is dead, its workers too: it
    stands for the locked file itself on this boot of this machine, so that no copy of the data directory,
    here or elsewhere, has it. Raises ConfigurationError if another gateway runs on it after ``wait_s``
    seconds of waiting.
    """
    descriptor = os.open(data.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_s
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
                raise ConfigurationError(
                    f"data directory {data.path}: another gateway (process {owner}) runs on it; "
                    "stop that one, or choose another directory with --data-dir"
                )
            time.sleep(_LOCK_PAUSE_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield _place(descriptor)
    finally:
        os.close(descriptor)


def settle_ports(data: DataDirectory, wanted: Mapping[str, tuple[str, int]]) -> dict[str, int]:
    """Give each listener its port: as asked, or for 0 the one that was picked at an earlier start.

    ``wanted`` maps the listener's name to address and port. What is picked now is kept, because CDP and
    account URLs live on.
    """
    kept = kept_ports(data)
    settled: dict[str, int] = {}
    for name, (address, port) in wanted.items():
        settled[name] = port or kept.get(name) or _free_port(address, frozenset(settled.values()))
    picked = {name: settled[name] for name, (_, port) in wanted.items() if port == 0}
    if any(kept.get(name) != port for name, port in picked.items()):
        ports_json = json.dumps({"version": 1, "ports": kept | picked}, indent=2, sort_keys=True) + "\n"
        write_durably(data.ports_file, ports_json.encode())
    return settled


def kept_ports(data: DataDirectory) -> dict[str, int]:
    """Ports that were picked for port 0, by the listener's name. Raises ConfigurationError."""
    try:
        kept = json.loads(data.ports_file.read_bytes())["ports"]
        return {str(name): int(port) for name, port in kept.items() if 0 < int(port) < 65536}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ConfigurationError(
            f"{data.ports_file}: cannot be read ({exc}); restore it, or remove it and accept new ports"
        ) from exc


def derive(server_key: bytes, label: str) -> bytes:
    """Derive 32 bytes for one purpose from the server key: HKDF-SHA-256 (RFC 5869), ``label`` as info."""
    return HKDF(SHA256(), DERIVED_KEY_BYTES, salt=None, info=b"pkigate " + label.encode()).derive(server_key)


def resolve_secret(reference: str, base: Path, *, others_may_read: bool = False) -> bytes:
    """Read what a secret reference names: ``file:PATH``, ``env:NAME`` or ``cred:NAME``.

    ``cred:`` is a systemd credential (``$CREDENTIALS_DIRECTORY``). A relative path counts from ``base``. One
    line end at the end is cut off. ``others_may_read`` is for what is named like a secret but is none, a
    certificate. Raises SecretUnavailable.
    """
    scheme, _, name = reference.partition(":")
    if scheme == "env" and name:
        value = os.environ.get(name)
        if value is None:
            raise SecretUnavailable(f"{reference}: the environment has no variable {name}")
        return _filled(reference, value.encode())
    if scheme == "file" and name:
        content = _read_private(base / name, others_may_read=others_may_read)
        return _filled(reference, _one_line(content))
    if scheme == "cred" and name:
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if directory is None:
            raise SecretUnavailable(
                f"{reference}: there is no CREDENTIALS_DIRECTORY; "
                f"the systemd unit needs LoadCredential={name}:PATH"
            )
        if Path(name).name != name:
            raise SecretUnavailable(f"{reference}: a credential's name has no slash")
        return _filled(reference, _one_line(_read_private(Path(directory) / name, others_may_read=True)))
    # The text is not repeated: it may be the secret itself.
    raise SecretUnavailable("this is no secret reference; write file:PATH, env:NAME or cred:NAME")


def _private_directory(path: Path) -> None:
    if path.exists():
        if not path.is_dir():
            raise NotADirectoryError(20, "is not a directory", str(path))
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)  # a directory made by hand or by a container's volume
        return
    path.mkdir(mode=_PRIVATE_DIRECTORY_MODE, parents=True)
    path.chmod(_PRIVATE_DIRECTORY_MODE)
    sync_directory(path.parent)


def _copy_policies(source: Path, target: Path) -> None:
    # Built aside and renamed, so that a first start cut short leaves no half-filled directory.
    aside = target.with_name(f".policies.{secrets.token_hex(8)}")
    aside.mkdir(mode=_PRIVATE_DIRECTORY_MODE)
    try:
        for file in sorted(source.iterdir()):
            if file.suffix in {".yaml", ".yml", ".json"} and file.is_file():
                write_durably(aside / file.name, file.read_bytes(), mode=0o644)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    sync_directory(target.parent)


def _read_private(path: Path, *, others_may_read: bool = False) -> bytes:
    try:
        if not others_may_read:
            _refuse_others(path)
        with path.open("rb") as file:
            secret = file.read(MAX_SECRET_FILE_BYTES + 1)
    except OSError as exc:
        raise SecretUnavailable(f"{path}: {exc.strerror or exc}") from exc
    if len(secret) > MAX_SECRET_FILE_BYTES:
        raise SecretUnavailable(f"{path}: is larger than {MAX_SECRET_FILE_BYTES} bytes")
    return secret


def _refuse_others(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        raise SecretUnavailable(f"{path}: others may read it (mode {mode:04o}); run: chmod 600 {path}")


def _one_line(secret: bytes) -> bytes:
    return secret.removesuffix(b"\n").removesuffix(b"\r")


def _filled(reference: str, secret: bytes) -> bytes:
    if not secret:
        raise SecretUnavailable(f"{reference}: is empty")
    return secret


def _place(descriptor: int) -> str:
    try:
        boot_id = _BOOT_ID.read_text("ascii").strip()
    except OSError:
        boot_id = secrets.token_hex(_INSTANCE_BYTES)  # then no later start knows this one again
    locked = os.fstat(descriptor)
    return hashlib.sha256(f"{boot_id} {locked.st_dev} {locked.st_ino}".encode()).hexdigest()[:32]


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free_port(address: str, taken: frozenset[int]) -> int:
    # Below the range that the kernel takes for outgoing connections, so that one of those never holds the
    # kept port when the gateway comes back.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(_PORT_TRIES):
        port = secrets.choice(_KEPT_PORTS)
        if port in taken:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((address, port))
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE:
                    raise ConfigurationError(
                        f"listener address {address}: {exc.strerror}; write an address of this machine"
                    ) from exc
                continue
        return port
    raise ConfigurationError(f"no free port found on {address}; name one instead of 0")
