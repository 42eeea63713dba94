"""Support messages and bodies that are not served (cmp.md C78, C84, C85; RFC 9810 section 5.3.19)."""

from __future__ import annotations

import pytest
from cryptography import x509

from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.cmp_client import Reply, elements
from tests.support.cmp_lab import CmpLab, ask, ir
from tests.support.cmp_wire import Broken, Unprotected, info, infos, integer, octets, utf8
from tests.support.devices import device_name
from tests.support.pki import oid, tlv

CA_CERTS = "1.3.6.1.5.5.7.4.17"
ROOT_CA_CERT = "1.3.6.1.5.5.7.4.20"
CERT_REQ_TEMPLATE = "1.3.6.1.5.5.7.4.19"
CURRENT_CRL = "1.3.6.1.5.5.7.4.6"
CRL_STATUS_LIST, CRLS = "1.3.6.1.5.5.7.4.22", "1.3.6.1.5.5.7.4.23"
SIGN_KEY_PAIR_TYPES = "1.3.6.1.5.5.7.4.2"
UNSUPPORTED_OIDS = "1.3.6.1.5.5.7.4.7"


def _general(lab: CmpLab, *asked: bytes) -> Reply:
    reply = lab.client().send("genm", infos(*asked))
    assert reply.http_status == 200
    return reply


def test_ca_certificates_are_given(lab: CmpLab) -> None:
    """cmp.md C78"""
    reply = _general(lab, info(CA_CERTS))
    certificates = [x509.load_der_x509_certificate(one) for one in elements(reply.general[CA_CERTS])]
    root = x509.load_pem_x509_certificate(lab.gateway.root_pem.read_bytes())
    assert ask(lab.client()).certificate.issuer in [one.subject for one in certificates]
    assert all(one.issuer in [other.subject for other in (*certificates, root)] for one in certificates)


@pytest.mark.parametrize("asked", [CA_CERTS, CERT_REQ_TEMPLATE, CURRENT_CRL])
def test_question_with_a_value_that_has_none_is_refused(lab: CmpLab, asked: str) -> None:
    """cmp.md C78"""
    assert _general(lab, info(asked, integer(1))).outcome in ("badRequest", "badDataFormat")


def test_template_says_what_policy_wants(lab: CmpLab) -> None:
    """cmp.md C78"""
    reply = _general(lab, info(CERT_REQ_TEMPLATE))
    assert reply.body_name == "genp"
    assert list(reply.general) == [CERT_REQ_TEMPLATE]
    template = reply.general[CERT_REQ_TEMPLATE]
    assert template == b"" or template[0] == 0x30


def test_current_crl_is_given(lab: CmpLab) -> None:
    """cmp.md C78"""
    reply = _general(lab, info(CURRENT_CRL))
    crl = x509.load_der_x509_crl(reply.general[CURRENT_CRL])
    assert crl.issuer == ask(lab.client()).certificate.issuer


def test_crl_is_given_by_issuer_if_it_is_newer(lab: CmpLab) -> None:
    """cmp.md C78"""
    issuer = ask(lab.client()).certificate.issuer
    source = tlv(0xA1, tlv(0x30, tlv(0xA4, issuer.public_bytes())))
    reply = _general(lab, info(CRL_STATUS_LIST, tlv(0x30, tlv(0x30, source))))
    assert list(reply.general) == [CRLS]
    (crl_der,) = elements(reply.general[CRLS])
    crl = x509.load_der_x509_crl(crl_der)
    seen = cmp_wire.generalized_time(crl.last_update_utc)
    reply = _general(lab, info(CRL_STATUS_LIST, tlv(0x30, tlv(0x30, source, seen))))
    assert reply.general == {CRLS: b""}


def test_root_without_a_successor_is_answered_with_nothing(lab: CmpLab) -> None:
    """cmp.md C78: rootCaKeyUpdate absent, or the question counted among the unsupported."""
    root = x509.load_pem_x509_certificate(lab.gateway.root_pem.read_bytes())
    reply = _general(lab, info(ROOT_CA_CERT, root.public_bytes(cmp_wire.serialization.Encoding.DER)))
    assert reply.body_name == "genp"
    assert set(reply.general.values()) == {b""} or UNSUPPORTED_OIDS in reply.general


def test_key_types_are_given(lab: CmpLab) -> None:
    """cmp.md C78"""
    reply = _general(lab, info(SIGN_KEY_PAIR_TYPES))
    assert reply.general[SIGN_KEY_PAIR_TYPES][0] == 0x30


def test_unknown_questions_are_named_or_left_out(lab: CmpLab) -> None:
    """cmp.md C78"""
    unknown = "1.3.6.1.4.1.55555.78"
    reply = _general(lab, info(unknown), info(CA_CERTS))
    assert reply.body_name == "genp"
    assert CA_CERTS in reply.general
    assert set(reply.general) <= {CA_CERTS, UNSUPPORTED_OIDS}
    if UNSUPPORTED_OIDS in reply.general:
        assert oid(unknown) in elements(reply.general[UNSUPPORTED_OIDS])


@pytest.mark.parametrize("number", [1, 3, 4, 10, 12, 18], ids=str)
def test_questions_without_an_answer_here_are_named(lab: CmpLab, number: int) -> None:
    """cmp.md C78: caProtEncCert, encKeyPairTypes, preferredSymmAlg, keyPairParam, revPassphrase..."""
    asked = f"1.3.6.1.5.5.7.4.{number}"
    reply = _general(lab, info(asked))
    assert reply.general == {UNSUPPORTED_OIDS: tlv(0x30, oid(asked))}


