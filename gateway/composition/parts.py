"""What both the preparing process and a worker need: bundle, backends, store; each opened after the fork."""

from __future__ import annotations

import logging
from pathlib import Path

from ca_backend.api import BackendContext, CaBackend
from gateway.clock import SystemClock
from gateway.composition.addresses import Addresses
from gateway.config import Config
from gateway.datadir import DataDirectory, resolve_secret
from gateway.enrolment.backends import BackendSet
from gateway.errors import ConfigurationError
from gateway.plugins import Plugins
from gateway.policy.rules import Bundle, CompiledBackend

LOG = logging.getLogger(__name__)


class BackendOpener:
    """Initialises and opens the backends of a bundle."""

    def __init__(self, config: Config, data: DataDirectory, addresses: Addresses, plugins: Plugins) -> None:
        self._config = config
        self._data = data
        self._addresses = addresses
        self._plugins = plugins

    def initialise(self, bundle: Bundle) -> None:
        """Create what must exist before the first start. Raises ConfigurationError, SecretUnavailable."""
        for compiled in bundle.backends.values():
            self._plugins.backends[compiled.type].initialise(compiled.options, self._context(compiled))

    def open(self, bundle: Bundle) -> BackendSet:
        """Open every backend. Raises ConfigurationError, SecretUnavailable."""
        return BackendSet({name: self.open_one(compiled) for name, compiled in bundle.backends.items()})

    def open_one(self, compiled: CompiledBackend) -> CaBackend:
        return self._plugins.backends[compiled.type].open(compiled.options, self._context(compiled))

    def _context(self, compiled: CompiledBackend) -> BackendContext:
        def secret(reference: str) -> bytes:
            return resolve_secret(reference, self._data.path)

        passphrase = self._config.passphrase or f"file:{self._data.passphrase_file}"
        return BackendContext(
            name=compiled.name,
            data_directory=self._data.path,
            clock=SystemClock(),
            secret=secret,
            urls=self._addresses.urls,
            passphrase=passphrase,
        )


def signing_backend(backends: BackendSet) -> str:
    """The backend that the gateway's own certificates come from. Raises ConfigurationError."""
    for name in backends.names():
        if backends.get(name).signs_in_process:
            return name
    raise ConfigurationError(
        "listeners with `tls: auto` need a backend of type embedded in the policies; add one, or give the "
        "listeners certificate and key files"
    )


def root_pem_path(data: DataDirectory) -> Path:
    """Where the root certificate is put for people and clients to copy."""
    return data.path / "root.pem"
