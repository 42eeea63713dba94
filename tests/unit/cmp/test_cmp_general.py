"""genm, and rr: what is told of the CA, and who revokes (RFC 9810 sections 5.3.9 and 5.3.19)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from pyasn1.codec.der import decoder
from pyasn1_alt_modules import rfc9810

from gateway.asn1.cmp_support import (
    CA_CERTS,
    CA_PROT_ENC_CERT,
    CERT_REQ_TEMPLATE,
    CRL_STATUS_LIST,
    CRLS,
    CURRENT_CRL,
    ROOT_CA_CERT,
    ROOT_CA_KEY_UPDATE,
    SIGN_KEY_PAIR_TYPES,
    SUPP_LANG_TAGS,
    UNSUPPORTED_OIDS,
)
from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.cmp_client import Reply, elements
from tests.support.cmp_wire import Signed, integer, utf8
from tests.support.pki import oid, tlv
from tests.unit.cmp.cmp_house import IMPLICIT, PATH, VENDOR, CmpHouse, ir

MakeHouse = Callable[..., CmpHouse]


async def asked(house: CmpHouse, *infos: tuple[str, bytes | None]) -> Reply:
    """One genm with these questions."""
    await house.secret()
    body = tlv(0x30, *(cmp_wire.info(dotted, value) for dotted, value in infos))
    return await house.talk().send("genm", body)


async def test_every_question_has_its_answer_and_unknown_ones_come_back(cmp: MakeHouse) -> None:
    """cmp.md C78"""
    reply = await asked(
        cmp(), (CA_CERTS, None), ("1.2.3.4", None), (ROOT_CA_CERT, None), (CA_PROT_ENC_CERT, None)
    )
    assert reply.body_name == "genp"
    assert list(reply.general) == [CA_CERTS, ROOT_CA_KEY_UPDATE, UNSUPPORTED_OIDS]
    assert reply.general[ROOT_CA_KEY_UPDATE] == b""
    assert elements(reply.general[UNSUPPORTED_OIDS]) == [oid("1.2.3.4"), oid(CA_PROT_ENC_CERT)]


async def test_genm_without_questions_has_no_answers(cmp: MakeHouse) -> None:
    reply = await asked(cmp())
    assert (reply.body_name, reply.general) == ("genp", {})


async def test_ca_certificates_lead_to_the_root(cmp: MakeHouse) -> None:
    """cmp.md C78"""
    house = cmp()
    reply = await asked(house, (CA_CERTS, None))
    chain = await house.backends.chain("embedded", None)
    assert tuple(elements(reply.general[CA_CERTS])) == chain


@pytest.mark.parametrize("question", [CA_CERTS, CERT_REQ_TEMPLATE, CURRENT_CRL, SIGN_KEY_PAIR_TYPES])
async def test_value_where_none_belongs_is_refused(cmp: MakeHouse, question: str) -> None:
    """cmp.md C78"""
    house = cmp()
    assert (await asked(house, (question, integer(1)))).outcome == "badRequest"


async def test_current_crl_is_given(cmp: MakeHouse) -> None:
    """cmp.md C78"""
    house = cmp()
    reply = await asked(house, (CURRENT_CRL, None))
    issuing = x509.load_der_x509_certificate((await house.backends.chain("embedded", None))[0])
    crl = x509.load_der_x509_crl(reply.general[CURRENT_CRL])
    assert crl.is_signature_valid(issuing.public_key())  # type: ignore[arg-type]  # a CA's key signs


async def test_crl_update_is_given_to_who_has_an_older_one(cmp: MakeHouse) -> None:
    """cmp.md C78, RFC 9810 5.3.19.17: by the issuer's name; nothing where it is not newer or not ours."""
    house = cmp()
    await house.secret()
    issuing = x509.load_der_x509_certificate((await house.backends.chain("embedded", None))[0])
    crl = x509.load_der_x509_crl(await house.crl("cmp", "default"))  # type: ignore[arg-type]  # names
    this_update = crl.last_update_utc

    async def given(name: x509.Name, known: Any) -> bool:
        source = tlv(0xA1, tlv(0x30, cmp_wire.directory_name(name)))
        time = b"" if known is None else cmp_wire.generalized_time(known)
        body = tlv(0x30, cmp_wire.info(CRL_STATUS_LIST, tlv(0x30, tlv(0x30, source, time))))
        reply = await house.talk().send("genm", body)
        assert list(reply.general) == [CRLS]
        return reply.general[CRLS] != b""

    assert await given(issuing.subject, None)
    assert await given(issuing.subject, this_update - timedelta(seconds=1))
    assert not await given(issuing.subject, this_update)
    assert not await given(pki.name("Another CA"), None)


