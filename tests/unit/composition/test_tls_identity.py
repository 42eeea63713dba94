"""The listeners' certificate is held against what was asked for and recorded like any other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ca_backend.api import BackendContext, CaAnswer, CaIssued, IssuanceOrder, PublishedUrls
from ca_backend.embedded.options import EmbeddedOptions
from ca_backend.embedded.plugin import EmbeddedBackendPlugin
from gateway.clock import SystemClock
from gateway.composition.tls_identity import TlsIdentity
from gateway.config import Config
from gateway.datadir import DataDirectory, prepare, resolve_secret
from gateway.enrolment.backends import BackendSet
from gateway.errors import ConfigurationError
from gateway.pki.certificate import parse_certificate
from gateway.pki.keyfile import KeyKind
from gateway.store import audit, certificates
from gateway.store.migrate import migrate
from gateway.store.store import Store


class Lengthening:
    """A CA that signs for longer than it was asked to, and otherwise as the one behind it."""

    name, signs_in_process, needs_csr = "embedded", True, False

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self.chain = inner.chain  # type: ignore[attr-defined]

    async def issue(self, order: IssuanceOrder) -> CaAnswer:
        plan = replace(order.plan, not_after=order.plan.not_after + timedelta(days=700))
        answer: CaAnswer = await self._inner.issue(replace(order, plan=plan))  # type: ignore[attr-defined]
        assert isinstance(answer, CaIssued)
        return answer


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return prepare(tmp_path / "data")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'test.sqlite3'}"
    migrate(url)
    with Store(url) as opened:
        yield opened


def _backend(data: DataDirectory) -> object:
    context = BackendContext(
        "embedded",
        data.path,
        SystemClock(),
        lambda reference: resolve_secret(reference, data.path),
        lambda name: PublishedUrls(
            f"http://a.test/{name}.crl", f"http://a.test/{name}.cer", "http://a.test/o"
        ),
    )
    plugin, options = EmbeddedBackendPlugin(), EmbeddedOptions(root_key=KeyKind.EC_P256)
    plugin.initialise(options, context)
    return plugin.open(options, context)


async def test_listener_certificate_is_recorded_and_audited(data: DataDirectory, store: Store) -> None:
    identity = TlsIdentity(Config(), data)
    backends = BackendSet({"embedded": _backend(data)})  # type: ignore[dict-item]
    assert identity.due(SystemClock())
    await identity.issue("embedded", backends, store, SystemClock())
    assert not identity.due(SystemClock())
    presented = identity.load(Config().listeners[0]).chain[0]
    issuer = parse_certificate((await backends.get("embedded").chain())[0])
    record = await store.reader.read(
        lambda connection: certificates.by_serial(
            connection, issuer.spki_sha256, f"{presented.serial_number:x}"
        )
    )
    assert record is not None
    assert (record.protocol, record.endpoint, record.identity) == ("internal", "tls", "system")
    assert await store.reader.read(audit.read_head)


async def test_listener_certificate_other_than_asked_for_is_not_used(
    data: DataDirectory, store: Store
) -> None:
    identity = TlsIdentity(Config(), data)
    backends = BackendSet({"embedded": Lengthening(_backend(data))})  # type: ignore[dict-item]
    with pytest.raises(ConfigurationError, match=r"it is valid until .*, longer than"):
        await identity.issue("embedded", backends, store, SystemClock())
    assert identity.due(SystemClock())
    assert not (data.path / "tls" / "server.pem").exists()
