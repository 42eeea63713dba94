"""PKCSReq on the real path: challenges, whose key signs, repeats, and what is recorded."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509

from gateway.model.outcome import State
from gateway.model.reasons import ReasonCode
from tests.support import pki
from tests.support.scep_wire import envelope, self_signed
from tests.unit.scep.scep_house import CHALLENGE, VENDOR, Device, ScepHouse, rsa_key

MakeHouse = Callable[..., ScepHouse]
WRONG = "the challenge password is wrong or no longer good; ask for a new one"


async def test_first_enrolment_gives_the_certificate_alone_and_keeps_no_secret(scep: MakeHouse) -> None:
    """scep.md C37, C40, C47, C51: the signer's subject is another one, as Cisco ASA writes it."""
    house, device = scep(), Device("dev.test", transaction_id="4F2C 1")
    await house.challenge()
    reply = (await house.send(device)).reply
    (certificate_der,) = reply.certificates_der
    certificate = x509.load_der_x509_certificate(certificate_der)
    assert certificate.subject == pki.name("dev.test")
    assert certificate.public_key() == device.private_key.public_key()
    (row,) = await house.rows()
    assert (row.state, row.operation, row.transaction_id) == (State.ISSUED, "enroll", "4F2C 1")
    assert row.csr_der is None  # the challenge stands in it
    assert row.remote is not None
    assert row.remote["message"] == "PKCSReq"
    assert CHALLENGE not in repr(row)
    assert house.log["transaction"] == "4F2C 1"


@pytest.mark.parametrize(("include_chain", "count"), [("none", 1), ("issuer", 2), ("chain", 3)])
async def test_chain_in_the_answer_is_as_the_option_says(
    scep: MakeHouse, include_chain: str, count: int
) -> None:
    """scep.md B7, C47: Juniper wants the certificate alone, older Cisco clients its issuer too."""
    house = scep(include_chain=include_chain)
    await house.challenge()
    reply = (await house.send(Device())).reply
    found = [x509.load_der_x509_certificate(one) for one in reply.certificates_der]
    assert len(found) == count
    for leaf, issuer in itertools.pairwise(found):
        leaf.verify_directly_issued_by(issuer)


@pytest.mark.parametrize("challenge", [None, "", "guessed", "x" * 300])
async def test_absent_empty_wrong_and_long_challenge_are_refused_alike(
    scep: MakeHouse, challenge: str | None
) -> None:
    """scep.md C38, B4: a CertRep FAILURE with badRequest and HTTP 200."""
    house, device = scep(), Device()
    await house.challenge()
    reply = (await house.send(device, device.csr(challenge))).reply
    (row,) = await house.rows()
    assert (reply.status, reply.fail_info) == (2, 2)
    assert reply.fail_info_text.startswith(f"{WRONG} [auth.failed, PG-")
    assert row.state is State.REFUSED


@pytest.mark.parametrize(
    ("tag", "octets"),
    [
        (0x0C, "pä$$".encode()),
        (0x13, b"plain"),
        (0x16, b"plain"),
        (0x14, "pä$$".encode("latin-1")),
        (0x1E, "pä$$".encode("utf-16-be")),
        (0x1C, "pä$$".encode("utf-32-be")),
    ],
    ids=["UTF8String", "PrintableString", "IA5String", "TeletexString", "BMPString", "UniversalString"],
)
async def test_challenge_in_any_string_type_is_found(scep: MakeHouse, tag: int, octets: bytes) -> None:
    """scep.md C38."""
    house, device = scep(), Device()
    await house.challenge("plain" if octets == b"plain" else "pä$$")
    assert (await house.send(device, device.csr(octets, tag=tag))).certificate_der


