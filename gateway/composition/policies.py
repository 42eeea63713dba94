"""The policies that decide, kept apart from the files that people edit.

The files are read when the gateway starts and at SIGHUP. What was found good is written to
``DATA/policies.active.json``: texts, not compiled rules, so that complaints and traces keep their places. A
worker that is started in between takes that, never a file somebody is still writing.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.config import Config
from gateway.datadir import DataDirectory, packaged_policies
from gateway.durable_file import write_durably
from gateway.errors import ConfigurationError
from gateway.plugins import Plugins
from gateway.policy.load import load_bundle, read_directory
from gateway.policy.rules import Bundle
from gateway.policy.sources import PolicySource, read_beside
from gateway.store import bundles
from gateway.store.bundles import BundleRow
from gateway.store.unit import AuditEvent, Unit

LOG = logging.getLogger(__name__)
VERSION = 1


@dataclass(frozen=True, slots=True)
class Policies:
    """A compiled bundle and ``kept``, the JSON of every text that it was made from."""

    bundle: Bundle
    kept: bytes


class PolicyFiles:
    """Reads the files that people edit and the copy of those that were activated last."""

    def __init__(self, config: Config, data: DataDirectory, plugins: Plugins) -> None:
        self._directory = config.policies
        self._registry = plugins.registry(lab=config.lab.enabled)
        self._data = data

    def drafts(self) -> Policies:
        """Load the policy directory. Raises ConfigurationError with every mistake in it."""
        if not self._directory.is_dir():
            raise ConfigurationError(
                f"{self._directory}: there is no policy directory; write one, or leave `policies` out of the "
                "configuration to use the one in the data directory"
            )
        sources = read_directory(self._directory)
        files: dict[str, bytes] = {}

        def read(source: PolicySource, path: str) -> bytes:
            files[path] = read_beside(source, path)
            return files[path]

        bundle = load_bundle(sources, self._registry, read)
        return Policies(bundle, _kept(bundle.sha256, sources, files))

    def activate(self, policies: Policies) -> bool:
        """Make these the ones that a restarted worker takes. Gives whether others were active before."""
        if self._active() == policies.kept:
            return False
        write_durably(self._data.active_policies_file, policies.kept)
        return True

    def active(self, known: Policies) -> Policies:
        """The active policies: ``known`` if it is those, or if the copy of them is lost or damaged."""
        kept = self._active()
        if kept is None or kept == known.kept:
            return known
        try:
            return self._load(kept)
        except (ConfigurationError, ValueError, KeyError, TypeError, binascii.Error) as error:
            LOG.error("policy.active-unreadable %s: %s", self._data.active_policies_file, error)
            return known

    def mark(self) -> tuple[int, int] | None:
        """Changes whenever others are activated."""
        try:
            status = self._data.active_policies_file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold a lock that the workers of this data directory share."""
        descriptor = os.open(self._data.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _active(self) -> bytes | None:
        try:
            return self._data.active_policies_file.read_bytes()
        except OSError:
            return None

    def _load(self, kept: bytes) -> Policies:
        document = json.loads(kept)
        if document["version"] != VERSION:
            raise ConfigurationError(f"it has version {document['version']}, this program knows {VERSION}")
        # The directory stands for "beside the text"; nothing is read from it.
        sources = tuple(
            PolicySource(one["name"], one["text"], self._directory) for one in document["sources"]
        )
        files = {path: base64.b64decode(text) for path, text in document["files"].items()}

        def read(_source: PolicySource, path: str) -> bytes:
            return files[path]

        return Policies(load_bundle(sources, self._registry, read), kept)


def are_packaged(directory: Path) -> bool:
    """Whether a policy directory holds exactly what this version brings."""
    try:
        return _texts(directory) == _texts(packaged_policies())
    except ConfigurationError:
        return False


def _texts(directory: Path) -> dict[str, str]:
    return {source.name: source.text for source in read_directory(directory)}


def _kept(sha256: str, sources: tuple[PolicySource, ...], files: Mapping[str, bytes]) -> bytes:
    document = {
        "version": VERSION,
        "sha256": sha256,
        "sources": [{"name": source.name, "text": source.text} for source in sources],
        "files": {path: base64.b64encode(content).decode() for path, content in sorted(files.items())},
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def activation(active: str | None, bundle: Bundle, now: datetime) -> Unit:
    """What is written down when a bundle becomes active; nothing if ``active`` names it already."""
    unit = Unit()
    if active != bundle.sha256:
        bundles.insert(unit, BundleRow(bundle.sha256, bundle.documents_json, "files", now))
        bundles.activate(unit, bundle.sha256, now)
        unit.audit(AuditEvent("system", "policy.activate", bundle.sha256, details={"previous": active}))
    return unit
