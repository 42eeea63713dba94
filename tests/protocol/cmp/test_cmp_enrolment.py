"""Requests for certificates: ir, cr, kur and p10cr (cmp.md C49 to C64; RFC 9810 section 5.3, RFC 4211)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.answers import common_name, dns_names, spki_der
from tests.support.cmp_client import Reply
from tests.support.cmp_lab import IMPLICIT, CmpLab, ask, ir
from tests.support.cmp_wire import Signed, info, utf8
from tests.support.devices import device_name
from tests.support.pki import tlv

ANSWERS = {"ir": "ip", "cr": "cp", "kur": "kup", "p10cr": "cp"}


def _rejected(lab: CmpLab, reply: Reply, *expected: str, body: str = "ip") -> None:
    """The request itself is rejected, in the body of its kind, with one of these bits and a reason."""
    assert reply.http_status == 200
    assert (reply.body_name, reply.status.status) == (body, "rejection"), reply.statuses
    assert reply.outcome in expected, reply.statuses
    assert reply.status.text, "a reason helps whoever reads it"
    assert not reply.certificates


def _spoilt(lab: CmpLab, *expected: str, body: str = "ip", **request: object) -> None:
    """A request with this spoilt is rejected and recorded, and nothing is issued."""
    before, host = lab.certificate_count(), device_name("cmp")
    reply = lab.client().send("ir", ir(pki.key(), host, **request))
    _rejected(lab, reply, *expected, body=body)
    assert lab.states(host) in (["refused"], [])
    assert lab.certificate_count() == before


@pytest.mark.parametrize("name", ["ir", "cr"])
def test_new_device_gets_its_certificate(lab: CmpLab, name: str) -> None:
    """cmp.md C51, C62"""
    private_key, host = pki.key(), device_name("cmp")
    reply = lab.client().send(name, ir(private_key, host))
    assert reply.body_name == ANSWERS[name]
    assert (reply.outcome, reply.status.failures) == ("accepted", frozenset())
    assert (common_name(reply.certificate), dns_names(reply.certificate)) == (host, [host])
    assert spki_der(reply.certificate) == pki.spki_der(private_key)
    assert int(reply.body["response"][0]["certReqId"]) == 0
    assert lab.states(host) == ["unconfirmed"]


def test_pkcs10_is_answered_with_request_id_minus_one(lab: CmpLab) -> None:
    """cmp.md C50"""
    host = device_name("cmp")
    transaction = lab.client().transaction()
    reply = transaction.send("p10cr", pki.device_csr(pki.key(), host))
    assert (reply.body_name, reply.outcome) == ("cp", "accepted")
    assert int(reply.body["response"][0]["certReqId"]) == -1
    assert transaction.confirm(reply.certificate, cert_req_id=-1).body_name == "pkiconf"
    assert lab.states(host) == ["issued"]


def test_several_requests_in_a_message_have_a_status_each(lab: CmpLab) -> None:
    """cmp.md C49"""
    hosts = [device_name("cmp"), "host.not-allowed.invalid", device_name("cmp")]
    content = cmp_bodies.requests(
        *(cmp_bodies.request(pki.key(), host, cert_req_id=number) for number, host in enumerate(hosts))
    )
    reply = lab.client().send("ir", content)
    assert [one.status for one in reply.statuses] == ["accepted", "rejection", "accepted"]
    assert [int(one["certReqId"]) for one in reply.body["response"]] == [0, 1, 2]
    assert [common_name(one) for one in reply.certificates] == [hosts[0], hosts[2]]


def test_message_without_or_with_too_many_requests_is_refused(lab: CmpLab) -> None:
    """cmp.md C49"""
    client = lab.client(checked=False)
    before = lab.certificate_count()
    for content in (
        cmp_bodies.requests(),
        cmp_bodies.requests(*[cmp_bodies.request(pki.key(), "a.test")] * 51),
    ):
        assert client.send("ir", content).outcome in ("badRequest", "badDataFormat")
    assert lab.certificate_count() == before


@pytest.mark.parametrize("number", [-1, 50, 2**40])
def test_request_id_out_of_bounds_is_refused(lab: CmpLab, number: int) -> None:
    """cmp.md C50: -1 is a p10cr's."""
    host = device_name("cmp")
    content = cmp_bodies.requests(cmp_bodies.request(pki.key(), host, cert_req_id=number))
    assert lab.client().send("ir", content).outcome == "badRequest"
    assert lab.states(host) == []


