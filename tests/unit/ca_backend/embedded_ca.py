"""Opens embedded CAs in a temporary directory, for the tests beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ca_backend.api import BackendContext, PublishedUrls
from ca_backend.embedded.backend import EmbeddedBackend
from ca_backend.embedded.options import EmbeddedOptions, IssuingCaOptions
from ca_backend.embedded.plugin import EmbeddedBackendPlugin
from gateway.clock import Clock
from gateway.pki.keyfile import KeyKind

PASSPHRASE = b"correct horse battery staple"


@dataclass(frozen=True, slots=True)
class FixedClock:
    """Stands still."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment


def clock() -> Clock:
    """Stands at the start of the test."""
    return FixedClock(datetime.now(UTC).replace(microsecond=0))


def urls(ca_name: str) -> PublishedUrls:
    base = "http://pki.test:8080"
    return PublishedUrls(f"{base}/crl/{ca_name}.crl", f"{base}/ca/{ca_name}.cer", f"{base}/ocsp/{ca_name}")


def context(
    data_directory: Path, *, passphrase: bytes = PASSPHRASE, at: Clock | None = None
) -> BackendContext:
    return BackendContext("embedded", data_directory, at or clock(), lambda _reference: passphrase, urls)


def options(
    issuing: KeyKind = KeyKind.EC_P256,
    *,
    root: KeyKind = KeyKind.EC_P256,
    more: dict[str, KeyKind] | None = None,
) -> EmbeddedOptions:
    """A hierarchy with a fast root, since most tests do not look at the root's key."""
    return EmbeddedOptions(
        root_key=root,
        issuing=(
            IssuingCaOptions(name="issuing", key=issuing),
            *(IssuingCaOptions(name=name, key=key) for name, key in (more or {}).items()),
        ),
    )


def opened(
    data_directory: Path, chosen: EmbeddedOptions | None = None, used: BackendContext | None = None
) -> EmbeddedBackend:
    """A backend whose files are made first if they do not exist."""
    plugin, chosen, used = EmbeddedBackendPlugin(), chosen or options(), used or context(data_directory)
    plugin.initialise(chosen, used)
    return plugin.open(chosen, used)