@pytest.mark.parametrize("wrapped", [False, True], ids=["string", "set"])
async def test_challenge_among_the_requested_extensions_is_found_and_not_recorded(
    scep: MakeHouse, wrapped: bool
) -> None:
    """scep.md C38: seen in the field."""
    house, device = scep(), Device()
    await house.challenge()
    string = pki.tlv(0x13, CHALLENGE.encode())
    value = pki.tlv(0x31, string) if wrapped else string
    extension = pki.tlv(0x30, pki.oid(pki.CHALLENGE_PASSWORD), pki.tlv(0x04, value))
    requested = pki.attribute(pki.EXTENSION_REQUEST, pki.tlv(0x30, extension))
    assert (await house.send(device, device.csr(None, more=[requested]))).certificate_der
    (row,) = await house.rows()
    assert row.csr_der is None
    assert CHALLENGE not in repr(row)


async def test_one_time_challenge_serves_one_device_and_its_repeats(scep: MakeHouse) -> None:
    """scep.md C39, C41."""
    house, device = scep(), Device()
    row = await house.challenge(uses_left=1)
    csr_der = device.csr()
    first = await house.send(device, csr_der)
    again = await house.send(device, csr_der)
    assert again.certificate_der == first.certificate_der
    other = Device("dev.test", rsa_key("second device"))
    refused = (await house.send(other)).reply
    assert (refused.fail_info, refused.fail_info_text.split(" [")[0]) == (2, WRONG)
    assert row.uses_left == 1
    assert sorted(one.state for one in await house.rows()) == [State.ISSUED, State.REFUSED]


async def test_expired_challenge_is_refused_as_a_wrong_one(scep: MakeHouse) -> None:
    """scep.md C39: the record tells them apart."""
    house, device = scep(), Device()
    await house.challenge(expires_at=house.clock.now() - timedelta(seconds=1))
    refused = (await house.send(device)).reply
    assert (refused.fail_info, refused.fail_info_text.split(" [")[0]) == (2, WRONG)
    (row,) = await house.rows()
    assert "expired" in repr(row.decision)


async def test_exact_replay_gives_the_same_certificate(scep: MakeHouse) -> None:
    """scep.md C41: the same bytes, as a client that lost the answer sends them."""
    house, device = scep(), Device()
    await house.challenge()
    first = await house.send(device)
    again = await house.post(device, first.sent.octets, first.sent.sender_nonce)
    assert again.certificate_der == first.certificate_der
    assert len(await house.rows()) == 1


async def test_same_message_twice_at_once_issues_once(scep: MakeHouse) -> None:
    """scep.md C52: whoever comes second gets the same certificate, or is told to come again."""
    house, device = scep(), Device()
    await house.challenge(uses_left=1)
    csr_der = device.csr()
    answers = await asyncio.gather(*(house.send(device, csr_der) for _ in range(4)))
    issued = [one.certificate_der for one in answers if one.response.status == 200]
    assert len(issued) >= 1
    assert len(set(issued)) == 1
    assert {one.response.status for one in answers} <= {200, 503}
    (row,) = await house.rows()
    assert row.state is State.ISSUED


async def test_large_key_of_an_identity_works_in_a_thread(scep: MakeHouse) -> None:
    """scep.md D: RSA-3072 would hold up all other requests for a millisecond and more."""
    house, device = scep(), Device()
    await house.challenge()
    old, house.ra = house.identities_[0], self_signed(pki.shared_key("RSA-3072"), "large RA")
    signer = type(old.signer)(house.ra.private_key, "large")
    assert signer.slow
    house.identities_[:] = [type(old)(house.ra.certificate_der, (), signer)]
    assert (await house.send(device)).certificate_der


async def test_other_csr_in_a_closed_transaction_is_a_new_request(scep: MakeHouse) -> None:
    """scep.md C41, C42."""
    house, device = scep(), Device()
    await house.challenge()
    first = await house.send(device)
    second = await house.send(device, device.csr(cn="other.test"))
    assert x509.load_der_x509_certificate(second.certificate_der).subject == pki.name("other.test")
    assert second.certificate_der != first.certificate_der


async def test_same_transaction_id_of_another_key_is_another_transaction(scep: MakeHouse) -> None:
    """decisions.md "What counts as the same request": a chosen id opens nothing of somebody else's."""
    house, device = scep(), Device()
    await house.challenge()
    first = await house.send(device)
    other = Device("other.test", rsa_key("second device"), device.transaction_id)
    second = await house.send(other)
    assert x509.load_der_x509_certificate(second.certificate_der).subject == pki.name("other.test")
    assert second.certificate_der != first.certificate_der


