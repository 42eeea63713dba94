"""First enrolment: keys, CSRs, challenges, repeats and the answer (scep.md C36 to C42, C47)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import pki
from tests.support.authority import Identity
from tests.support.scep_answer import (
    BAD_ALG,
    BAD_REQUEST,
    PENDING,
    SUCCESS,
    CertRep,
    issued,
    refused,
)
from tests.support.scep_client import CERT_POLL, Device
from tests.support.scep_lab import ScepLab, rsa_key
from tests.support.scep_wire import self_signed

WRONG = "the challenge password is wrong or no longer good; ask for a new one"
_guesses = (f"guess number {number}" for number in itertools.count())


def _nothing(lab: ScepLab, device: Device, reply: CertRep, fail_info: int, code: str) -> str:
    """A recorded FAILURE, and nothing issued; gives the text without its reason id."""
    text = refused(reply, fail_info, code)
    row = lab.row(text)
    assert (row.state, row.code) == ("refused", code)
    assert lab.certificates(device) == 0
    return text.partition(" [")[0]


def _with_challenge(device: Device, string: bytes, **more: Any) -> bytes:
    """A CSR whose challengePassword is this string, whole DER."""
    return pki.raw_csr(
        device.private_key,
        subject_der=pki.name(device.cn).public_bytes(),
        attributes=[pki.attribute(pki.CHALLENGE_PASSWORD, string)],
        **more,
    )


@pytest.mark.parametrize("payload", [b"", b"\x30\x00", b"no CSR", b"\x30\x80" * 1000])
def test_payload_that_is_no_csr_is_a_bad_request(lab: ScepLab, payload: bytes) -> None:
    """scep.md C36"""
    device = lab.device()
    _nothing(lab, device, device.send(device.message(payload)), BAD_REQUEST, "message.asn1")


def test_csr_with_another_keys_signature_is_refused_as_one_that_was_tampered_with(lab: ScepLab) -> None:
    """scep.md C36 says badMessageCheck; the answer is that of a message that cannot be opened, badRequest,
    since whoever changes a ciphertext must not learn what became of the CSR in it (RFC 5652 section 14)."""
    device = lab.device()
    broken = pki.broken_signature(device.csr(lab.challenge))
    text = _nothing(lab, device, device.send(device.message(broken)), BAD_REQUEST, "message.asn1")
    garbage = _nothing(lab, device, device.send(device.message(b"no CSR")), BAD_REQUEST, "message.asn1")
    assert text == garbage


@pytest.mark.parametrize("kind", ["RSA-1024", "P-384", "Ed25519"])
def test_key_that_is_not_allowed_is_a_bad_algorithm(lab: ScepLab, kind: str) -> None:
    """scep.md C36; EC keys of on-behalf requests below."""
    vendor = lab.vendor.issue(cn="registrar", private_key=rsa_key("registrar"))
    device = Device(lab.server("behalf"), rsa_key("registrar")).signing_with(vendor)
    csr_der = device.csr(None, private_key=pki.shared_key(kind))
    reply = device.send(device.message(csr_der))
    code = {"RSA-1024": "key.size", "P-384": "key.curve", "Ed25519": "key.type"}[kind]
    _nothing(lab, device, reply, BAD_ALG, code)


@pytest.mark.parametrize("endpoint", ["default", "legacy"])
@pytest.mark.parametrize("hash_name", ["sha1", "md5"])
def test_csr_with_a_broken_hash_is_a_bad_algorithm(lab: ScepLab, endpoint: str, hash_name: str) -> None:
    """scep.md C36: also where messages may be signed with SHA-1, unless the policy says so of CSRs too
    (test_scep_wire_old.py)."""
    device = lab.device(endpoint)
    csr_der = _with_challenge(device, pki.tlv(0x13, lab.challenge.encode()), hash_name=hash_name)
    _nothing(lab, device, device.send(device.message(csr_der)), BAD_ALG, "key.signature-hash")


def test_signer_may_have_another_subject_than_the_csr(lab: ScepLab) -> None:
    """scep.md C37, B6: Cisco ASA; keys are compared, not subjects."""
    device = lab.device()
    device.signer = self_signed(device.private_key, "ASA 5506", subject_id=False)
    certificate = issued(device.enrol(lab.challenge))
    assert certificate.subject == pki.name(device.cn)
    assert certificate.public_key() == device.private_key.public_key()


def test_signer_with_a_certificate_of_another_ca_enrols_by_challenge(lab: ScepLab) -> None:
    """scep.md C37; RFC 8894 section 2.3: not self-signed, but of the CSR's key."""
    vendor = lab.vendor.issue(cn="vendor name", private_key=rsa_key("device"))
    device = lab.device().signing_with(vendor)
    issued(device.enrol(lab.challenge))
    other = lab.device().signing_with(vendor)
    _nothing(lab, other, other.enrol(next(_guesses)), BAD_REQUEST, "auth.failed")


