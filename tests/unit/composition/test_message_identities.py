"""Identities for messages are made for every endpoint, agreed on by all gateways, renewed with an overlap."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.composition import message_identities
from gateway.composition.identity_record import setting_name
from gateway.errors import BackendUnavailable, ConfigurationError, MalformedMessage, SecretUnavailable
from gateway.message_identity import MessageIdentity
from gateway.pki.certificate import parse_certificate
from gateway.store import audit, settings
from gateway.store.migrate import migrate
from gateway.store.unit import Unit
from tests.support.database import rows
from tests.unit.composition import identity_house
from tests.unit.composition.identity_house import CMC_RA, CMP, SCEP, Brought, House, endpoint, replacing


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'test.sqlite3'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_server").new_database()
    migrate(url)
    return url


@pytest.fixture
def house(tmp_path: Path, url: str) -> Iterator[House]:
    with identity_house.house(tmp_path / "one", url) as opened:
        yield opened


def _encrypted(identity: MessageIdentity) -> bytes:
    """A content key as a SCEP client encrypts it to the certificate (RFC 8894 section 3.1)."""
    public_key = x509.load_der_x509_certificate(identity.certificate_der).public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    return public_key.encrypt(b"content key", padding.PKCS1v15())


def _opens(identities: tuple[MessageIdentity, ...], ciphertext: bytes) -> bool:
    for identity in identities:
        with suppress(MalformedMessage):  # encrypted to another key, and no less than this one's modulus
            if identity.signer.decrypt(ciphertext) == b"content key":
                return True
    return False


async def test_scep_identity_is_an_rsa_key_certified_by_the_ca_of_its_endpoint(house: House) -> None:
    """design.md: RSA-2048, digitalSignature and keyEncipherment, issued by the endpoint's CA."""
    await house.identities.prepare()
    (identity,) = await house.identities.of(*SCEP)
    certificate = x509.load_der_x509_certificate(identity.certificate_der)
    assert certificate.subject.rfc4514_string() == "CN=SCEP RA default,O=pkigate"
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_encipherment
    assert parse_certificate(identity.certificate_der).key_usage == ("digitalSignature", "keyEncipherment")
    issuer, root = map(x509.load_der_x509_certificate, identity.chain_der)
    certificate.verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(root)
    assert "SCEP" in issuer.subject.rfc4514_string()
    signature = identity.signer.sign(b"message")
    public_key = certificate.public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    public_key.verify(signature, b"message", padding.PKCS1v15(), hashes.SHA256())
    assert identity.signer.decrypt(_encrypted(identity)) == b"content key"


async def test_cmp_identity_is_an_ec_key_for_registration_authorities(house: House) -> None:
    """design.md: P-256, digitalSignature, id-kp-cmcRA, by the backend's default CA."""
    (identity,) = await house.identities.of(*CMP)
    parsed = parse_certificate(identity.certificate_der)
    assert (parsed.key_usage, parsed.extended_key_usage) == (("digitalSignature",), (CMC_RA,))
    public_key = x509.load_der_x509_certificate(identity.certificate_der).public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    public_key.verify(identity.signer.sign(b"message"), b"message", ec.ECDSA(hashes.SHA256()))
    assert identity.chain_der[0] == house.backends.authority("embedded").certificate_der


async def test_made_identities_are_recorded_and_audited_like_other_certificates(house: House) -> None:
    await house.identities.prepare()
    assert house.recorded == ["cmp/default", "scep/default"]
    events = rows(house.url, "SELECT action FROM audit")
    assert [row[0] for row in events] == ["certificate.issue", "certificate.issue"]
    assert await house.store.reader.read(audit.read_head)


async def test_no_private_key_stands_readable_in_the_database(house: House) -> None:
    (identity,) = await house.identities.of(*SCEP)
    value = await house.store.reader.read(lambda connection: settings.get(connection, setting_name(*SCEP)))
    assert value is not None
    numbers = identity.signer._private_key.private_numbers()  # type: ignore[attr-defined]
    prime = numbers.p.to_bytes(128, "big")
    assert prime.hex() not in value
    assert prime not in _decoded(value)
    assert "MII" in value  # the certificate, so that the search would find what is there
    assert parse_certificate(identity.certificate_der).spki_der in _decoded(value)


