"""Which CAs a trust store knows as this gateway's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.authn.trust import TrustStore, TrustStores
from gateway.pki.certificate import parse_certificate
from gateway.policy.rules import CompiledTrustStore
from tests.unit.ca_backend import embedded_ca


@pytest.fixture
def chain_der(tmp_path: Path) -> tuple[bytes, ...]:
    backend = embedded_ca.opened(tmp_path)
    return tuple(authority.certificate_der for authority in backend.authorities())


async def _store(chain_der: tuple[bytes, ...], own_names: frozenset[bytes], *, files: bool) -> TrustStore:
    async def certificates_of(_name: str) -> tuple[bytes, ...]:
        return chain_der

    compiled = CompiledTrustStore(
        "own", chain_der if files else (), () if files else ("embedded",), revocation="own"
    )
    return await TrustStores(certificates_of, lambda: own_names).get(compiled)


async def test_backend_named_in_the_store_is_our_own(chain_der: tuple[bytes, ...]) -> None:
    store = await _store(chain_der, frozenset(), files=False)
    assert parse_certificate(chain_der[0]).subject_der in store.own_issuers


async def test_ca_of_this_process_is_our_own_also_where_its_file_is_listed(
    chain_der: tuple[bytes, ...],
) -> None:
    name = parse_certificate(chain_der[0]).subject_der
    assert name in (await _store(chain_der, frozenset({name}), files=True)).own_issuers


async def test_ca_of_somebody_else_is_not_our_own(chain_der: tuple[bytes, ...]) -> None:
    assert not (await _store(chain_der, frozenset(), files=True)).own_issuers