async def test_template_says_what_policy_wants(cmp: MakeHouse) -> None:
    """cmp.md C78, F: usages as they will be set, keys as they are taken, no public key."""
    reply = await asked(cmp(), (CERT_REQ_TEMPLATE, None))
    value, rest = decoder.decode(reply.general[CERT_REQ_TEMPLATE], asn1Spec=rfc9810.CertReqTemplateContent())
    assert not rest
    template = value["certTemplate"]
    assert not template["publicKey"].isValue
    usages = [str(one["extnID"]) for one in template["extensions"]]
    assert usages == ["2.5.29.15", "2.5.29.37"]
    controls = [str(one["type"]) for one in value["keySpec"]]
    assert "1.3.6.1.5.5.7.5.1.12" in controls  # id-regCtrl-rsaKeyLen
    assert controls.count("1.3.6.1.5.5.7.5.1.11") >= 4  # id-regCtrl-algId, one for each curve and more


async def test_signing_key_types_are_those_of_policy(cmp: MakeHouse) -> None:
    """cmp.md C78: id-ecPublicKey once for each curve (RFC 9810 5.3.19.2)."""
    reply = await asked(cmp(), (SIGN_KEY_PAIR_TYPES, None))
    algorithms = elements(reply.general[SIGN_KEY_PAIR_TYPES])
    assert tlv(0x30, oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")) in algorithms
    assert tlv(0x30, oid("1.2.840.113549.1.1.1"), b"\x05\x00") in algorithms
    assert tlv(0x30, oid("1.3.101.112")) in algorithms


@pytest.mark.parametrize(
    ("tags", "outcome"), [(("de", "en-GB"), "genp"), (("de", "fr"), "badRequest"), ((), "badDataFormat")]
)
async def test_language_is_english_or_an_error(cmp: MakeHouse, tags: tuple[str, ...], outcome: str) -> None:
    """cmp.md C78, RFC 9810 5.3.19.13"""
    reply = await asked(cmp(), (SUPP_LANG_TAGS, tlv(0x30, *map(utf8, tags))))
    assert reply.outcome == outcome
    if outcome == "genp":
        assert reply.general[SUPP_LANG_TAGS] == tlv(0x30, utf8("en-GB"))


async def test_path_of_one_question_takes_no_other(cmp: MakeHouse) -> None:
    """cmp.md C9"""
    house = cmp()
    await house.secret()
    talk = house.talk()
    talk.path = f"{PATH}/getcacerts"
    assert (await talk.send("genm", tlv(0x30, cmp_wire.info(CA_CERTS)))).body_name == "genp"
    other = await house.talk().send("genm", tlv(0x30, cmp_wire.info(CURRENT_CRL)))
    assert other.body_name == "genp"
    talk = house.talk()
    talk.path = f"{PATH}/getcacerts"
    assert (await talk.send("genm", tlv(0x30, cmp_wire.info(CURRENT_CRL)))).outcome == "badRequest"


# -- rr --


def details(certificate: x509.Certificate, reason: int | None = None, **changes: Any) -> bytes:
    fields = {"issuer": certificate.issuer, "serial": certificate.serial_number, **changes}
    return cmp_bodies.revocation(cmp_bodies.template(**fields), reason=reason)


async def test_certificate_revokes_itself(cmp: MakeHouse) -> None:
    """cmp.md C77: with its reason, once; the second time the signer itself is revoked."""
    house = cmp()
    await house.secret()
    device = await house.device()
    certificate = device.identity.certificate
    body = cmp_bodies.revocations(details(certificate, 4))
    reply = await house.talk(device).send("rr", body)
    assert (reply.body_name, reply.outcome) == ("rp", "accepted")
    (record,) = await house.certificates.by_serial(f"{certificate.serial_number:x}")
    assert (record.status, record.revocation_reason) == ("revoked", "superseded")
    assert (await house.talk(device).send("rr", body)).outcome == "certRevoked"


@pytest.mark.parametrize(
    ("changes", "reason", "outcome"),
    [
        ({"serial": None}, None, "addInfoNotAvailable"),
        ({"issuer": None}, None, "addInfoNotAvailable"),
        ({"serial": 4711}, None, "badCertId"),
        ({"issuer": pki.name("Another CA")}, None, "badCertId"),
        ({"cn": "other.test"}, None, "badCertId"),
        ({"spki_der": pki.spki_der(pki.key())}, None, "badCertId"),
        (
            {"extensions": [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)]},
            None,
            "badCertId",
        ),
        ({"extensions": [(x509.BasicConstraints(ca=False, path_length=None), True)]}, None, "accepted"),
        ({"version": 1}, None, "badRequest"),
        ({"cn": "dev.test", "version": 2}, None, "accepted"),
        ({}, 0, "accepted"),
        ({}, 2, "badRequest"),
        ({}, 6, "badRequest"),
        ({}, 7, "badDataFormat"),
        ({}, 8, "badRequest"),
        ({}, 99, "badDataFormat"),
    ],
)
async def test_revocation_names_one_certificate_and_a_reason(
    cmp: MakeHouse, changes: dict[str, Any], reason: int | None, outcome: str
) -> None:
    """cmp.md C77: refused within the rp."""
    house = cmp()
    await house.secret()
    device = await house.device()
    body = cmp_bodies.revocations(details(device.identity.certificate, reason, **changes))
    reply = await house.talk(device).send("rr", body)
    assert (reply.body_name, reply.outcome) == ("rp", outcome)