def _decoded(value: str) -> bytes:
    document = json.loads(value)["identities"][0]
    return b"".join(base64.b64decode(document[key]) for key in ("certificate", "sealed_key"))


async def test_second_gateway_on_the_database_has_the_same_identity_and_opens_its_messages(
    house: House, tmp_path: Path, url: str
) -> None:
    (identity,) = await house.identities.of(*SCEP)
    with identity_house.house(tmp_path / "two", url, like=house) as other:
        await other.identities.prepare()
        (same,) = await other.identities.of(*SCEP)
        assert same.certificate_der == identity.certificate_der
        assert same.signer.decrypt(_encrypted(identity)) == b"content key"


async def test_gateways_that_begin_at_once_make_one_identity(house: House, tmp_path: Path, url: str) -> None:
    with identity_house.house(tmp_path / "two", url, like=house) as other:
        await asyncio.gather(house.identities.prepare(), other.identities.prepare())
        assert house.recorded == ["cmp/default", "scep/default"]
        for key in (SCEP, CMP):
            mine, theirs = await house.identities.of(*key), await other.identities.of(*key)
            assert [one.certificate_der for one in mine] == [one.certificate_der for one in theirs]


async def test_identity_sealed_under_another_server_key_is_refused_with_what_to_do(
    house: House, tmp_path: Path, url: str
) -> None:
    await house.identities.prepare()
    with identity_house.house(tmp_path / "two", url) as other:
        with pytest.raises(SecretUnavailable, match=r"gateways on one database need the same server\.key"):
            await other.identities.prepare()
        with pytest.raises(BackendUnavailable) as refused:
            await other.identities.of(*SCEP)
        assert "another server key" in refused.value.detail
    assert house.recorded == ["cmp/default", "scep/default"]


async def test_damaged_setting_is_refused_and_not_replaced(house: House) -> None:
    unit = Unit()
    settings.put(unit, setting_name(*SCEP), '{"v": 1, "identities": [{}]}', house.clock.now())
    await house.store.recorder.commit(unit)
    with pytest.raises(SecretUnavailable, match="cannot be read"):
        await house.identities.prepare()
    assert house.recorded == []


async def test_identity_is_renewed_with_a_third_of_its_life_left_and_handed_out_a_minute_later(
    house: House,
) -> None:
    await house.identities.prepare()
    (earlier,) = await house.identities.of(*SCEP)
    house.clock.advance(days=240)
    await house.follow()
    assert house.recorded.count("scep/default") == 1
    house.clock.advance(days=5)
    await house.follow()
    await house.follow()
    assert house.recorded.count("scep/default") == 2
    both = await house.identities.of(*SCEP)
    assert both[0].certificate_der == earlier.certificate_der  # until every gateway has read the other
    house.clock.advance(seconds=message_identities.HANDED_OUT_AFTER.total_seconds())
    newest, previous = await house.identities.of(*SCEP)
    assert newest.certificate_der == both[1].certificate_der
    assert previous.certificate_der == earlier.certificate_der
    assert _opens((newest, previous), _encrypted(earlier))


async def test_replaced_identity_opens_messages_until_its_own_end(house: House) -> None:
    """scep.md C30"""
    (earlier,) = await house.identities.of(*SCEP)
    house.clock.advance(days=250)
    await house.follow()
    house.clock.advance(days=115)
    assert _opens(await house.identities.of(*SCEP), _encrypted(earlier))
    house.clock.advance(days=1)
    (left,) = await house.identities.of(*SCEP)
    assert left.certificate_der != earlier.certificate_der


async def test_gateway_without_the_lease_takes_what_another_made_and_makes_none(
    house: House, tmp_path: Path, url: str
) -> None:
    async def not_me() -> bool:
        return False

    await house.identities.prepare()
    house.clock.advance(days=250)
    with identity_house.house(tmp_path / "two", url, like=house) as other:
        await other.identities.open()
        await other.identities.follow(not_me)
        assert other.recorded.count("scep/default") == 1
        await house.follow()
        await other.identities.follow(not_me)
        assert len(await other.identities.of(*SCEP)) == 2


