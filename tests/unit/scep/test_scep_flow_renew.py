"""Renewals on the real path: RenewalReq, and a PKCSReq that is signed with a certificate of ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509

from gateway.model.certificate import RevocationReason
from gateway.model.outcome import State
from gateway.pki.certificate import parse_certificate
from tests.support import pki
from tests.unit.scep.scep_house import Device, ScepHouse, rsa_key

MakeHouse = Callable[..., ScepHouse]
RENEWAL_REQ, UPDATE_REQ, PKCS_REQ = "17", "18", "19"


async def operations(house: ScepHouse) -> list[str]:
    return [row.operation for row in reversed(await house.rows())]


@pytest.mark.parametrize("message_type", [RENEWAL_REQ, PKCS_REQ])
async def test_renewal_with_the_same_key_and_transaction_gives_a_new_certificate(
    scep: MakeHouse, message_type: str
) -> None:
    """scep.md C42, C44: sscep, scepclient and certmonger make the transactionID from the key."""
    house = scep()
    device = await house.enrolled()
    renewed = await house.send(device, device.csr(None), message_type=message_type)
    assert renewed.certificate_der != device.signer.certificate_der
    once_more = device.with_certificate(renewed.certificate_der)
    again = await house.send(once_more, device.csr(None), message_type=message_type)
    assert again.certificate_der != renewed.certificate_der
    assert await operations(house) == ["enroll", "renew", "renew"]
    rows = {row.operation: row for row in await house.rows()}
    assert rows["renew"].csr_der is not None  # no secret stands in it


@pytest.mark.parametrize("message_type", [RENEWAL_REQ, PKCS_REQ])
async def test_rekey_is_signed_with_the_old_key_and_opened_with_it(
    scep: MakeHouse, message_type: str
) -> None:
    """scep.md C34, C44, RFC 8894 2.3."""
    house = scep()
    device = await house.enrolled()
    csr_der = device.csr(None, private_key=rsa_key("next"))
    renewed = x509.load_der_x509_certificate(
        (await house.send(device, csr_der, message_type=message_type)).certificate_der
    )
    assert renewed.public_key() == rsa_key("next").public_key()
    assert await operations(house) == ["enroll", "rekey"]


async def test_repeat_of_a_renewal_gives_the_same_certificate(scep: MakeHouse) -> None:
    """scep.md C41."""
    house = scep()
    device = await house.enrolled()
    csr_der = device.csr(None)
    first = await house.send(device, csr_der, message_type=RENEWAL_REQ)
    again = await house.send(device, csr_der, message_type=RENEWAL_REQ)
    assert again.certificate_der == first.certificate_der


async def test_apple_renews_by_pkcsreq_and_sends_its_challenge_again(scep: MakeHouse) -> None:
    """scep.md B3, C44: a used-up challenge beside the certificate does no harm, RFC 8894 2.4."""
    house, device = scep(), Device()
    row = await house.challenge(uses_left=1)
    assert row.uses_left == 1
    signed = device.with_certificate((await house.send(device)).certificate_der)
    renewed = await house.send(signed, signed.csr(private_key=rsa_key("next")))
    assert x509.load_der_x509_certificate(renewed.certificate_der).public_key() == (
        rsa_key("next").public_key()
    )
    assert all(one.csr_der is None for one in await house.rows())


async def test_pkcsreq_is_no_renewal_where_that_is_switched_off(scep: MakeHouse) -> None:
    """scep.md C44: then it takes the challenge, and its own key."""
    house = scep(renewal_by_pkcsreq=False)
    device = await house.enrolled()
    refused = (await house.send(device, device.csr(None))).reply
    assert (refused.status, refused.fail_info) == (2, 2)
    assert (await house.send(device, device.csr())).certificate_der
    assert (await house.send(device, device.csr(private_key=rsa_key("next")))).reply.status == 2
    assert (await house.send(device, device.csr(None), message_type=RENEWAL_REQ)).certificate_der


async def test_update_request_of_older_drafts_renews_only_where_it_is_switched_on(scep: MakeHouse) -> None:
    """scep.md C25."""
    house = scep(update_request=True)
    device = await house.enrolled()
    assert (await house.send(device, device.csr(None), message_type=UPDATE_REQ)).certificate_der
    assert await operations(house) == ["enroll", "renew"]
    (renewal, _) = await house.rows()
    assert renewal.remote is not None
    assert renewal.remote["message"] == "UpdateReq"


@pytest.mark.parametrize("signer", ["self-signed", "foreign", "impostor"])
async def test_renewal_of_a_certificate_that_is_not_ours_is_refused(scep: MakeHouse, signer: str) -> None:
    """scep.md C43: a good challenge does not make up for it."""
    house, device = scep(), Device()
    await house.challenge()
    if signer == "foreign":
        device.signer = pki.Authority("Other").issue(cn=device.cn, private_key=device.private_key)
    elif signer == "impostor":
        issuing_der, *_ = await house.backends.chain("embedded", None)
        device.signer = pki.impostor(issuing_der).issue(cn=device.cn, private_key=device.private_key)
    reply = (await house.send(device, message_type=RENEWAL_REQ)).reply
    assert (reply.status, reply.fail_info) == (2, 2)
    assert "auth.certificate-untrusted" in reply.fail_info_text


@pytest.mark.parametrize("message_type", [RENEWAL_REQ, PKCS_REQ])
async def test_renewal_of_a_revoked_certificate_is_bad_request(scep: MakeHouse, message_type: str) -> None:
    """scep.md C43, B5: the old certificate is looked at."""
    house = scep()
    device = await house.enrolled()
    sha256 = parse_certificate(device.signer.certificate_der).sha256
    record = await house.certificates.by_sha256(sha256)
    assert record is not None
    await house.certificates.revoke(record, RevocationReason.SUPERSEDED, "cli:anna")
    reply = (await house.send(device, device.csr(None), message_type=message_type)).reply
    assert (reply.status, reply.fail_info) == (2, 2)
    assert "revoked" in reply.fail_info_text


async def test_renewal_of_an_expired_certificate_is_bad_time(scep: MakeHouse) -> None:
    """scep.md C43."""
    house = scep()
    device = await house.enrolled()
    house.clock.advance(days=91)
    reply = (await house.send(device, device.csr(None), message_type=RENEWAL_REQ)).reply
    assert (reply.status, reply.fail_info) == (2, 3)
    (renewal, _) = await house.rows()
    assert renewal.state is State.REFUSED


async def test_renewal_under_another_name_is_bad_request(scep: MakeHouse) -> None:
    """scep.md C43."""
    house = scep()
    device = await house.enrolled()
    csr_der = device.csr(None, cn="admin.test")
    reply = (await house.send(device, csr_der, message_type=RENEWAL_REQ)).reply
    assert (reply.status, reply.fail_info) == (2, 2)
    assert "renewal.names-differ" in reply.fail_info_text
