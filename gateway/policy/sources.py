"""Policy texts as they come from files: one source per YAML file, each with several documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ConfigurationError

MAX_SOURCE_BYTES = 1 << 20
MAX_LIST_BYTES = 64 << 20
SUFFIXES = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class PolicySource:
    """One YAML text; ``name`` is what stands before line and column in complaints.

    ``directory`` is where files that the text names are looked for, None for a text that came without any.
    """

    name: str
    text: str
    directory: Path | None = None


FileReader = Callable[[PolicySource, str], bytes]
"""Reads a file that a source names. Raises ConfigurationError with a text but without a place."""

ListReader = Callable[[PolicySource, str], bytes | None]
"""Reads the file of a list, None where its content is to stay unknown for now. Raises as ``FileReader``."""


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
    return tuple(PolicySource(file.name, _text(file), path) for file in files)


def read_sources(path: Path) -> tuple[PolicySource, ...]:
    """Read a directory, or one file alone whatever its name ends in. Raises ConfigurationError."""
    if path.is_file():
        return (PolicySource(path.name, _text(path), path.parent),)
    return read_directory(path)


def read_beside(source: PolicySource, path: str, most_bytes: int = MAX_SOURCE_BYTES) -> bytes:
    """Read a file that a policy text names by its path relative to that text.

    Raises ConfigurationError, without a place, if there is no such file, it is over ``most_bytes`` or leads
    elsewhere.
    """
    if source.directory is None:
        raise ConfigurationError(f"the file {path!r} cannot be read from here; write its content out")
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ConfigurationError(f"{path!r} leads out of the policy directory; put the file into it")
    try:
        with (source.directory / path).open("rb") as stream:
            content = stream.read(most_bytes + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the file {path!r} cannot be read: {error.strerror}; put it beside {source.name}"
        ) from error
    if len(content) > most_bytes:
        raise ConfigurationError(f"the file {path!r} is over {most_bytes >> 20} MiB; split it")
    return content


def read_list_beside(source: PolicySource, path: str) -> bytes | None:
    """As ``read_beside``, for the file of a list, which may be larger."""
    return read_beside(source, path, MAX_LIST_BYTES)


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