async def test_endpoint_that_moves_to_another_ca_hands_out_an_identity_of_that_one_at_once(
    house: House,
) -> None:
    house.use(endpoint("cmp", ca=None))
    before = await house.first(CMP)
    house.use(endpoint("cmp", ca="scep"))
    await house.follow()
    newest, earlier = await house.identities.of(*CMP)
    assert newest.chain_der[0] == house.backends.authority("embedded", "scep").certificate_der
    assert earlier.certificate_der == before.certificate_der


async def test_endpoint_that_is_added_while_the_gateway_runs_gets_its_identity_when_it_is_asked_for(
    house: House,
) -> None:
    house.use(endpoint("cmp", ca=None))
    await house.identities.prepare()
    with pytest.raises(BackendUnavailable):
        await house.identities.of(*SCEP)
    house.use(endpoint(), endpoint("cmp", ca=None))
    many = await asyncio.gather(*(house.identities.of(*SCEP) for _ in range(5)))
    assert len({one[0].certificate_der for one in many}) == 1
    assert house.recorded == ["cmp/default", "scep/default"]


async def test_identity_of_the_administrator_goes_first_and_its_predecessors_open_messages(
    house: House, tmp_path: Path
) -> None:
    (made,) = await house.identities.of(*SCEP)
    old, new = Brought().write(tmp_path, "old"), Brought(passphrase=b"word").write(tmp_path, "new")
    (tmp_path / "word").write_bytes(b"word\n")
    (tmp_path / "word").chmod(0o600)
    named = replacing(new, old).model_copy(update={"passphrase": f"file:{tmp_path}/word"})
    house.use(endpoint(identity=named))
    await house.identities.prepare()
    identities = await house.identities.of(*SCEP)
    subjects = [str(parse_certificate(one.certificate_der).subject) for one in identities]
    assert subjects == ["CN=Our new", "CN=Our old", "O=pkigate,CN=SCEP RA default"]
    assert _opens(identities, _encrypted(identities[1]))
    assert _opens(identities, _encrypted(made))
    assert identities[0].chain_der == (
        x509.load_pem_x509_certificates((tmp_path / "new.pem").read_bytes())[1].public_bytes(Encoding.DER),
    )
    assert house.recorded == ["scep/default"]


async def test_new_files_of_the_administrator_are_taken_with_the_policies(
    house: House, tmp_path: Path
) -> None:
    named = Brought().write(tmp_path)
    house.use(endpoint(identity=named))
    await house.identities.prepare()
    first = await house.first()
    Brought().write(tmp_path)
    assert (await house.first()).sha256 == first.sha256
    take = await house.identities.check(house.bundle.current, house.backends)
    assert (await house.first()).sha256 == first.sha256
    take()
    assert (await house.first()).sha256 != first.sha256


async def test_identity_whose_files_vanished_since_the_start_degrades_its_endpoint_alone(
    house: House, tmp_path: Path
) -> None:
    named = Brought().write(tmp_path)
    (tmp_path / "ra.key").unlink()
    house.use(endpoint(identity=named), endpoint("cmp", ca=None))
    await house.identities.open()
    await house.follow()
    states = house.identities.components()
    assert states["identity cmp/default"] == "ok"
    assert "ra.key" in states["identity scep/default"]
    assert states["identity scep/default"].startswith("degraded")
    with pytest.raises(BackendUnavailable):
        await house.identities.of(*SCEP)
    assert await house.identities.of(*CMP)


async def test_readiness_is_degraded_in_the_last_thirty_days(house: House, tmp_path: Path) -> None:
    """scep.md C50"""
    house.use(endpoint(identity=Brought().write(tmp_path)))
    await house.identities.prepare()
    assert house.identities.components() == {"identity scep/default": "ok"}
    house.clock.advance(days=61)
    state = house.identities.components()["identity scep/default"]
    assert state.startswith("degraded: it ends on ")
    assert "name a new one under `identity`" in state


@pytest.mark.parametrize(("ca", "backend"), [("unheard", "embedded"), (None, "elsewhere")])
async def test_endpoint_whose_ca_cannot_make_an_identity_here_is_refused_with_what_to_do(
    ca: str | None, backend: str, house: House
) -> None:
    house.use(endpoint(ca=ca, backend=backend))
    with pytest.raises(ConfigurationError, match=r"endpoint scep/default: .*bring certificate and key by"):
        await house.identities.prepare()
    with pytest.raises(BackendUnavailable):
        await house.identities.of(*SCEP)
