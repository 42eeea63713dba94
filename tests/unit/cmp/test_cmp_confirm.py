"""certConf: accepted, declined, late, twice, wrong (RFC 9810 section 5.3.18)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.asn1.cmp_bodies import CertStatus
from gateway.cmp.confirm import expected_hash
from gateway.model.outcome import State
from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.cmp_wire import integer
from tests.support.pki import tlv
from tests.unit.cmp.cmp_house import IMPLICIT, MAC, CmpHouse, Talk, ir

MakeHouse = Callable[..., CmpHouse]
ACCEPTED, REJECTED = cmp_bodies.status_info(0), cmp_bodies.status_info(2, "not as ordered")


async def begun(house: CmpHouse, name: str = "ir") -> Talk:
    """A transaction whose certificate waits for its certConf."""
    await house.secret()
    talk = house.talk()
    await talk.send(name, ir(pki.key()))
    return talk


def statuses(*each: bytes) -> bytes:
    return tlv(0x30, *each)


async def test_certificate_is_unconfirmed_until_its_certconf(cmp: MakeHouse) -> None:
    """cmp.md C65, C70: the same certConf again is answered again, another one is certConfirmed."""
    house = cmp()
    talk = await begun(house)
    answered = talk.last
    assert answered is not None
    (row,) = await house.rows()
    assert row.state is State.UNCONFIRMED
    assert (await talk.confirm(answered.certificate)).body_name == "pkiconf"
    (row,) = await house.rows()
    assert row.state is State.ISSUED
    assert (await talk.post(talk.sent)).body_name == "pkiconf"
    talk.last = answered
    assert (await talk.confirm(answered.certificate)).outcome == "certConfirmed"


async def test_pkiconf_is_protected_as_the_request_was(cmp: MakeHouse) -> None:
    """cmp.md C47: by the same secret after a MAC, by the same signer after a signature."""
    house = cmp()
    talk = await begun(house)
    assert talk.last is not None
    assert (await talk.confirm(talk.last.certificate)).mac_is_right(MAC.secret)
    device = await house.device("signs.test")
    signed = house.talk(device)
    answered = await signed.send("cr", ir(pki.key(), "signs.test"))
    assert (await signed.confirm(answered.certificate)).signer() == answered.signer()


async def test_declined_certificate_is_withdrawn_and_revoked(cmp: MakeHouse) -> None:
    """cmp.md C67: pkiConf, and on its repeat too; a later acceptance is certRevoked."""
    house = cmp()
    talk = await begun(house)
    answered = talk.last
    assert answered is not None
    assert (await talk.confirm(answered.certificate, status=REJECTED)).body_name == "pkiconf"
    assert (await talk.post(talk.sent)).body_name == "pkiconf"
    (row,) = await house.rows()
    assert row.state is State.WITHDRAWN
    serial_hex = f"{answered.certificate.serial_number:x}"
    (record,) = await house.certificates.by_serial(serial_hex)
    assert record.status == "revoked"
    talk.last = answered
    assert (await talk.confirm(answered.certificate)).outcome == "certRevoked"


@pytest.mark.parametrize("name", ["ir", "cr"])
async def test_empty_certconf_declines_everything(cmp: MakeHouse, name: str) -> None:
    """cmp.md C67"""
    house = cmp()
    talk = await begun(house, name)
    assert (await talk.send("certConf", b"\x30\x00")).body_name == "pkiconf"
    (row,) = await house.rows()
    assert row.state is State.WITHDRAWN


async def several(house: CmpHouse, refused: int) -> Talk:
    """Two requests at once, of which the far CA refuses one."""
    asked = iter((0, 1))

    def before(call: str) -> None:
        if call == "issue":
            house.foreign.ca.switches.refuse = "not this one" if next(asked) == refused else ""

    house.foreign.before = before
    await house.secret()
    talk = house.talk(endpoint="far")
    each = [cmp_bodies.request(pki.key(), f"{number}.test", cert_req_id=number) for number in (0, 1)]
    reply = await talk.send("ir", cmp_bodies.requests(*each))
    assert sorted(one.status for one in reply.statuses) == ["accepted", "rejection"]
    return talk


@pytest.mark.parametrize("refused", [0, 1])
async def test_empty_certconf_declines_the_one_certificate_of_several_requests(
    cmp: MakeHouse, refused: int
) -> None:
    """cmp.md C67: that the CA refused another request of the message is no obstacle; so too on a repeat."""
    house = cmp()
    talk = await several(house, refused)
    assert (await talk.send("certConf", b"\x30\x00")).body_name == "pkiconf"
    assert (await talk.post(talk.sent)).body_name == "pkiconf"
    assert {row.state for row in await house.rows()} == {State.WITHDRAWN, State.REFUSED}


async def test_empty_certconf_declines_what_was_not_confirmed_before(cmp: MakeHouse) -> None:
    """cmp.md C67, C70: of two certificates the first is confirmed, then everything is declined."""
    house = cmp()
    await house.secret()
    talk = house.talk()
    each = [cmp_bodies.request(pki.key(), f"{number}.test", cert_req_id=number) for number in (0, 1)]
    answered = await talk.send("ir", cmp_bodies.requests(*each))
    assert (await talk.confirm(answered.certificates[0], cert_req_id=0)).body_name == "pkiconf"
    talk.last = answered
    assert (await talk.send("certConf", b"\x30\x00")).body_name == "pkiconf"
    assert (await talk.post(talk.sent)).body_name == "pkiconf"
    assert sorted(row.state for row in await house.rows()) == ["issued", "withdrawn"]
    assert (await talk.send("certConf", b"\x30\x00")).outcome == "certConfirmed"


async def test_late_certconf_finds_the_certificate_revoked(cmp: MakeHouse) -> None:
    """cmp.md C71"""
    house = cmp(confirm_within_s=60)
    talk = await begun(house)
    assert talk.last is not None
    house.clock.advance(seconds=61)
    assert (await talk.confirm(talk.last.certificate)).outcome == "certRevoked"
    states = {row.state for row in await house.rows()}
    assert states == {State.WITHDRAWN, State.REFUSED}  # the request, and the certConf that came too late


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (lambda digest: statuses(cmp_bodies.cert_status(bytes(32))), "badCertId"),
        (lambda digest: statuses(cmp_bodies.cert_status(digest[:-1])), "badCertId"),
        (lambda digest: statuses(cmp_bodies.cert_status(digest, cert_req_id=1)), "badRequest"),
        (lambda digest: statuses(cmp_bodies.cert_status(digest, cert_req_id=-1)), "badRequest"),
        (lambda digest: statuses(*[cmp_bodies.cert_status(digest)] * 2), "badRequest"),
        (
            lambda digest: statuses(
                cmp_bodies.cert_status(digest), cmp_bodies.cert_status(digest, cert_req_id=1)
            ),
            "badRequest",
        ),
        (
            lambda digest: statuses(
                cmp_bodies.cert_status(digest, status_info=cmp_bodies.status_info(0, failure=2))
            ),
            "badRequest",
        ),
        (
            lambda digest: statuses(cmp_bodies.cert_status(digest, status_info=cmp_bodies.status_info(3))),
            "badRequest",
        ),
        (
            lambda digest: statuses(cmp_bodies.cert_status(digest, hash_algorithm=cmp_bodies.SHA256)),
            "badCertId",
        ),
        (lambda digest: b"\x04\x00", "badDataFormat"),
    ],
)
async def test_certconf_that_does_not_fit_is_refused_and_can_be_made_good(
    cmp: MakeHouse, body: Callable[[bytes], bytes], outcome: str
) -> None:
    """cmp.md C65, C66"""
    house = cmp()
    talk = await begun(house)
    answered = talk.last
    assert answered is not None
    digest = cmp_bodies.cert_hash(answered.certificate)
    assert (await talk.send("certConf", body(digest))).outcome == outcome
    talk.last = answered
    assert (await talk.confirm(answered.certificate)).body_name == "pkiconf"


@pytest.mark.parametrize(
    ("algorithm", "name", "answer"),
    [
        ("2.16.840.1.101.3.4.2.3", "sha512", "pkiconf"),
        ("2.16.840.1.101.3.4.2.1", "sha256", "pkiconf"),
        ("1.3.14.3.2.26", "sha1", "error"),
    ],
)
async def test_hash_algorithm_may_be_named_in_version_three(
    cmp: MakeHouse, algorithm: str, name: str, answer: str
) -> None:
    """cmp.md C65"""
    house = cmp()
    talk = await begun(house)
    assert talk.last is not None
    certificate_der = talk.last.certificate.public_bytes(Encoding.DER)
    digest = hashlib.new(name, certificate_der).digest()
    status = cmp_bodies.cert_status(digest, hash_algorithm=tlv(0x30, pki.oid(algorithm)))
    reply = await talk.send("certConf", statuses(status), pvno=integer(3))
    assert reply.body_name == answer


async def test_explicit_acceptance_counts(cmp: MakeHouse) -> None:
    """cmp.md C66"""
    house = cmp()
    talk = await begun(house)
    assert talk.last is not None
    assert (await talk.confirm(talk.last.certificate, status=ACCEPTED)).body_name == "pkiconf"


async def test_certconf_after_implicit_confirm_is_cert_confirmed(cmp: MakeHouse) -> None:
    """cmp.md C70, C72"""
    house = cmp()
    await house.secret()
    talk = house.talk()
    reply = await talk.send("ir", ir(pki.key()), generalInfo=IMPLICIT)
    (row,) = await house.rows()
    assert row.state is State.ISSUED
    assert (await talk.confirm(reply.certificate)).outcome == "certConfirmed"


async def test_implicit_confirm_is_not_granted_where_the_endpoint_says_so(cmp: MakeHouse) -> None:
    """cmp.md C72"""
    house = cmp(implicit_confirm=False)
    await house.secret()
    talk = house.talk()
    reply = await talk.send("ir", ir(pki.key()), generalInfo=IMPLICIT)
    assert cmp_wire.IMPLICIT_CONFIRM not in reply.infos
    (row,) = await house.rows()
    assert row.state is State.UNCONFIRMED
    assert (await talk.confirm(reply.certificate)).body_name == "pkiconf"


async def test_certconf_of_somebody_else_finds_nothing(cmp: MakeHouse) -> None:
    """cmp.md C69: the nonce is right, but the sender is another one."""
    house = cmp()
    talk = await begun(house)
    answered = talk.last
    assert answered is not None
    other = cmp_wire.Pbm("line-5", b"another secret")
    await house.secret(other)
    reply = await talk.confirm(answered.certificate, protection=other)
    assert reply.outcome == "badRequest"
    (row, *_) = [row for row in await house.rows() if row.state is State.UNCONFIRMED]
    assert row.transaction_id == talk.transaction_id.hex()


async def test_renewal_is_confirmed_by_the_old_certificate(cmp: MakeHouse) -> None:
    """cmp.md C68: the new one with the same key must not confirm itself."""
    house = cmp()
    await house.secret()
    device = await house.device()
    talk = house.talk(device)
    answered = await talk.send("kur", ir(device.identity.private_key))
    assert answered.outcome == "accepted"
    itself = cmp_wire.Signed(pki.Identity(answered.certificate, device.identity.private_key))
    assert (await talk.confirm(answered.certificate, protection=itself)).outcome == "badRequest"
    talk.last = answered
    assert (await talk.confirm(answered.certificate)).body_name == "pkiconf"


async def test_p10cr_is_confirmed_under_minus_one(cmp: MakeHouse) -> None:
    """cmp.md C50"""
    house = cmp()
    await house.secret()
    talk, private_key = house.talk(), pki.key()
    answered = await talk.send("p10cr", pki.device_csr(private_key, "dev.test"))
    assert answered.body_name == "cp"
    assert int(answered.body["response"][0]["certReqId"]) == -1
    assert (await talk.confirm(answered.certificate, cert_req_id=0)).outcome == "badRequest"
    talk.last = answered
    assert (await talk.confirm(answered.certificate, cert_req_id=-1)).body_name == "pkiconf"


async def test_certconf_in_a_transaction_without_certificates_is_refused(cmp: MakeHouse) -> None:
    """cmp.md C69"""
    house = cmp()
    await house.secret()
    talk = house.talk()
    await talk.send("genm", b"\x30\x00")
    status = cmp_bodies.cert_status(bytes(32))
    assert (await talk.send("certConf", statuses(status))).outcome == "badRequest"


@pytest.mark.parametrize("kind", ["Ed25519", "Ed448", "P-384", "RSA-2048"])
def test_expected_hash_is_that_of_the_certificates_signature(kind: str) -> None:
    """cmp.md C65: Ed25519 has SHA-512, Ed448 SHAKE256 (RFC 9481 section 3.3)."""
    authority = pki.Authority("Signs", kind=kind)
    certificate = authority.issue(cn="dev.test").certificate
    wanted = cmp_bodies.cert_hash(certificate)
    assert expected_hash(certificate.public_bytes(Encoding.DER), CertStatus(wanted, 0)) == wanted
