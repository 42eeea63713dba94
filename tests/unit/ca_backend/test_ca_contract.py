"""The public contract, held by the embedded CA with each kind of key and by the sample CA in its process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ca_backend.api import CaBackend
from ca_backend.contract import BackendContract
from gateway.pki.keyfile import KeyKind
from tests.unit.ca_backend import embedded_ca
from tests.unit.ca_backend.sample_ca import SampleCa


@asynccontextmanager
async def closing(backend: CaBackend) -> AsyncIterator[CaBackend]:
    try:
        yield backend
    finally:
        await backend.aclose()


@pytest.mark.parametrize(
    "kind", [KeyKind.EC_P256, KeyKind.RSA_3072, KeyKind.EC_P384, KeyKind.ED25519, KeyKind.RSA_2048]
)
class TestEmbeddedCa(BackendContract):
    """The embedded CA with issuing keys that sign in the loop and such that sign in a thread."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path_factory: pytest.TempPathFactory, kind: KeyKind) -> None:
        # One directory for each kind: RSA keys take long to make
        self.directory = tmp_path_factory.getbasetemp() / f"embedded-{kind}"
        self.options = embedded_ca.options(kind)

    def opened(self) -> AbstractAsyncContextManager[CaBackend]:
        return closing(embedded_ca.opened(self.directory, self.options))


class TestSampleRemoteCa(BackendContract):
    """The plug-in of another distribution, found by its entry point, over a real socket."""

    retry = "idempotent"
    pending = 0

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path: Path) -> Iterator[None]:
        with SampleCa(tmp_path / "ca", "--retry", self.retry, "--pending", str(self.pending)) as server:
            self.server = server
            yield

    def opened(self) -> AbstractAsyncContextManager[CaBackend]:
        return closing(self.server.backend(retry=self.retry))


class TestFindableSampleRemoteCa(TestSampleRemoteCa):
    retry = "findable"


class TestForgetfulSampleRemoteCa(TestSampleRemoteCa):
    retry = "neither"


class TestSampleRemoteCaThatDecidesLater(TestSampleRemoteCa):
    pending = 2


def test_embedded_backend_is_found_by_its_entry_point() -> None:
    plugins = {each.name: each for each in entry_points(group="pkigate.ca_backends")}
    assert plugins["embedded"].load().type_name == "embedded"
