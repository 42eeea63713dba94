"""Reads ``pkigate.yaml``, then lays variables and flags over it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gateway.config.model import Config
from gateway.config.overrides import FILE_VARIABLE, Flags, overlay
from gateway.errors import ConfigurationError
from gateway.policy.complaints import Value
from gateway.policy.yaml_marks import Document, read_documents, validate

MAX_FILE_BYTES = 1 << 20
_PATH_KEYS = frozenset({"data_directory", "policies", "certificate", "key"})
_SECRET_KEYS = frozenset({"passphrase"})


def load(
    path: Path | None = None,
    *,
    flags: Flags | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """The configuration: defaults, then the file, then ``PKIGATE_*`` variables, then flags.

    ``path`` None means the file that ``$PKIGATE_CONFIG`` names, or none. Relative paths in the file count
    from its directory, all others from the working directory. Raises ConfigurationError, a line per mistake.
    """
    environment = os.environ if environment is None else environment
    if path is None and environment.get(FILE_VARIABLE):
        path = Path(environment[FILE_VARIABLE])
    config = Config() if path is None else read_file(path)
    return overlay(config, flags or Flags(), environment)


def read_file(path: Path) -> Config:
    """The configuration that stands in one file. Raises ConfigurationError."""
    return parse(str(path), _text(path), base=path.absolute().parent)


def parse(name: str, text: str, *, base: Path) -> Config:
    """The configuration that a YAML text gives; ``base`` is where its relative paths count from.

    Raises ConfigurationError with one line ``file:line:column: path: what is wrong; what would be right`` per
    mistake.
    """
    documents = read_documents(name, text)
    if not documents:
        return Config()
    if len(documents) > 1:
        raise ConfigurationError(
            f"{documents[1].where()}: a second document begins here; a configuration is one, remove `---`"
        )
    document = documents[0]
    anchored = Document(document.name, _anchored(document.value, base), document.marks, document.key_marks)
    return validate(Config, anchored)


def _anchored(value: Value, base: Path) -> Value:
    """The same values with relative paths made absolute; keys of paths mean the same at every depth."""
    if isinstance(value, list):
        return [_anchored(item, base) for item in value]
    if not isinstance(value, dict):
        return value
    anchored: dict[str, Value] = {}
    for key, inner in value.items():
        if key in _PATH_KEYS and isinstance(inner, str) and inner:
            anchored[key] = str(base / inner)
        elif key in _SECRET_KEYS and isinstance(inner, str) and inner.startswith("file:"):
            anchored[key] = f"file:{base / inner.removeprefix('file:')}"
        else:
            anchored[key] = _anchored(inner, base)
    return anchored


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(
            f"{path}: cannot be read: {exc.strerror}; name an existing file with --config"
        ) from exc
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{path}:1:1: is over 1 MiB; a configuration is shorter")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise ConfigurationError(f"{path}:{line}:1: is not UTF-8; save the file as UTF-8") from exc