async def test_signer_with_a_key_of_its_own_is_refused_without_a_policy_for_it(scep: MakeHouse) -> None:
    """scep.md C37: a good challenge does not make up for it."""
    house, device = scep(), Device()
    await house.challenge()
    csr_der = device.csr(private_key=rsa_key("second device"))
    reply = (await house.send(device, csr_der)).reply
    assert (reply.status, reply.fail_info) == (2, 2)
    assert "signed with another key than that of the CSR" in reply.fail_info_text
    assert str(ReasonCode.AUTH_KIND) in reply.fail_info_text


async def test_known_signer_asks_on_behalf_of_others_where_policy_says_so(scep: MakeHouse) -> None:
    """scep.md C37."""
    house, device = scep(), Device()
    device.signer = VENDOR.issue(cn="line 4", private_key=device.private_key)
    csr_der = device.csr(None, private_key=rsa_key("second device"), cn="made.test")
    exchanged = await house.send(device, csr_der, path="/scep/behalf")
    assert x509.load_der_x509_certificate(exchanged.certificate_der).subject == pki.name("made.test")
    (row,) = await house.rows()
    assert row.identity.startswith("cert:")
    assert row.csr_der == csr_der  # no secret in it


@pytest.mark.parametrize("signer", ["self-signed", "foreign"])
async def test_unknown_signer_asks_for_nobody(scep: MakeHouse, signer: str) -> None:
    """scep.md C37, RFC 8894 2.4."""
    house, device = scep(), Device()
    if signer == "foreign":
        device.signer = pki.Authority("Vendor Root").issue(cn="line 4", private_key=device.private_key)
    csr_der = device.csr(private_key=rsa_key("second device"))
    reply = (await house.send(device, csr_der, path="/scep/behalf")).reply
    assert (reply.status, reply.fail_info) == (2, 2)
    assert "auth.certificate-untrusted" in reply.fail_info_text


async def test_signer_of_another_ca_with_the_key_of_the_csr_enrols_by_challenge(scep: MakeHouse) -> None:
    """scep.md C37: self-signed or not, the key counts."""
    house, device = scep(), Device()
    await house.challenge()
    device.signer = pki.Authority("Factory").issue(cn="serial 7", private_key=device.private_key)
    assert (await house.send(device)).certificate_der


async def test_signer_with_an_elliptic_curve_is_refused_before_anything_is_issued(scep: MakeHouse) -> None:
    """scep.md C35: nobody could read the answer."""
    house, device = scep(), Device(private_key=pki.shared_key("P-256"))
    await house.challenge(uses_left=1)
    exchanged = await house.send(device)
    (row,) = await house.rows()
    assert row.state is State.REFUSED
    assert (exchanged.reply.status, exchanged.reply.fail_info) == (2, 0)
    assert "only an RSA key can be encrypted to" in exchanged.reply.fail_info_text


async def test_change_subject_name_is_refused(scep: MakeHouse) -> None:
    house, device = scep(), Device()
    await house.challenge()
    asked = pki.change_subject_name(pki.name("admin.test"))
    reply = (await house.send(device, device.csr(more=[asked]))).reply
    assert (reply.status, reply.fail_info) == (2, 2)
    assert "ChangeSubjectName" in reply.fail_info_text


async def test_message_to_another_certificate_says_what_to_do(scep: MakeHouse) -> None:
    """scep.md C29."""
    house, device = scep(), Device()
    other = self_signed(rsa_key("second device"), "old RA").certificate
    reply = (await house.send(device, recipient=other)).reply
    assert (reply.status, reply.fail_info) == (2, 2)
    assert "fetch it anew with GetCACert" in reply.fail_info_text