def test_signer_with_another_key_needs_a_rule_for_it(lab: ScepLab) -> None:
    """scep.md C37: on somebody's behalf, challenge or not."""
    registrar = lab.vendor.issue(cn="registrar", private_key=rsa_key("registrar"))
    for signer in (registrar, self_signed(rsa_key("registrar"), "registrar")):
        device = lab.device().signing_with(signer)
        csr_der = device.csr(lab.challenge, private_key=rsa_key("device"))
        _nothing(lab, device, device.send(device.message(csr_der)), BAD_REQUEST, "auth.kind")
    device = Device(lab.server("behalf"), rsa_key("registrar")).signing_with(registrar)
    for key in (rsa_key("device"), pki.shared_key("P-256")):
        device.transaction_id += "x"
        certificate = issued(device.send(device.message(device.csr(None, private_key=key))))
        assert certificate.public_key() == key.public_key()
    stranger = self_signed(rsa_key("registrar"), "registrar")
    other = Device(lab.server("behalf"), rsa_key("registrar")).signing_with(stranger)
    reply = other.send(other.message(other.csr(None, private_key=rsa_key("device"))))
    _nothing(lab, other, reply, BAD_REQUEST, "auth.certificate-untrusted")


def test_wrong_empty_and_missing_challenge_are_answered_alike(lab: ScepLab) -> None:
    """scep.md C38, B4"""
    texts = set()
    for challenge in (None, "", next(_guesses), lab.challenge + "x", lab.challenge[:-1], "x" * 5000):
        device = lab.device()
        texts.add(_nothing(lab, device, device.enrol(challenge), BAD_REQUEST, "auth.failed"))
    assert texts == {WRONG}


@pytest.mark.parametrize("tag", [0x13, 0x0C, 0x16, 0x14, 0x1E, 0x1C])
def test_challenge_is_read_from_every_string_type(lab: ScepLab, tag: int) -> None:
    """scep.md C38"""
    device = lab.device()
    codec = {0x1E: "utf-16-be", 0x1C: "utf-32-be"}.get(tag, "latin-1")
    csr_der = _with_challenge(device, pki.tlv(tag, lab.challenge.encode(codec)))
    issued(device.send(device.message(csr_der)))


def test_challenge_among_the_requested_extensions_is_found(lab: ScepLab) -> None:
    """scep.md C38"""
    device = lab.device()
    string = pki.tlv(0x13, lab.challenge.encode())
    extension = pki.tlv(0x30, pki.oid(pki.CHALLENGE_PASSWORD), pki.tlv(0x04, string))
    requested = pki.attribute(pki.EXTENSION_REQUEST, pki.tlv(0x30, extension))
    subject = pki.name(device.cn).public_bytes()
    csr_der = pki.raw_csr(device.private_key, subject_der=subject, attributes=[requested])
    issued(device.send(device.message(csr_der)))


def test_one_time_challenge_serves_one_device_and_its_repeats(lab: ScepLab) -> None:
    """scep.md C39"""
    challenge = lab.new_challenge()
    device, second = lab.device(), lab.device(key="second")
    message = device.message(device.csr(challenge))
    first = issued(device.send(message))
    assert issued(device.send(message)) == first
    assert _nothing(lab, second, second.enrol(challenge), BAD_REQUEST, "auth.failed") == WRONG
    assert issued(device.send(message)) == first


