"""Policy texts as they come from files: one source per YAML file, each with several documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ConfigurationError

MAX_SOURCE_BYTES = 1 << 20
SUFFIXES = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class PolicySource:
    """One YAML text; ``name`` is what stands before line and column in complaints."""

    name: str
    text: str


def read_directory(path: Path) -> tuple[PolicySource, ...]:
    """Read every ``*.yaml`` and ``*.yml`` of a directory, sorted by name, not below it.

    Raises ConfigurationError if the directory or a file cannot be read, is over 1 MiB or not UTF-8.
    """
    try:
        files = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES and entry.is_file())
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the policies cannot be read: {error.strerror}; name a directory with *.yaml files"
        ) from error
    if not files:
        raise ConfigurationError(f"{path}: no policy file stands here; put at least one *.yaml file into it")
    return tuple(PolicySource(file.name, _text(file)) for file in files)


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_SOURCE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{file.name}:1:1: the file cannot be read: {error.strerror}; give the gateway's user read access"
        ) from error
    if len(content) > MAX_SOURCE_BYTES:
        raise ConfigurationError(f"{file.name}:1:1: the file is over 1 MiB; split it into several files")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{file.name}:{line}:1: byte {error.start} is not UTF-8; save the file as UTF-8"
        ) from error