def test_request_ids_must_differ(lab: CmpLab) -> None:
    """cmp.md C49, C50: two answers for one id could not be told apart."""
    hosts = (device_name("cmp"), device_name("cmp"))
    content = cmp_bodies.requests(*(cmp_bodies.request(pki.key(), host) for host in hosts))
    reply = lab.client().send("ir", content)
    assert all("badRequest" in one.failures for one in reply.statuses), reply.statuses
    assert lab.states(hosts[0]) in ([], ["refused"])


def test_template_without_a_subject_is_rejected(lab: CmpLab) -> None:
    """cmp.md C52"""
    before = lab.certificate_count()
    reply = lab.client().send("ir", ir(pki.key(), None))
    _rejected(lab, reply, "badCertTemplate")
    assert lab.certificate_count() == before


def test_null_dn_with_alternative_names_is_enough(lab: CmpLab) -> None:
    """cmp.md C52"""
    host = device_name("cmp")
    reply = lab.client().send("ir", ir(pki.key(), None, subject=x509.Name([]), sans=[host]))
    assert reply.outcome == "accepted", reply.statuses
    assert dns_names(reply.certificate) == [host]


@pytest.mark.parametrize(
    "pop",
    [b"", cmp_bodies.KEY_ENCIPHERMENT_POP, cmp_bodies.KEY_AGREEMENT_POP],
    ids=["missing", "encipherment", "agreement"],
)
def test_signing_key_without_a_signature_is_rejected(lab: CmpLab, pop: bytes) -> None:
    """cmp.md C53"""
    _spoilt(lab, "badPOP", pop=pop)


def test_signature_of_another_key_is_no_possession(lab: CmpLab) -> None:
    """cmp.md C53"""
    _spoilt(lab, "badPOP", signer=pki.key())


def test_signature_over_another_request_is_no_possession(lab: CmpLab) -> None:
    """cmp.md C53"""
    private_key = pki.key()
    other = cmp_bodies.cert_request(cmp_bodies.template(cn="x.test", spki_der=pki.spki_der(private_key)))
    content = ir(private_key, device_name("cmp"), pop=cmp_bodies.signed_pop(private_key, other))
    _rejected(lab, lab.client().send("ir", content), "badPOP")


def test_algorithm_that_does_not_fit_the_key_is_no_possession(lab: CmpLab) -> None:
    """cmp.md C53"""
    rsa_algorithm = cmp_wire.signature_algorithm(pki.shared_key("RSA-2048"))
    pop = tlv(0xA1, rsa_algorithm, cmp_wire.bits(bytes(256)))
    _spoilt(lab, "badPOP", pop=pop)


def test_pkcs10_with_a_wrong_signature_is_rejected(lab: CmpLab) -> None:
    """cmp.md C53"""
    host = device_name("cmp")
    reply = lab.client().send("p10cr", pki.broken_signature(pki.device_csr(pki.key(), host)))
    _rejected(lab, reply, "badPOP", body="cp")
    assert lab.states(host) in (["refused"], [])


def test_ra_verified_is_an_ras_word_only(lab: CmpLab) -> None:
    """cmp.md C54"""
    _spoilt(lab, "notAuthorized", pop=cmp_bodies.RA_VERIFIED)
    ra = lab.client("ra", lab.authority())
    reply = ra.send("ir", ir(pki.key(), device_name("cmp"), pop=cmp_bodies.RA_VERIFIED))
    assert reply.outcome == "accepted"


def test_own_certificate_does_not_make_an_ra(lab: CmpLab) -> None:
    """cmp.md C54"""
    host = device_name("cmp")
    client = lab.client(protection=Signed(lab.device(host)))
    reply = client.send("cr", ir(pki.key(), host, pop=cmp_bodies.RA_VERIFIED))
    _rejected(lab, reply, "notAuthorized", body="cp")


@pytest.mark.parametrize(
    ("kind", "expected"), [("P-192", "badCertTemplate"), ("RSA-1024", "badCertTemplate")]
)
def test_short_key_is_rejected(lab: CmpLab, kind: str, expected: str) -> None:
    """cmp.md C55"""
    reply = lab.client().send("ir", ir(pki.shared_key(kind), device_name("cmp")))
    _rejected(lab, reply, expected)


def test_dsa_key_is_rejected(lab: CmpLab) -> None:
    """cmp.md C55"""
    private_key = dsa.generate_private_key(2048)
    asked = cmp_bodies.cert_request(cmp_bodies.template(cn="dsa.test", spki_der=pki.spki_der(private_key)))
    algorithm = tlv(0x30, pki.oid("2.16.840.1.101.3.4.3.2"))
    pop = tlv(0xA1, algorithm, cmp_wire.bits(private_key.sign(asked, hashes.SHA256())))
    reply = lab.client().send("ir", cmp_bodies.requests(tlv(0x30, asked, pop)))
    _rejected(lab, reply, "badCertTemplate")


