"""/simplereenroll: which certificate, the same names, the same key or a new one (RFC 7030 section 4.2.2)."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509

from gateway.http.message import HttpResponse
from gateway.model.enrolment import Operation
from gateway.model.evidence import BASIC
from gateway.model.ids import new_id
from gateway.model.outcome import Issued
from gateway.model.reasons import ReasonCode
from tests.support import pki
from tests.unit.est.house import ISSUING, House, header, http_request, text

KEY = pki.shared_key("P-256")
SANS = ["device-1.test", "ip:192.0.2.1"]
CURRENT = ISSUING.issue(cn="Device 1", sans=SANS, private_key=KEY)
PLAIN = ISSUING.issue(cn="device-1", private_key=KEY)
NEW_KEY = pki.key()


async def reenroll(
    csr_der: bytes, chain: tuple[bytes, ...] = (CURRENT.certificate_der,)
) -> tuple[House, int, str]:
    house = House(answer=Issued(new_id(), CURRENT.certificate_der, ()))
    response = await house.send(http_request("simplereenroll", pki.base64_lines(csr_der), chain=chain))
    return house, response.status, "" if response.status == 200 else text(response)


@pytest.mark.parametrize(("key", "operation"), [(KEY, Operation.RENEW), (NEW_KEY, Operation.REKEY)])
async def test_same_key_renews_and_new_key_rekeys(key: pki.PrivateKey, operation: Operation) -> None:
    """est.md C46."""
    house, status, _ = await reenroll(pki.csr(key, cn="Device 1", sans=SANS))
    assert status == 200
    (asked,) = house.submitted
    assert asked.operation is operation
    assert asked.renews_der == CURRENT.certificate_der
    assert asked.remote.message == "simplereenroll"
    assert [credential.kind for credential in asked.presented] == ["renewal-cert"]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic " + base64.b64encode(b"u:p").decode()}])
async def test_without_client_certificate_it_is_403_and_no_challenge(headers: dict[str, str]) -> None:
    """est.md C43: not even with a right password."""
    house = House(accepts=(BASIC,))
    body = pki.base64_lines(pki.csr(KEY))
    response = await house.send(http_request("simplereenroll", body, headers=headers))
    assert response.status == 403
    assert header(response, "WWW-Authenticate") is None
    assert "client certificate" in text(response)
    assert house.bad[0].reason.code is ReasonCode.AUTH_MISSING
    assert not house.submitted


async def test_malformed_password_beside_a_certificate_is_401() -> None:
    house = House()
    response = await house.send(
        http_request(
            "simplereenroll", b"", headers={"authorization": "Basic x"}, chain=(CURRENT.certificate_der,)
        )
    )
    assert response.status == 401


@pytest.mark.parametrize(
    "csr_der",
    [
        pki.raw_csr(KEY, subject_der=pki.printable_name("device-1")),
        pki.csr(KEY, cn="DEVICE-1"),
        pki.csr(KEY, cn=" device-1 "),
    ],
    ids=["printable-string", "case", "white-space"],
)
async def test_subject_equal_by_name_matching_is_the_same(csr_der: bytes) -> None:
    """est.md C44 and 0.6: strongSwan writes PrintableString where the certificate has UTF8String."""
    assert (await reenroll(csr_der, (PLAIN.certificate_der,)))[1] == 200


async def test_alternative_names_in_another_order_are_the_same() -> None:
    """est.md C44."""
    house, status, _ = await reenroll(pki.csr(KEY, cn="device  1", sans=SANS[::-1]))
    assert status == 200
    assert len(house.submitted[0].identity.sans) == 2


async def test_missing_alternative_names_are_left_to_policy() -> None:
    """est.md C44."""
    house, status, _ = await reenroll(pki.csr(KEY, cn="Device 1"))
    assert status == 200
    assert house.submitted[0].identity.sans == ()


@pytest.mark.parametrize(
    ("csr_der", "named"),
    [
        (pki.csr(KEY, cn="Device 2", sans=SANS), "CN=Device 2"),
        (pki.csr(KEY, subject=pki.name("Device 1", O="Org"), sans=SANS), "O=Org"),
        (pki.csr(KEY, cn="Device 1", sans=[*SANS, "more.test"]), "dns:more.test"),
        (pki.csr(KEY, cn="Device 1", sans=["other.test"]), "dns:other.test"),
    ],
    ids=["cn", "more-rdns", "more-names", "other-names"],
)
async def test_other_names_are_400_and_say_how_to_change_them(csr_der: bytes, named: str) -> None:
    """est.md C44."""
    house, status, words = await reenroll(csr_der)
    assert status == 400
    assert named in words
    assert "ChangeSubjectName" in words
    assert house.bad[0].reason.code is ReasonCode.RENEWAL_NAMES_DIFFER
    assert not house.submitted


async def test_names_beside_a_certificate_without_any_are_400() -> None:
    csr_der = pki.csr(KEY, cn="device-1", sans=["new.test"])
    assert (await reenroll(csr_der, (PLAIN.certificate_der,)))[1] == 400


def changing(cn: str, new_cn: str, new_sans: list[str], *more: bytes) -> bytes:
    attributes = (pki.change_subject_name(pki.name(new_cn), new_sans), *more)
    return pki.raw_csr(NEW_KEY, subject_der=pki.name(cn).public_bytes(), attributes=attributes)


async def test_change_subject_name_hands_the_new_names_to_policy() -> None:
    """est.md C45."""
    house, status, _ = await reenroll(changing("Device 1", "Device 2", ["device-2.test"]))
    assert status == 200
    asked = house.submitted[0].identity
    assert str(asked.subject) == "CN=Device 2"
    assert [str(name) for name in asked.sans] == ["dns:device-2.test"]
    assert asked.attributes == ()


async def test_change_of_the_subject_alone_keeps_the_alternative_names() -> None:
    names = [(x509.SubjectAlternativeName([pki.general_name(san) for san in SANS]), False)]
    house, status, _ = await reenroll(changing("Device 1", "Device 2", [], pki.extension_request(*names)))
    assert status == 200
    asked = house.submitted[0].identity
    assert str(asked.subject) == "CN=Device 2"
    assert len(asked.sans) == 2


async def test_change_subject_name_does_not_free_the_old_subject_from_matching() -> None:
    """est.md C45: the CSR's own subject must still be the old one."""
    assert (await reenroll(changing("Device 9", "Device 2", [])))[1] == 400