def test_language_is_english_or_an_error(lab: CmpLab) -> None:
    """cmp.md C78: suppLangTags; RFC 9810 section 5.3.19.13 wants an error where none fits."""
    languages = "1.3.6.1.5.5.7.4.16"
    both = tlv(0x30, utf8("de"), utf8("en-GB"))
    assert _general(lab, info(languages, both)).general == {languages: tlv(0x30, utf8("en-GB"))}
    assert _general(lab, info(languages, tlv(0x30, utf8("de")))).outcome == "badRequest"
    assert _general(lab, info(languages, tlv(0x30))).outcome == "badDataFormat"


def test_many_questions_are_bounded(lab: CmpLab) -> None:
    """cmp.md C86"""
    reply = lab.client(checked=False).send("genm", infos(*[info(CA_CERTS)] * 5000))
    assert reply.outcome in ("badRequest", "badDataFormat")
    assert len(reply.der) < 20_000


@pytest.mark.parametrize("protection", ["none", "broken"])
def test_support_message_is_protected_too(lab: CmpLab, protection: str) -> None:
    """cmp.md C34"""
    wrong = Unprotected() if protection == "none" else Broken(lab.mac)
    reply = lab.client(protection=wrong).send("genm", infos(info(CA_CERTS)))
    assert reply.outcome == "badMessageCheck"


@pytest.mark.parametrize("name", ["krr", "ccr"])
def test_bodies_that_are_not_served_are_refused_after_the_protection_check(lab: CmpLab, name: str) -> None:
    """cmp.md C84"""
    content = cmp_bodies.requests(cmp_bodies.request(pki.key(), "x.test"))
    reply = lab.client().send(name, content)
    assert (reply.body_name, reply.outcome) == ("error", "badRequest")
    assert reply.status.text
    assert reply.mac_is_right(lab.secret)
    assert lab.client(protection=Broken(lab.mac)).send(name, content).outcome == "badMessageCheck"


def test_nested_messages_are_refused(lab: CmpLab) -> None:
    """cmp.md C79: not built."""
    inner = (
        lab.client().transaction().message("ir", cmp_bodies.requests(cmp_bodies.request(pki.key(), "n.test")))
    )
    reply = lab.client("ra", lab.authority()).send("nested", tlv(0x30, inner))
    assert (reply.body_name, reply.outcome) == ("error", "badRequest")
    assert lab.states("n.test") == []


def test_batch_of_messages_is_refused(lab: CmpLab) -> None:
    """cmp.md C80: not built; nothing of it is done."""
    hosts = [device_name("batch") for _ in range(3)]
    inner = [lab.client().transaction().message("ir", ir(pki.key(), host)) for host in hosts]
    reply = lab.client("ra", lab.authority()).send("nested", tlv(0x30, *inner))
    assert (reply.body_name, reply.outcome) == ("error", "badRequest")
    assert [lab.states(host) for host in hosts] == [[], [], []]


def test_original_message_in_the_header_is_passed_over(lab: CmpLab) -> None:
    """cmp.md C81: origPKIMessage is an RA's, for itself; what it holds is not asked for again."""
    original, host = device_name("original"), device_name("cmp")
    held = lab.client().transaction().message("ir", ir(pki.key(), original))
    general_info = infos(info("1.3.6.1.5.5.7.4.15", tlv(0x30, held)))
    assert ask(lab.client(), host=host, generalInfo=general_info).outcome == "accepted"
    assert (lab.states(original), lab.states(host)) == ([], ["unconfirmed"])


def test_depth_of_nested_messages_costs_nothing(lab: CmpLab) -> None:
    """cmp.md C82"""
    message = lab.client().transaction().message("genm", infos())
    for _ in range(200):
        message = lab.client().transaction().message("nested", tlv(0x30, message))
    reply = lab.client(checked=False).post(message)
    assert reply.outcome in ("badRequest", "badDataFormat")


@pytest.mark.parametrize("name", ["ip", "cp", "kup", "rp", "genp", "pkiconf", "pollRep", "popdecr"])
def test_answers_are_no_requests(lab: CmpLab, name: str) -> None:
    """cmp.md C84"""
    reply = lab.client().send(name, cmp_bodies.announcement(cmp_bodies.TAGS[name]))
    assert (reply.http_status, reply.body_name, reply.outcome) == (200, "error", "badRequest")


def test_error_without_a_transaction_is_answered(lab: CmpLab) -> None:
    """cmp.md C85"""
    reply = lab.client().send("error", cmp_bodies.error(text="something went wrong", failure=25))
    assert reply.body_name in ("pkiconf", "error")


def test_central_key_generation_is_refused(lab: CmpLab) -> None:
    """cmp.md C83: not built; a template without a public key is rejected."""
    asked = cmp_bodies.cert_request(cmp_bodies.template(cn="ckg.test", sans=["ckg.test"]))
    algorithm_only = tlv(
        0x30, tlv(0x30, oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")), b"\x03\x01\x00"
    )
    empty = cmp_bodies.cert_request(cmp_bodies.template(cn="ckg.test", spki_der=algorithm_only))
    for request in (asked, empty):
        reply = lab.client().send("ir", cmp_bodies.requests(tlv(0x30, request)))
        assert (reply.body_name, reply.status.status) == ("ip", "rejection")
        assert reply.status.failures <= {"badRequest", "badCertTemplate", "badPOP", "notAuthorized"}
    assert "issued" not in lab.states("ckg.test")


def test_two_clients_may_use_the_same_nonces(lab: CmpLab) -> None:
    """cmp.md C24: nonces are judged within a transaction."""
    nonce = octets(b"n" * 16)
    assert ask(lab.client(), senderNonce=nonce).outcome == "accepted"
    assert ask(lab.client(), senderNonce=nonce).outcome == "accepted"
