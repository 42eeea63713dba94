"""Protection of messages and of answers (cmp.md C33 to C48; RFC 9810 section 5.1.3, RFC 9483 section 3.2)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.cmp_client import Reply
from tests.support.cmp_lab import CMC_RA, IMPLICIT, CmpLab, ask, begun, ir
from tests.support.cmp_wire import Broken, Pbm, Pbmac1, Protection, Signed, Unprotected
from tests.support.devices import device_name
from tests.support.pki import tlv


def _refused(lab: CmpLab, protection: Protection, *expected: str, endpoint: str = "default") -> Reply:
    """Ask with this protection; an error says one of ``expected`` and nothing is issued."""
    before = lab.certificate_count()
    reply = ask(lab.client(endpoint, protection, source="127.0.0.33"))
    assert reply.http_status == 200
    assert reply.outcome in expected, reply.statuses
    assert lab.certificate_count() == before
    return reply


def test_algorithm_without_protection_is_refused(lab: CmpLab) -> None:
    """cmp.md C33"""
    header = {**cmp_wire.usual_header(), **lab.mac.header}
    body = cmp_wire.body(0, ir(pki.key(), device_name("cmp")))
    message = cmp_wire.encode_message(cmp_wire.encode_header(header), body, None, ())
    assert lab.client().post(message).outcome == "badMessageCheck"


def test_protection_without_algorithm_is_refused(lab: CmpLab) -> None:
    """cmp.md C33"""
    assert ask(lab.client(), protectionAlg=None).outcome == "badMessageCheck"


def test_unprotected_request_is_refused(lab: CmpLab) -> None:
    """cmp.md C34"""
    _refused(lab, Unprotected(), "badMessageCheck")


def test_wrong_mac_and_unknown_reference_get_the_same_answer(lab: CmpLab) -> None:
    """cmp.md C35: after the same work, which unit tests count."""
    known = lab.new_secret()
    wrong = (
        replace(known, secret=b"not this one"),
        Broken(known),
        Pbm("no-such-reference", known.secret),
        Pbmac1(known.reference, b"not this one"),
        Pbmac1("no-such-reference", b"x"),
    )
    replies = [_refused(lab, protection, "badMessageCheck") for protection in wrong]
    texts = {reply.status.text.partition(" [")[0] for reply in replies}
    assert len(texts) == 1, texts
    assert len({(reply.protection_kind, reply.body_name) for reply in replies}) == 1


def test_wrong_signature_is_refused(lab: CmpLab) -> None:
    """cmp.md C35"""
    _refused(lab, Broken(Signed(lab.device())), "badMessageCheck")


def test_unknown_algorithm_is_refused(lab: CmpLab) -> None:
    """cmp.md C36"""
    algorithm = tlv(0x30, pki.oid("1.3.6.1.4.1.55555.7"))
    assert ask(lab.client(), protectionAlg=algorithm).outcome == "badAlg"


@pytest.mark.parametrize(
    "dotted", ["1.2.840.113533.7.66.16", "1.2.840.113533.7.66.30"], ids=["kem-based", "dh-based"]
)
def test_macs_by_key_agreement_are_not_known(lab: CmpLab, dotted: str) -> None:
    """cmp.md C39: KEM-based and DH-based MACs are not built; nobody gets a ciphertext for one either."""
    assert ask(lab.client(), protectionAlg=tlv(0x30, pki.oid(dotted))).outcome == "badAlg"
    kem_ciphertext = "1.3.6.1.5.5.7.4.24"
    reply = lab.client().send("genm", cmp_wire.infos(cmp_wire.info(kem_ciphertext)))
    assert list(reply.general) == ["1.3.6.1.5.5.7.4.7"], "unsupportedOIDs"
    assert pki.oid(kem_ciphertext) in reply.general["1.3.6.1.5.5.7.4.7"]


@pytest.mark.parametrize(
    ("owf", "mac"), [("md5", "sha1"), ("sha1", "sha1"), ("sha1", "sha256")], ids=["md5", "sha1", "sha1-owf"]
)
def test_weak_one_way_functions_are_refused(lab: CmpLab, owf: str, mac: str) -> None:
    """cmp.md C36"""
    _refused(lab, replace(lab.mac, owf=owf, mac=mac), "badAlg")


def test_endpoint_may_refuse_hmac_sha1(lab: CmpLab) -> None:
    """cmp.md C36"""
    _refused(lab, lab.mac, "badAlg", endpoint="bounded")
    assert ask(lab.client("bounded", replace(lab.mac, mac="sha256"))).outcome == "accepted"


@pytest.mark.parametrize("kind", ["P-256", "RSA-2048"])
def test_signature_with_sha1_is_refused(lab: CmpLab, kind: str) -> None:
    """cmp.md C36"""
    host = device_name("cmp")
    private_key = pki.shared_key(kind) if kind == "RSA-2048" else pki.key(kind)
    reply = lab.client().send("ir", ir(private_key, host), generalInfo=IMPLICIT)
    _refused(lab, Signed(pki.Identity(reply.certificate, private_key), hash="sha1"), "badAlg")


@pytest.mark.parametrize(
    "protection",
    [
        Pbm("lab", b"", iterations=2**31, computed=False),
        Pbm("lab", b"", iterations=2**31 - 1, computed=False),
        Pbm("lab", b"", iterations=100_001, computed=False),
        Pbm("lab", b"", iterations=99, computed=False),
        Pbm("lab", b"", iterations=1, computed=False),
        Pbm("lab", b"", iterations=0, computed=False),
        Pbm("lab", b"", salt=b"1234567", computed=False),
        Pbm("lab", b"", salt=bytes(5000), computed=False),
        Pbmac1("lab", b"", iterations=2**31, computed=False),
        Pbmac1("lab", b"", iterations=10, computed=False),
        Pbmac1("lab", b"", key_octets=2**31, computed=False),
        Pbmac1("lab", b"", key_octets=1, computed=False),
        Pbmac1("lab", b"", salt=b"", computed=False),
    ],
    ids=lambda one: f"{type(one).__name__}-{one.iterations}-{len(one.salt)}",
)
def test_parameters_out_of_bounds_are_refused_at_once(lab: CmpLab, protection: Pbm | Pbmac1) -> None:
    """cmp.md C37: 2^31 iterations would be eleven minutes of a core, for which no client waits; unit tests
    count the derivations."""
    _refused(lab, protection, "badAlg")


def test_endpoint_bounds_iterations(lab: CmpLab) -> None:
    """cmp.md C37"""
    for count, outcome in ((399, "badAlg"), (400, "accepted"), (1000, "accepted"), (1001, "badAlg")):
        protection = replace(lab.mac, iterations=count, mac="sha256")
        assert ask(lab.client("bounded", protection)).outcome == outcome, count


@pytest.mark.parametrize("mac", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("owf", ["sha256", "sha512"])
def test_pbm_is_taken_and_answered(lab: CmpLab, owf: str, mac: str) -> None:
    """cmp.md C37, C47"""
    protection = replace(lab.mac, owf=owf, mac=mac)
    reply = ask(lab.client(protection=protection))
    assert (reply.outcome, reply.protection_kind) == ("accepted", "pbm")
    assert reply.mac_is_right(lab.secret)


@pytest.mark.parametrize("prf", ["sha256", "sha512"])
def test_pbmac1_is_taken_and_answered(lab: CmpLab, prf: str) -> None:
    """cmp.md C38, C47"""
    transaction, certificate = begun(lab.client(protection=replace(lab.mac1, prf=prf, mac=prf)))
    reply = transaction.confirm(certificate)
    assert (reply.body_name, reply.protection_kind) == ("pkiconf", "pbmac1")
    assert reply.mac_is_right(lab.secret)


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519"])
def test_signature_is_taken_and_answered(lab: CmpLab, kind: str) -> None:
    """cmp.md C38, C47"""
    host = device_name("cmp")
    private_key = pki.shared_key(kind)
    first = lab.client().send("ir", ir(private_key, host), generalInfo=IMPLICIT)
    assert first.outcome == "accepted", first.statuses
    signed = Signed(pki.Identity(first.certificate, private_key))
    reply = lab.client(protection=signed).send("cr", ir(pki.key(), host))
    assert (reply.outcome, reply.protection_kind) == ("accepted", "signature")
    reply.signer()


def test_signature_without_certificates_is_refused(lab: CmpLab) -> None:
    """cmp.md C40"""
    _refused(lab, Signed(lab.device(), with_certs=False), "badMessageCheck", "signerNotTrusted")


def test_protecting_certificate_must_come_first(lab: CmpLab) -> None:
    """cmp.md C40"""
    device = lab.device()
    other = pki.Identity(lab.device().certificate, device.private_key, (device.certificate,))
    _refused(lab, Signed(other), "badMessageCheck", "signerNotTrusted")


def test_chain_is_completed_from_the_trust_store_or_extra_certs(lab: CmpLab) -> None:
    """cmp.md C40"""
    line_2 = lab.foreign.factory.sub("Factory Line 2")
    whole = line_2.issue(cn="whole")
    assert ask(lab.client("factory", Signed(whole))).outcome == "accepted"
    broken = pki.Identity(whole.certificate, whole.private_key)
    _refused(lab, Signed(broken), "badMessageCheck", "signerNotTrusted", endpoint="factory")
    known = lab.factory_device(send_chain=False)
    assert ask(lab.client("factory", known)).outcome == "accepted"


def test_untrusted_signer_is_refused(lab: CmpLab) -> None:
    """cmp.md C41"""
    _refused(lab, lab.factory_device(), "signerNotTrusted")
    _refused(lab, Signed(pki.Authority("Stranger").issue()), "signerNotTrusted", endpoint="factory")
    impostor = pki.impostor(lab.foreign.factory.certificate.public_bytes(Encoding.DER))
    _refused(lab, Signed(impostor.issue()), "signerNotTrusted", endpoint="factory")


def test_expired_signer_is_refused(lab: CmpLab) -> None:
    """cmp.md C42"""
    _refused(lab, lab.expired(), "signerNotTrusted", endpoint="factory")


def test_revoked_signer_is_refused(lab: CmpLab) -> None:
    """cmp.md C42"""
    device = lab.device()
    lab.revoke(device.certificate)
    _refused(lab, Signed(device), "certRevoked")


def test_signer_that_may_not_sign_is_refused(lab: CmpLab) -> None:
    """cmp.md C43: keyUsage without digitalSignature."""
    usual = lab.foreign.line
    private_key = pki.key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(pki.name("no-signatures"))
        .issuer_name(usual.name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(usual.certificate.not_valid_before_utc)
        .not_valid_after(usual.certificate.not_valid_after_utc)
        .add_extension(pki.key_usage("key_agreement"), critical=True)
    )
    signed = builder.sign(usual.private_key, cmp_wire.hashes.SHA256())
    identity = pki.Identity(signed, private_key)
    _refused(lab, Signed(identity), "signerNotTrusted", "badMessageCheck", endpoint="factory")


def test_proven_sender_who_may_not_ask_is_refused(lab: CmpLab) -> None:
    """cmp.md C44"""
    reply = _refused(lab, lab.factory_device(), "notAuthorized", endpoint="mac-only")
    reply.signer()
    reply = _refused(lab, lab.mac, "notAuthorized", endpoint="factory")
    assert reply.mac_is_right(lab.secret)
    scoped = lab.new_secret("--endpoint", "strict")
    _refused(lab, scoped, "notAuthorized")
    assert ask(lab.client("strict", scoped)).outcome == "accepted"


def test_endpoint_without_policies_refuses(lab: CmpLab) -> None:
    """cmp.md C44: unknown means deny."""
    _refused(lab, lab.mac, "notAuthorized", endpoint="closed")


@pytest.mark.parametrize("name", ["kur", "rr"])
def test_update_and_revocation_by_a_secret_are_refused(lab: CmpLab, name: str) -> None:
    """cmp.md C45"""
    certificate = lab.device().certificate
    template = cmp_bodies.template(issuer=certificate.issuer, serial=certificate.serial_number)
    content = (
        cmp_bodies.revocations(cmp_bodies.revocation(template))
        if name == "rr"
        else ir(pki.key(), device_name("cmp"), controls=[cmp_bodies.old_cert_id(certificate)])
    )
    assert lab.client().send(name, content).outcome == "wrongIntegrity"
    assert lab.status_of(certificate) == ("good", None)


def test_protection_stays_the_same_in_a_transaction(lab: CmpLab) -> None:
    """cmp.md C46"""
    device = lab.device()
    for other, expected in ((lab.mac1, "badMessageCheck"), (Signed(device), "wrongIntegrity")):
        transaction, certificate = begun(lab.client())
        reply = transaction.confirm(certificate, protection=other)
        assert reply.outcome == expected
        assert lab.states(certificate.subject.rfc4514_string()[3:]) == ["unconfirmed"]


def test_signed_transaction_cannot_go_on_with_a_secret(lab: CmpLab) -> None:
    """cmp.md C46"""
    transaction, certificate = begun(lab.client("factory", lab.factory_device()))
    assert transaction.confirm(certificate, protection=lab.mac).outcome == "wrongIntegrity"
    assert lab.states(certificate.subject.rfc4514_string()[3:]) == ["unconfirmed"]


def test_another_senders_transaction_cannot_be_confirmed(lab: CmpLab) -> None:
    """cmp.md C46, C69: whoever hears a transaction cannot end it."""
    transaction, certificate = begun(lab.client())
    reply = transaction.confirm(certificate, protection=lab.new_secret())
    assert reply.body_name == "error"
    assert lab.states(certificate.subject.rfc4514_string()[3:]) == ["unconfirmed"]


def test_error_to_a_proven_sender_is_protected_as_he_does_it(lab: CmpLab) -> None:
    """cmp.md C47"""
    wrong = {"messageTime": cmp_wire.generalized_time(cmp_wire.datetime(2001, 1, 1, tzinfo=cmp_wire.UTC))}
    reply = ask(lab.client(), **wrong)
    assert (reply.body_name, reply.protection_kind) == ("error", "pbm")
    assert reply.mac_is_right(lab.secret)
    reply = ask(lab.client(protection=Signed(lab.device())), "cr", **wrong)
    assert (reply.body_name, reply.protection_kind) == ("error", "signature")
    reply.signer()


def test_error_to_nobody_is_signed_unless_the_endpoint_is_silent(lab: CmpLab) -> None:
    """cmp.md C47: cmpossl's "missing protection"."""
    ask(lab.client(protection=Unprotected())).signer()
    assert ask(lab.client("silent", Unprotected())).protection_kind == "none"