def test_key_of_somebody_else_is_rejected(lab: CmpLab) -> None:
    """cmp.md C56: the key is certified for another subject already."""
    private_key = pki.key()
    assert lab.client().send("ir", ir(private_key, device_name("cmp"))).outcome == "accepted"
    other = lab.client(protection=lab.new_secret())
    _rejected(lab, other.send("ir", ir(private_key, device_name("cmp"))), "badCertTemplate")


@pytest.mark.parametrize(
    "field", [{"version": 0}, {"version": 1}, {"serial": 5}, {"issuer_uid": b"x"}], ids=str
)
def test_template_with_what_the_ca_sets_is_rejected(lab: CmpLab, field: dict[str, object]) -> None:
    """cmp.md C57"""
    _spoilt(lab, "badCertTemplate", **field)


def test_template_may_say_version_3_and_the_issuer(lab: CmpLab) -> None:
    """cmp.md C57"""
    issuer = ask(lab.client()).certificate.issuer
    reply = lab.client().send("ir", ir(pki.key(), device_name("cmp"), version=2, issuer=issuer))
    assert reply.outcome == "accepted"


def test_pkcs10_of_another_version_is_rejected(lab: CmpLab) -> None:
    """cmp.md C57"""
    host = device_name("cmp")
    csr_der = pki.raw_csr(pki.key(), subject_der=pki.name(host).public_bytes(), version=1)
    _rejected(
        lab, lab.client().send("p10cr", csr_der), "badCertTemplate", "badRequest", "badDataFormat", body="cp"
    )


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        (x509.BasicConstraints(ca=True, path_length=0), {"notAuthorized"}),
        (pki.key_usage("key_cert_sign"), {"notAuthorized"}),
        (
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]),
            {"unacceptedExtension"},
        ),
    ],
    ids=["ca", "key-cert-sign", "ocsp-signing"],
)
def test_dangerous_extension_is_never_granted(
    lab: CmpLab, extension: x509.ExtensionType, expected: set[str]
) -> None:
    """cmp.md C58"""
    reply = lab.client().send("ir", ir(pki.key(), device_name("cmp"), extensions=[(extension, True)]))
    assert reply.outcome in expected, reply.statuses
    for certificate in reply.certificates:
        assert extension not in [one.value for one in certificate.extensions]