def test_refused_request_leaves_a_one_time_challenge_as_it_was(lab: ScepLab) -> None:
    """scep.md C39: consumed by an accepted request only."""
    challenge = lab.new_challenge()
    device = lab.device()
    for cn in ("www.google.com", "not allowed.example.org"):
        csr_der = device.csr(challenge, cn=cn, sans=[])
        refused(device.send(device.message(csr_der, transaction_id=cn)), BAD_REQUEST, "subject.cn")
    issued(device.enrol(challenge))


def test_challenge_of_another_endpoint_is_refused(lab: ScepLab) -> None:
    """scep.md C38, C39: whoever holds it may know what it is for."""
    challenge = lab.new_challenge("--static", "--endpoint", "other")
    device = lab.device()
    _nothing(lab, device, device.enrol(challenge), BAD_REQUEST, "auth.credential-scope")
    issued(lab.device("other").enrol(challenge))


def test_challenge_past_its_end_is_as_wrong_as_any_and_the_record_tells_why(lab: ScepLab) -> None:
    """scep.md C39"""
    challenge = lab.new_challenge("--expires", "1s", "--uses", "1000")
    device, deadline = lab.device(), time.monotonic() + 90
    reply = device.enrol(challenge)
    while reply.status == SUCCESS and time.monotonic() < deadline:  # so fast was the gateway
        device = lab.device()
        reply = device.enrol(challenge)
    assert _nothing(lab, device, reply, BAD_REQUEST, "auth.failed") == WRONG
    assert "expired" in str(lab.row(reply.fail_info_text).decision["trace"])


def test_withdrawn_challenge_is_as_wrong_as_any(lab: ScepLab) -> None:
    """scep.md C38"""
    added = lab.gateway.cli_json("credential", "add", "scep-challenge", "--static")
    lab.gateway.cli("credential", "revoke", added["id"])
    device = lab.device()
    assert _nothing(lab, device, device.enrol(added["challenge"]), BAD_REQUEST, "auth.failed") == WRONG


def test_static_challenge_is_refused_where_only_dynamic_ones_count(lab: ScepLab) -> None:
    """scep.md C39"""
    device = lab.device("dynamic")
    _nothing(lab, device, device.enrol(lab.challenge), BAD_REQUEST, "auth.credential-scope")
    issued(device.enrol(lab.new_challenge()))


def test_challenge_is_nowhere_in_files_and_log(lab: ScepLab) -> None:
    """scep.md C40: neither a good one nor a guess, nor in the certificate."""
    good, guess = lab.new_challenge(), "my-own-guess-that-nobody-has-to-know"
    device = lab.device()
    certificate = issued(device.enrol(good))
    refused(lab.device().enrol(guess), BAD_REQUEST, "auth.failed")
    assert good.encode() not in certificate.public_bytes(Encoding.DER)
    assert {row.csr_der for row in lab.rows(device)} == {None}
    for file in lab.gateway.data.rglob("*"):
        if file.is_file():
            octets = file.read_bytes()
            assert good.encode() not in octets, file
            assert guess.encode() not in octets, file
    assert good not in lab.gateway.log
    assert guess not in lab.gateway.log


def test_many_guesses_are_slowed_and_nobody_else_is(lab: ScepLab) -> None:
    """scep.md C51: per source and per challenge; a device behind another address is served."""
    device = Device(lab.new_server(source="127.0.0.66"), rsa_key("device"))
    guess = device.message(device.csr("the same guess")).build()
    assert _served_before_slowed(device, itertools.repeat(guess, 100)) >= 10  # and one each six seconds
    issued(device.enrol(lab.challenge))  # its right one is another prefix
    others = (device.message(device.csr(next(_guesses))).build() for _ in range(400))
    assert _served_before_slowed(device, others) >= 90  # a hundred, and one each second
    issued(lab.device().enrol(lab.challenge))


def _served_before_slowed(device: Device, messages: Iterable[bytes]) -> int:
    """How many of the messages get their CertRep before one is told to come again."""
    for served, octets in enumerate(messages):
        answer = device.server.post(octets)
        if answer.status == 503:
            assert int(answer.headers["retry-after"]) >= 1
            return served
        assert answer.status == 200
    raise AssertionError("nobody was slowed")


# -- repeats --