def test_signer_of_answers_chains_to_the_root_and_is_an_ra(lab: CmpLab) -> None:
    """cmp.md C47, C48"""
    reply = ask(lab.client("factory", lab.factory_device()))
    signer = reply.signer()
    root = x509.load_pem_x509_certificate(lab.gateway.root_pem.read_bytes())
    _assert_leads(signer, reply.extra_certs, root)
    usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert CMC_RA in usage


@pytest.mark.parametrize("endpoint", ["default", "factory"])
def test_extra_certs_hold_the_chain_of_the_new_certificate(lab: CmpLab, endpoint: str) -> None:
    """cmp.md C48: under a MAC too."""
    protection = lab.factory_device() if endpoint == "factory" else lab.mac
    reply = ask(lab.client(endpoint, protection))
    root = x509.load_pem_x509_certificate(lab.gateway.root_pem.read_bytes())
    _assert_leads(reply.certificate, reply.extra_certs, root)


def _assert_leads(
    leaf: x509.Certificate, others: tuple[x509.Certificate, ...], root: x509.Certificate
) -> None:
    """The root certifies the leaf by way of the others."""
    current = leaf
    for _ in range(5):
        if current.issuer == root.subject:
            current.verify_directly_issued_by(root)
            return
        (current_issuer,) = [one for one in others if one.subject == current.issuer]
        current.verify_directly_issued_by(current_issuer)
        current = current_issuer
    raise AssertionError(f"{leaf.subject} does not lead to the root")