def test_extension_that_is_left_out_is_granted_with_mods(lab: CmpLab) -> None:
    """cmp.md C58: the client learns that it got something else than it asked for."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    reply = lab.client().send("ir", ir(pki.key(), device_name("cmp"), extensions=[(usage, False)]))
    assert reply.outcome == "grantedWithMods", reply.statuses


def test_path_length_of_a_certificate_that_is_no_ca_is_left_out(lab: CmpLab) -> None:
    """cmp.md C58"""
    constraints = x509.ObjectIdentifier("2.5.29.19")
    wrong = x509.UnrecognizedExtension(constraints, tlv(0x30, cmp_wire.integer(3)))
    reply = lab.client().send("ir", ir(pki.key(), device_name("cmp"), extensions=[(wrong, True)]))
    assert reply.outcome in ("grantedWithMods", "badCertTemplate", "unacceptedExtension"), reply.statuses
    for certificate in reply.certificates:
        found = [one.value for one in certificate.extensions if one.oid == constraints]
        assert all(isinstance(one, x509.BasicConstraints) and one.path_length is None for one in found)


def test_validity_is_as_asked_for_within_what_policy_allows(lab: CmpLab) -> None:
    """cmp.md C59"""
    now = datetime.now(UTC).replace(microsecond=0)
    wishes, long = lab.client("wishes"), now + timedelta(days=400)
    reply = wishes.send("ir", ir(pki.key(), device_name("cmp"), validity=(None, now + timedelta(days=10))))
    assert reply.outcome == "accepted"
    assert reply.certificate.not_valid_after_utc == now + timedelta(days=10)
    reply = wishes.send("ir", ir(pki.key(), device_name("cmp"), validity=(None, long)))
    assert reply.outcome == "badCertTemplate"


def test_ca_certificates_come_with_an_ip_under_a_secret_only(lab: CmpLab) -> None:
    """cmp.md C61: whoever has nothing yet may take the root from there."""
    reply = ask(lab.client())
    assert reply.body["caPubs"].isValue
    assert not ask(lab.client(), "cr").body["caPubs"].isValue
    assert not ask(lab.client("factory", lab.factory_device()), "cr").body["caPubs"].isValue


def test_control_that_nobody_knows_is_refused(lab: CmpLab) -> None:
    """cmp.md C64"""
    control = info("1.3.6.1.4.1.55555.64", utf8("x"))
    reply = lab.client().send("ir", ir(pki.key(), device_name("cmp"), controls=[control]))
    assert reply.outcome == "badRequest"


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (1, utf8("a-token")),
        (2, utf8("mother's maiden name")),
        (4, tlv(0x82, b"\xff")),
        (6, pki.spki_der(pki.key())),
    ],
    ids=["reg-token", "authenticator", "archive-options", "protocol-encryption-key"],
)
def test_control_that_is_not_built_is_refused(lab: CmpLab, number: int, value: bytes) -> None:
    """cmp.md C64: passing over a secret, or keeping a key, would be worse."""
    _spoilt(lab, "badRequest", controls=[info(f"1.3.6.1.5.5.7.5.1.{number}", value)])


def test_old_certificate_is_named_in_a_kur_only(lab: CmpLab) -> None:
    """cmp.md C64"""
    _spoilt(lab, "badRequest", controls=[cmp_bodies.old_cert_id(lab.device().certificate)])


_PLACES = tlv(0x30, tlv(0x30, cmp_wire.integer(0)))


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (tlv(0x30, cmp_wire.integer(0)), "accepted"),
        (tlv(0x30, cmp_wire.integer(1)), "accepted"),
        (tlv(0x30, cmp_wire.integer(1), _PLACES), "accepted"),
        (tlv(0x30, cmp_wire.integer(0), _PLACES), "badDataFormat"),
        (tlv(0x30, cmp_wire.integer(7)), "badDataFormat"),
        (tlv(0x30, utf8("please")), "badDataFormat"),
    ],
    ids=["no", "yes", "somewhere", "no-but-somewhere", "unknown", "text"],
)
def test_publication_is_passed_over_unless_it_contradicts_itself(
    lab: CmpLab, value: bytes, outcome: str
) -> None:
    """cmp.md C64: pkiPublicationInfo (RFC 4211 section 6.3)."""
    control = info("1.3.6.1.5.5.7.5.1.3", value)
    reply = lab.client().send("ir", ir(pki.key(), device_name("cmp"), controls=[control]))
    assert reply.outcome == outcome, reply.statuses


def test_information_beside_the_request_is_passed_over(lab: CmpLab) -> None:
    """cmp.md C64: regInfo with utf8Pairs; its proof of possession does not cover it."""
    private_key, host = pki.key(), device_name("cmp")
    made = cmp_bodies.template(cn=host, sans=[host], spki_der=pki.spki_der(private_key))
    asked = cmp_bodies.cert_request(made)
    pairs = tlv(0x30, info("1.3.6.1.5.5.7.5.2.1", utf8("dns?other.test%")))
    message = tlv(0x30, asked, cmp_bodies.signed_pop(private_key, asked), pairs)
    reply = lab.client().send("ir", cmp_bodies.requests(message))
    assert reply.outcome == "accepted", reply.statuses
    assert dns_names(reply.certificate) == [host]


def test_one_time_secret_is_good_once(lab: CmpLab) -> None:
    """cmp.md C64"""
    once = lab.client(protection=lab.new_secret("--uses", "1"))
    assert once.send("ir", ir(pki.key(), "host.not-allowed.invalid")).outcome == "badCertTemplate"
    assert ask(once).outcome == "accepted", "a refusal takes no use"
    assert ask(once).outcome == "notAuthorized"


def test_exact_repeat_gets_the_same_certificate(lab: CmpLab) -> None:
    """cmp.md F: retransmission is answered as before, not with transactionIdInUse."""
    once, host = lab.client(protection=lab.new_secret("--uses", "1")), device_name("cmp")
    transaction = once.transaction()
    first = transaction.send("ir", ir(pki.key(), host))
    again = transaction.send_message(transaction.sent)
    assert (again.outcome, again.certificate) == ("accepted", first.certificate)
    assert lab.states(host) == ["unconfirmed"]
    assert transaction.confirm(again.certificate).body_name == "pkiconf"


def test_refused_request_stays_refused_when_it_is_repeated(lab: CmpLab) -> None:
    """cmp.md F"""
    transaction = lab.client().transaction()
    first = transaction.send("ir", ir(pki.key(), "host.not-allowed.invalid"))
    again = transaction.send_message(transaction.sent)
    assert (first.outcome, again.outcome) == ("badCertTemplate", "badCertTemplate")


def test_implicitly_confirmed_certificate_needs_nothing_more(lab: CmpLab) -> None:
    """cmp.md C72"""
    host = device_name("cmp")
    reply = ask(lab.client(), host=host, generalInfo=IMPLICIT)
    assert reply.infos == {cmp_wire.IMPLICIT_CONFIRM: cmp_wire.NULL}
    assert lab.states(host) == ["issued"]