async def test_replaced_identity_still_opens_and_signs_what_was_sent_to_it(scep: MakeHouse) -> None:
    """scep.md C30."""
    house, device = scep(), Device()
    await house.challenge()
    old = house.identities_[0]
    new = self_signed(rsa_key("new ra"), "new SCEP RA")
    house.identities_.insert(0, type(old)(new.certificate_der, (), type(old.signer)(new.private_key, "new")))
    exchanged = await house.send(device)
    house.identities_[:] = [old]
    assert exchanged.certificate_der


@pytest.mark.parametrize(
    ("cipher", "digest", "taken"),
    [
        ("des-cbc", "sha256", False),
        ("des-ede3-cbc", "sha256", False),
        ("aes-128-cbc", "sha1", False),
        ("aes-128-cbc", "md5", False),
        ("aes-256-cbc", "sha512", True),
    ],
)
async def test_algorithm_that_is_not_taken_is_bad_alg(
    scep: MakeHouse, cipher: str, digest: str, taken: bool
) -> None:
    """scep.md C22, C32."""
    house, device = scep(), Device()
    await house.challenge()
    reply = (await house.send(device, cipher=cipher, digest=digest)).reply
    assert (reply.status, reply.fail_info) == ((0, None) if taken else (2, 0))


@pytest.mark.parametrize("cipher", ["des-cbc", "des-ede3-cbc"])
async def test_scepclient_uses_single_des_where_it_is_switched_on(scep: MakeHouse, cipher: str) -> None:
    """scep.md B11, C32, C33: Debian's scepclient 2.1.0."""
    house, device = scep(ciphers=["aes-128-cbc", "des-ede3-cbc", "des-cbc"], digests=["sha1"]), Device()
    await house.challenge()
    assert (await house.send(device, cipher=cipher, digest="sha1")).certificate_der


async def test_wrong_signature_is_bad_message_check(scep: MakeHouse) -> None:
    """scep.md C21."""
    house, device = scep(), Device()
    reply = (await house.send(device, signature=bytes(256))).reply
    assert (reply.status, reply.fail_info) == (2, 1)


@pytest.mark.parametrize("message_type", ["3", "99", None, "PKCSReq", "18"])
async def test_type_that_is_no_request_is_bad_request(scep: MakeHouse, message_type: str | None) -> None:
    """scep.md C25."""
    house, device = scep(), Device()
    reply = (await house.send(device, message_type=message_type)).reply
    assert (reply.status, reply.fail_info) == (2, 2)
    assert "message.unsupported" in reply.fail_info_text


@pytest.mark.parametrize("payload", [b"\x30\x03\x02\x01\x00", b"no CSR at all"])
async def test_payload_that_is_no_csr_is_refused_as_one_that_cannot_be_decrypted(
    scep: MakeHouse, payload: bytes
) -> None:
    """scep.md C31, C36."""
    house, device = scep(), Device()
    answers = [
        (await house.send(device, payload)).reply,
        (await house.send(device, pki.broken_signature(device.csr()))).reply,
        (
            await house.send(
                device, content=envelope(device.csr(), [house.ra.certificate], encrypted_key=bytes(256))
            )
        ).reply,
    ]
    assert len({(one.status, one.fail_info, one.fail_info_text.split(", PG-")[0]) for one in answers}) == 1
    assert answers[0].fail_info == 2


async def test_approval_is_polled_for_until_somebody_decides(scep: MakeHouse) -> None:
    """scep.md C41, C45, RFC 8894 figure 8."""
    house, device = scep(), Device()
    await house.challenge(uses_left=1)
    pending = await house.send(device, path="/scep/manual")
    assert pending.reply.status == 3
    assert pending.reply.certificates_der == ()
    other_csr = await house.send(device, device.csr(cn="other.test"), path="/scep/manual")
    assert other_csr.reply.status == 3
    (row,) = await house.rows()
    house.approve(row.id)
    async with house.at_work():
        await house.reaches(row.id, State.ISSUED)
    issued = await house.send(device, device.csr(), path="/scep/manual")
    assert x509.load_der_x509_certificate(issued.certificate_der).subject == pki.name("dev.test")