async def test_holder_revokes_no_other_certificate(cmp: MakeHouse) -> None:
    """cmp.md C77"""
    house = cmp()
    await house.secret()
    mine, theirs = await house.device("mine.test"), await house.device("theirs.test")
    body = cmp_bodies.revocations(details(theirs.identity.certificate))
    assert (await house.talk(mine).send("rr", body)).outcome == "notAuthorized"


async def test_revocation_under_a_secret_is_wrong_integrity(cmp: MakeHouse) -> None:
    """cmp.md C45, C77"""
    house = cmp()
    await house.secret()
    device = await house.device()
    body = cmp_bodies.revocations(details(device.identity.certificate))
    assert (await house.talk().send("rr", body)).outcome == "wrongIntegrity"


async def test_stranger_revokes_nothing(cmp: MakeHouse) -> None:
    """cmp.md C41, C77: policy says whose signature counts."""
    house = cmp()
    await house.secret()
    device = await house.device()
    stranger = Signed(pki.Authority("Stranger").issue(cn="dev.test"))
    body = cmp_bodies.revocations(details(device.identity.certificate))
    assert (await house.talk(stranger).send("rr", body)).outcome == "signerNotTrusted"


async def test_registration_authority_revokes_several_of_its_endpoint(cmp: MakeHouse) -> None:
    """cmp.md C77: a status for each, in order; another endpoint's certificates are unknown here."""
    house = cmp()
    await house.secret()
    elsewhere = await house.device("elsewhere.test")
    authority = Signed(VENDOR.issue(cn="RA 1"))
    made = [
        (await house.talk(authority, "ra").send("ir", ir(pki.key(), host), generalInfo=IMPLICIT)).certificate
        for host in ("one.test", "two.test")
    ]
    body = cmp_bodies.revocations(
        details(made[0], 1), details(elsewhere.identity.certificate), details(made[1]), details(made[0])
    )
    reply = await house.talk(authority, "ra").send("rr", body)
    assert [one.status for one in reply.statuses] == ["accepted", "rejection", "accepted", "rejection"]
    assert [sorted(one.failures) for one in reply.statuses] == [[], ["badCertId"], [], ["certRevoked"]]
    serials = [int(one["serialNumber"]) for one in reply.body["revCerts"]]
    assert serials == [
        one.serial_number for one in (made[0], elsewhere.identity.certificate, made[1], made[0])
    ]


async def test_revocation_of_too_many_is_refused(cmp: MakeHouse) -> None:
    """cmp.md C82: an option bounds the work of one message."""
    house = cmp(max_revocations=2)
    await house.secret()
    device = await house.device()
    body = cmp_bodies.revocations(*[details(device.identity.certificate)] * 3)
    assert (await house.talk(device).send("rr", body)).outcome == "badRequest"