async def test_malformed_change_subject_name_is_400() -> None:
    """est.md C45."""
    attribute = pki.attribute(pki.CHANGE_SUBJECT_NAME, pki.tlv(0x30))
    csr_der = pki.raw_csr(KEY, subject_der=pki.name("Device 1").public_bytes(), attributes=(attribute,))
    assert (await reenroll(csr_der))[1] == 400


async def enroll_changing_names(chain: tuple[bytes, ...]) -> tuple[House, HttpResponse]:
    house = House(answer=Issued(new_id(), CURRENT.certificate_der, ()))
    body = pki.base64_lines(changing("IDevID 1", "Device 2", ["device-2.test"]))
    return house, await house.send(http_request("simpleenroll", body, chain=chain))


async def test_change_subject_name_at_simpleenroll_counts_beside_a_client_certificate() -> None:
    """RFC 7030 section 4.2.1: a client with a third-party certificate asks for other names."""
    house, response = await enroll_changing_names((CURRENT.certificate_der,))
    assert response.status == 200
    (asked,) = house.submitted
    assert (asked.operation, asked.renews_der) == (Operation.ENROLL, None)
    assert str(asked.identity.subject) == "CN=Device 2"
    assert [str(name) for name in asked.identity.sans] == ["dns:device-2.test"]


async def test_change_subject_name_without_any_client_certificate_is_400() -> None:
    house, response = await enroll_changing_names(())
    assert response.status == 400
    assert "put the names into the CSR itself" in text(response)
    assert not house.submitted


async def test_unreadable_client_certificate_is_400_and_no_fault() -> None:
    house, status, _ = await reenroll(pki.csr(KEY), (b"\x30\x03\x02\x01\x00",))
    assert status == 400
    assert house.bad
