"""An endpoint hands out the certificates and the CRL of the CA that its document names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from gateway.authn.trust import TrustStores
from gateway.composition.ca_information import EndpointCas
from gateway.enrolment.crl import CrlPublisher
from gateway.errors import BackendUnavailable
from gateway.model.ids import EndpointName, ProtocolName
from gateway.policy.rules import CompiledTrustStore
from gateway.store.migrate import migrate
from tests.unit.composition import identity_house
from tests.unit.composition.identity_house import House, endpoint

SCEP, CMP, DEFAULT = ProtocolName("scep"), ProtocolName("cmp"), EndpointName("default")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    url = f"sqlite:///{tmp_path / 'test.sqlite3'}"
    migrate(url)
    with identity_house.house(tmp_path / "gateway", url) as opened:
        yield opened


@pytest.fixture
def cas(house: House) -> EndpointCas:
    crls = CrlPublisher(house.store, house.backends, house.clock, time.monotonic)
    return EndpointCas(house.bundle, house.backends, crls, house.identities)


def _names(certificates: tuple[bytes, ...]) -> list[str]:
    """The middle word of each CA's common name: Issuing, Scep, Root."""
    subjects = [x509.load_der_x509_certificate(one).subject for one in certificates]
    return [str(subject.rdns[-1].rfc4514_string()).split()[1] for subject in subjects]


async def test_ca_certificates_are_the_path_of_the_ca_that_the_endpoint_names(cas: EndpointCas) -> None:
    """RFC 7030 section 4.1.3: what path building needs; another issuing CA of the backend is not among it."""
    assert _names(await cas.ca_certificates(SCEP, DEFAULT)) == ["SCEP", "Root"]
    assert _names(await cas.ca_certificates(CMP, DEFAULT)) == ["Issuing", "Root"]


async def test_crl_is_signed_by_the_ca_that_the_endpoint_names(cas: EndpointCas) -> None:
    for protocol in (SCEP, CMP):
        issuer = x509.load_der_x509_certificate((await cas.ca_certificates(protocol, DEFAULT))[0])
        crl = x509.load_der_x509_crl(await cas.crl(protocol, DEFAULT))
        assert crl.issuer == issuer.subject
        assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # a key of a CA


async def test_endpoint_that_is_gone_or_has_no_such_ca_is_unavailable(cas: EndpointCas, house: House) -> None:
    with pytest.raises(BackendUnavailable):
        await cas.ca_certificates(SCEP, EndpointName("other"))
    house.use(endpoint(ca="unheard"))
    with pytest.raises(BackendUnavailable) as refused:
        await cas.crl(SCEP, DEFAULT)
    assert "'unheard'" in refused.value.detail


async def test_trust_store_of_the_backend_covers_every_issuing_ca(house: House) -> None:
    """What either CA issued may renew; design.md: own covers all issuing CAs."""
    stores = TrustStores(house.backends.certificates, house.backends.own_names)
    store = await stores.get(CompiledTrustStore("own", (), ("embedded",), "own"))
    authorities = [house.backends.authority("embedded", ca) for ca in ("issuing", "scep")]
    issuers = {
        x509.load_der_x509_certificate(one.certificate_der).subject.public_bytes() for one in authorities
    }
    assert issuers < store.own_issuers
    assert len(store.own_issuers) == 3


async def test_replaced_backend_is_handed_out_at_once(house: House, cas: EndpointCas, tmp_path: Path) -> None:
    """A reload opens a backend anew; nothing of the one before may be remembered."""
    before = await cas.ca_certificates(SCEP, DEFAULT), await cas.crl(SCEP, DEFAULT)
    with identity_house.house(tmp_path / "other", house.url) as other:
        house.backends.replace("embedded", other.backends.get("embedded"))
        after = await cas.ca_certificates(SCEP, DEFAULT)
        assert after == await other.backends.chain("embedded", "scep")
        assert set(after).isdisjoint(before[0])
        crl = x509.load_der_x509_crl(await cas.crl(SCEP, DEFAULT))
        assert crl.issuer == x509.load_der_x509_certificate(after[0]).subject