def test_exact_replay_gives_the_same_certificate(lab: ScepLab) -> None:
    """scep.md C41"""
    device = lab.device()
    octets = device.message(device.csr(lab.challenge)).build()
    found = {
        issued(device.server.reply(send(octets), device.signer))
        for send in (device.server.post, device.server.get_message, device.server.post)
    }
    assert len(found) == 1
    assert lab.certificates(device) == 1


def test_new_message_in_a_pending_transaction_is_pending_whatever_its_csr(lab: ScepLab) -> None:
    """scep.md C41"""
    device = lab.device("manual")
    for csr_der in (device.csr(lab.challenge), device.csr(lab.challenge), device.csr(lab.challenge, sans=[])):
        assert device.send(device.message(csr_der)).status == PENDING
    assert [row.state for row in lab.rows(device)] == ["awaiting-approval"]


def test_transaction_of_another_key_opens_nothing(lab: ScepLab) -> None:
    """scep.md C41: neither the certificate, nor that there is a transaction of that name."""
    device = lab.device()
    certificate = issued(device.enrol(lab.challenge))
    thief = Device(lab.server(), rsa_key("thief"), transaction_id=device.transaction_id)
    text = _nothing(lab, thief, thief.enrol(next(_guesses)), BAD_REQUEST, "auth.failed")
    assert text == WRONG
    message = thief.message(thief.issuer_and_subject(), CERT_POLL)
    assert thief.send(message).fail_info == 4
    csr_der = device.csr(lab.challenge)  # somebody else's CSR, signed by the thief
    refused(thief.send(thief.message(csr_der)), BAD_REQUEST, "auth.kind")
    assert issued(device.poll()) == certificate


def test_same_csr_of_a_device_that_lost_its_answer_and_took_a_new_id_is_a_new_request(lab: ScepLab) -> None:
    """scep.md C41"""
    device = lab.device()
    csr_der = device.csr(lab.challenge)
    first = issued(device.send(device.message(csr_der)))
    second = issued(device.send(device.message(csr_der, transaction_id="after-the-crash")))
    assert first.serial_number != second.serial_number


@pytest.mark.parametrize("message_type", ["17", "19"])
def test_renewal_with_the_same_key_and_transaction_is_a_new_certificate(
    lab: ScepLab, message_type: str
) -> None:
    """scep.md C42, B5: sscep and scepclient make the id from the key."""
    device = lab.device()
    first = issued(device.enrol(lab.challenge))
    renewing = device.signing_with(Identity(first, device.private_key), transaction_id=device.transaction_id)
    message = renewing.message(renewing.csr(None), message_type)
    second = issued(renewing.send(message))
    assert second.serial_number != first.serial_number
    assert issued(renewing.send(message)) == second
    assert lab.certificates(device) == 2


# -- what a SUCCESS holds --


@pytest.mark.parametrize(("endpoint", "count"), [("default", 1), ("issuer", 2), ("chain", 3)])
def test_chain_in_the_answer_is_as_the_option_says(lab: ScepLab, endpoint: str, count: int) -> None:
    """scep.md C47, B7: the new certificate first."""
    device = lab.device(endpoint)
    reply = device.enrol(lab.challenge)
    assert len(reply.certificates) == count
    for leaf, issuer in itertools.pairwise(reply.certificates):
        leaf.verify_directly_issued_by(issuer)
    reply.certificates[0].verify_directly_issued_by(lab.server().responders[1])


def test_every_row_tells_who_asked_for_what_by_which_message(lab: ScepLab) -> None:
    """scep.md C51"""
    device = lab.device()
    issued(device.enrol(lab.challenge))
    refused(device.enrol(next(_guesses)), BAD_REQUEST)
    good, bad = lab.rows(device)
    assert (good.state, good.operation, good.remote["message"]) == ("issued", "enroll", "PKCSReq")
    assert good.identity.startswith("challenge:")
    assert (bad.state, bad.identity, bad.code) == ("refused", "anonymous", "auth.failed")
    (listed,) = lab.gateway.cli_json("cert", "list", device.cn)["certificates"]
    assert (listed["protocol"], listed["endpoint"], listed["status"]) == ("scep", "default", "good")
    lab.gateway.cli("audit", "verify")
