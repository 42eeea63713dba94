"""The policies that decide, kept apart from the files that people edit.

The files are read when the gateway starts and at SIGHUP. What was found good goes to the database, which
every replica follows (``stored_policies``), and to ``DATA/policies.active.json``: texts, not compiled rules,
so that complaints and traces keep their places. A worker that is started in between takes that copy, never
a file somebody is still writing.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Config
from gateway.datadir import DataDirectory, packaged_policies
from gateway.durable_file import write_durably
from gateway.errors import ConfigurationError
from gateway.plugins import Plugins
from gateway.policy.load import Registry, load_bundle, read_directory
from gateway.policy.rules import Bundle
from gateway.policy.sources import PolicySource, read_beside
from gateway.store.bundles import BundleRow

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
        self.automatic = config.policy_activation == "automatic"
        self._registry = plugins.registry(lab=config.lab.enabled)
        self._data = data

    def drafts(self) -> Policies:
        """Load the policy directory. Raises ConfigurationError with every mistake in it."""
        if not self._directory.is_dir():
            raise ConfigurationError(
                f"{self._directory}: there is no policy directory; write one, or leave `policies` out of the "
                "configuration to use the one in the data directory"
            )
        return read_policies(read_directory(self._directory), self._registry)

    def drafts_or_active(self) -> Policies:
        """Load the policy directory; where its changes wait to be activated, mistakes in it stop no start.

        Raises ConfigurationError.
        """
        try:
            return self.drafts()
        except ConfigurationError as error:
            kept = None if self.automatic else self._active()
            if kept is None:
                raise
            LOG.warning("policy.draft-unusable %s: %s", self._directory, error)
            return self.compile(kept)

    def changed(self, policies: Policies) -> bool:
        """Whether the files differ from those that were activated last from here."""
        try:
            return self._data.activated_files_file.read_text() != _digest(policies)
        except OSError:
            return True

    def note_files(self, policies: Policies) -> None:
        """Remember that these files were activated."""
        if self.changed(policies):
            write_durably(self._data.activated_files_file, _digest(policies).encode())

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
            return self.compile(kept)
        except ConfigurationError as error:
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

    def stored(self, row: BundleRow) -> Policies:
        """Compile a bundle of the database. Raises ConfigurationError."""
        return self.compile((row.texts or texts_of_documents(row)).encode())

    def compile(self, kept: bytes) -> Policies:
        """Compile texts that were good once, here or on another host. Raises ConfigurationError."""
        return compile_kept(kept, self._registry, self._directory)


def read_policies(sources: tuple[PolicySource, ...], registry: Registry) -> Policies:
    """Compile texts together with the files that they name. Raises ConfigurationError."""
    files: dict[str, bytes] = {}

    def read(source: PolicySource, path: str) -> bytes:
        files[path] = read_beside(source, path)
        return files[path]

    bundle = load_bundle(sources, registry, read)
    return Policies(bundle, _kept(bundle.sha256, sources, files))


def compile_kept(kept: bytes, registry: Registry, directory: Path | None = None) -> Policies:
    """Compile what ``Policies.kept`` holds. Nothing is read from ``directory``; the content of lists in files
    stays unknown until ``ListFollower`` reads it.

    Raises ConfigurationError, also if it is damaged or of a later version.
    """
    try:
        document = json.loads(kept)
        if document["version"] != VERSION:
            raise ConfigurationError(f"it has version {document['version']}, this program knows {VERSION}")
        sources = tuple(PolicySource(one["name"], one["text"], directory) for one in document["sources"])
        files = {path: base64.b64decode(text) for path, text in document["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ConfigurationError(f"the kept texts of the policies are damaged: {error!r}") from error

    def read(_source: PolicySource, path: str) -> bytes:
        if path not in files:
            raise ConfigurationError(f"the file {path!r} was not kept; activate the policies again")
        return files[path]

    return Policies(load_bundle(sources, registry, read, lambda _source, _path: None), kept)


def texts_of_documents(row: BundleRow) -> str:
    """The kept form of a bundle that was stored without its texts: a text with one document in each line."""
    text = "\n---\n".join(json.dumps(one, ensure_ascii=False) for one in json.loads(row.documents))
    source = PolicySource(f"{row.sha256[:12]}.yaml", text + "\n")
    return _kept(row.sha256, (source,), {}).decode()


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


def _digest(policies: Policies) -> str:
    return hashlib.sha256(policies.kept).hexdigest()
