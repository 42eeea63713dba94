"""Certification requests: foreign vectors, what is refused and with which code, proof of possession."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import MalformedMessage
from gateway.model.enrolment import Extension
from gateway.model.keys import KeyType, Pop
from gateway.model.reasons import ReasonCode
from gateway.pki.csr import parse_csr, verify_possession
from tests.support import pki

VECTORS = Path(__file__).parent / "vectors"


def vector(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def refusal(csr_der: bytes, *, possession: bool = False) -> MalformedMessage:
    with pytest.raises(MalformedMessage) as caught:
        prove(csr_der) if possession else parse_csr(csr_der)
    return caught.value


def prove(csr_der: bytes) -> None:
    verify_possession(parse_csr(csr_der))


def signed(*attributes: bytes, **parts: object) -> bytes:
    return pki.raw_csr(pki.shared_key("P-256"), attributes=attributes, **parts)  # type: ignore[arg-type]


# -- foreign requests ----------------------------------------------------------------------------------------


def test_strongswan_csr_with_unsorted_attributes_is_read_and_verified() -> None:
    csr_der = vector("strongswan-rsa-challenge.csr")
    with pytest.raises(ValueError):  # why we read the structure ourselves
        _ = x509.load_der_x509_csr(csr_der).attributes
    parsed = parse_csr(csr_der)
    assert str(parsed.subject) == "C=CH,O=strongSwan,CN=device-1"
    assert [str(san) for san in parsed.identity.sans] == ["dns:device-1.example"]
    assert parsed.challenge_password == b"sesame"
    assert {a.tag for rdn in parsed.subject.rdns for a in rdn} == {0x13}
    assert verify_possession(parsed).pop is Pop.SIGNATURE


def test_openssl_csr_with_every_kind_of_san_is_read_in_full() -> None:
    parsed = parse_csr(vector("openssl-p384-all-sans.csr"))
    assert str(parsed.subject) == (
        "C=DE,O=Example GmbH,OU=Zürich,OU=Second,CN=openssl-device,serialNumber=4711,"
        "emailAddress=ops@example.test"
    )
    assert [str(san) for san in parsed.identity.sans] == [
        "dns:openssl-device.example.test",
        "ip:2001:db8::1",
        "ip:192.0.2.9",
        "email:a@example.test",
        "uri:https://example.test/x",
        "registered-id:1.2.3.4",
        "directory:O=Directory,CN=dir",
        "other:1.3.6.1.4.1.311.20.2.3=user@example.test",
    ]
    assert parsed.identity.extensions == (
        Extension("2.5.29.15", True, bytes.fromhex("03020388")),
        Extension("2.5.29.37", False, bytes.fromhex("300a06082b06010505070302")),
        Extension("2.5.29.19", True, bytes.fromhex("3000")),
        Extension("1.3.6.1.4.1.311.20.2", False, b"\x1e\x0e" + "Machine".encode("utf-16-be")),
    )
    assert parsed.identity.attributes == ("1.2.840.113549.1.9.2",)
    assert (parsed.challenge_password, parsed.signature_hash) == (b"pass-word", "sha384")
    assert (parsed.public_key.type, parsed.public_key.curve) == (KeyType.EC, "P-384")
    assert verify_possession(parsed).signature_hash == "sha384"


def test_openssl_pss_signature_over_a_multivalued_name_is_verified() -> None:
    parsed = parse_csr(vector("openssl-rsa-pss-multivalued.csr"))
    assert str(parsed.subject) == "O=Example,CN=multi+UID=u-1"
    assert verify_possession(parsed).signature_hash == "sha256"


def test_pss_signature_with_a_flipped_bit_is_refused() -> None:
    csr_der = bytearray(vector("openssl-rsa-pss-multivalued.csr"))
    csr_der[-1] ^= 1
    assert refusal(bytes(csr_der), possession=True).code is ReasonCode.CSR_SIGNATURE


@pytest.mark.parametrize("name", ["openssl-ed448.csr", "openssl-secp256k1.csr"])
def test_csr_with_a_key_that_policy_may_not_like_proves_possession(name: str) -> None:
    assert verify_possession(parse_csr(vector(name))).pop is Pop.SIGNATURE


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("openssl-explicit-parameters.csr", ReasonCode.KEY_CURVE),
        ("openssl-rsa-sha1.csr", ReasonCode.KEY_SIGNATURE_HASH),
        ("openssl-dsa.csr", ReasonCode.KEY_TYPE),
    ],
)
def test_csr_with_broken_cryptography_is_refused(name: str, code: ReasonCode) -> None:
    assert refusal(vector(name), possession=True).code is code


# -- proof of possession -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["P-256", "P-384", "P-521", "RSA-2048", "Ed25519", "Ed448", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]
)
def test_possession_is_proven_by_its_own_key_and_by_no_other(kind: str) -> None:
    csr_der = pki.csr(pki.shared_key(kind), cn="device-1", sans=["a.test"])
    parsed = parse_csr(csr_der)
    assert verify_possession(parsed).public_key.spki_der == pki.spki_der(pki.shared_key(kind))
    tampered = csr_der.replace(b"device-1", b"device-2")
    assert tampered != csr_der
    assert refusal(tampered, possession=True).code is ReasonCode.CSR_SIGNATURE


def test_csr_signed_by_somebody_else_is_refused() -> None:
    csr_der = pki.broken_signature(pki.csr(pki.shared_key("P-256")))
    assert refusal(csr_der, possession=True).code is ReasonCode.CSR_SIGNATURE


@pytest.mark.parametrize("hash_name", ["md5", "sha1"])
def test_signature_with_a_broken_hash_is_refused_by_name(hash_name: str) -> None:
    csr_der = pki.raw_csr(pki.shared_key("RSA-2048"), hash_name=hash_name)
    assert parse_csr(csr_der).signature_hash == hash_name
    fault = refusal(csr_der, possession=True)
    assert fault.code is ReasonCode.KEY_SIGNATURE_HASH
    assert hash_name.upper() in str(fault)


def test_signature_algorithm_of_another_kind_of_key_is_refused() -> None:
    csr_der = pki.raw_csr(pki.shared_key("P-256"), spki=pki.spki_der(pki.shared_key("RSA-2048")))
    assert refusal(csr_der, possession=True).code is ReasonCode.CSR_SIGNATURE


# -- structure -----------------------------------------------------------------------------------------------


def test_empty_message_is_refused_as_empty() -> None:
    assert refusal(b"").code is ReasonCode.MESSAGE_EMPTY


def test_two_concatenated_csrs_are_refused_by_name() -> None:
    csr_der = pki.csr(pki.shared_key("P-256"))
    assert "more than one CSR" in str(refusal(csr_der + csr_der))


def test_bytes_after_the_csr_are_refused_with_their_number() -> None:
    assert "5 bytes follow" in str(refusal(pki.csr(pki.shared_key("P-256")) + b"\0\0\0\0\0"))


def test_indefinite_length_is_refused() -> None:
    csr_der = pki.csr(pki.shared_key("P-256"))
    assert refusal(b"\x30\x80" + csr_der[3:] + b"\0\0").code is ReasonCode.MESSAGE_ASN1


def test_csr_of_version_two_is_refused() -> None:
    assert "version" in str(refusal(signed(version=1)))


def test_csr_nested_deeper_than_the_bound_is_refused() -> None:
    nested = b"\x05\x00"
    for _ in range(60):
        nested = pki.tlv(0x30, nested)
    assert "nested deeper" in str(refusal(signed(pki.attribute("1.2.3.4", nested))))


def test_certificate_instead_of_a_csr_is_refused_politely() -> None:
    assert refusal(vector("openssl-leaf.crt")).code is ReasonCode.MESSAGE_ASN1


def test_csr_without_attributes_field_is_read() -> None:
    info = pki.tlv(0x30, b"\x02\x01\x00", pki.name().public_bytes(), pki.spki_der(pki.shared_key("P-256")))
    parsed = parse_csr(pki.raw_signed(pki.shared_key("P-256"), info))
    assert verify_possession(parsed).pop is Pop.SIGNATURE
    assert parsed.identity.sans == ()


def test_csr_with_empty_subject_is_read() -> None:
    assert not parse_csr(signed(subject_der=b"\x30\x00")).subject


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ([b"\x30\x00"], "ends in the middle"),
        ([b"\x31\x00"], "must be a SEQUENCE"),
        ([pki.attribute("1.2.3.4")], "at least one value"),
        ([pki.attribute("1.2.3.4", b"\x05\x00"), pki.attribute("1.2.3.4", b"\x05\x00")], "twice"),
        ([pki.attribute(pki.EXTENSION_REQUEST, b"\x30\x00")], "empty list of extensions"),
        ([pki.attribute(pki.EXTENSION_REQUEST, b"\x30\x00", b"\x30\x00")], "exactly one SEQUENCE"),
        ([pki.attribute(pki.EXTENSION_REQUEST, b"\x05\x00")], "exactly one SEQUENCE"),
        ([pki.attribute(pki.CHALLENGE_PASSWORD, b"\x02\x01\x01")], "character string"),
        ([pki.attribute(pki.CHALLENGE_PASSWORD, b"\x13\x01a", b"\x13\x01b")], "exactly one"),
        (
            [pki.extension_request((pki.key_usage("digital_signature"), True), (pki.key_usage(), False))],
            "twice",
        ),
    ],
)
def test_bad_attribute_is_refused_and_named(attributes: list[bytes], words: str) -> None:
    fault = refusal(signed(*attributes))
    assert words in str(fault)
    assert fault.code is ReasonCode.MESSAGE_ASN1


def test_empty_san_extension_is_refused() -> None:
    empty = pki.tlv(0x30, pki.oid("2.5.29.17"), pki.tlv(0x04, b"\x30\x00"))
    fault = refusal(signed(pki.attribute(pki.EXTENSION_REQUEST, pki.tlv(0x30, empty))))
    assert fault.code is ReasonCode.NAME_MALFORMED


def test_malformed_san_names_its_place_in_the_request() -> None:
    names = pki.tlv(0x30, pki.tlv(0x82, b"good.test"), pki.tlv(0x82, b"bad..test"))
    extension = pki.tlv(0x30, pki.oid("2.5.29.17"), pki.tlv(0x04, names))
    fault = refusal(signed(pki.attribute(pki.EXTENSION_REQUEST, pki.tlv(0x30, extension))))
    assert (fault.code, fault.path) == (ReasonCode.NAME_MALFORMED, "identity.sans[1]")
    assert "bad..test" in str(fault)


def test_malformed_subject_names_its_place_in_the_request() -> None:
    fault = refusal(signed(subject_der=bytes.fromhex("30023100")))
    assert (fault.code, fault.path) == (ReasonCode.NAME_MALFORMED, "identity.subject")


# -- attributes with a meaning -------------------------------------------------------------------------------

MICROSOFT = "1.3.6.1.4.1.311.2.1.14"


def test_microsoft_extension_request_counts_like_the_standard_one() -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("a.test")]).public_bytes()
    row = pki.tlv(0x30, pki.tlv(0x30, pki.oid("2.5.29.17"), pki.tlv(0x04, names)))
    parsed = parse_csr(signed(pki.attribute(MICROSOFT, row)))
    assert [san.value for san in parsed.identity.sans] == ["a.test"]
    assert parsed.identity.attributes == ()


def test_same_request_under_both_attributes_is_taken_once() -> None:
    row = pki.tlv(0x30, pki.tlv(0x30, pki.oid("2.5.29.15"), pki.tlv(0x04, b"\x03\x02\x07\x80")))
    parsed = parse_csr(signed(pki.attribute(pki.EXTENSION_REQUEST, row), pki.attribute(MICROSOFT, row)))
    assert [extension.oid for extension in parsed.identity.extensions] == ["2.5.29.15"]


def test_both_attributes_with_different_key_usage_are_refused() -> None:
    row, other = (
        pki.tlv(0x30, pki.tlv(0x30, pki.oid("2.5.29.15"), pki.tlv(0x04, bytes.fromhex(bits))))
        for bits in ("03020780", "03020106")
    )
    assert "same extension" in str(
        refusal(signed(pki.attribute(pki.EXTENSION_REQUEST, row), pki.attribute(MICROSOFT, other)))
    )


def test_change_subject_name_gives_the_new_subject_and_names() -> None:
    attribute = pki.change_subject_name(pki.name("new-name"), ["new.test"])
    change = parse_csr(signed(attribute)).change_subject_name
    assert change is not None
    assert str(change.subject) == "CN=new-name"
    assert [san.value for san in change.sans] == ["new.test"]


def test_change_subject_name_with_names_only_leaves_the_subject() -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("new.test")]).public_bytes()
    change = parse_csr(
        signed(pki.attribute(pki.CHANGE_SUBJECT_NAME, pki.tlv(0x30, names)))
    ).change_subject_name
    assert change is not None
    assert change.subject is None
    assert [san.value for san in change.sans] == ["new.test"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x05\x00", pki.name("a").public_bytes() * 2, pki.tlv(0x30, pki.tlv(0x82, b"a.test")) * 2],
)
def test_change_subject_name_with_wrong_content_is_refused(content: bytes) -> None:
    refusal(signed(pki.attribute(pki.CHANGE_SUBJECT_NAME, pki.tlv(0x30, content))))


def test_request_for_a_ca_certificate_reaches_policy_in_full() -> None:
    asked = (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (pki.key_usage("key_cert_sign"), True),
    )
    parsed = parse_csr(pki.csr(pki.shared_key("P-256"), extensions=asked))
    assert [(e.oid, e.critical, e.value_der) for e in parsed.identity.extensions] == [
        (extension.oid.dotted_string, critical, extension.public_bytes()) for extension, critical in asked
    ]


def test_parsed_csr_prints_without_its_challenge_password() -> None:
    parsed = parse_csr(pki.csr(pki.shared_key("P-256"), challenge=b"sesame-open"))
    assert parsed.challenge_password == b"sesame-open"
    assert "sesame-open" not in repr(parsed)


def test_csr_is_kept_byte_for_byte() -> None:
    csr_der = pki.csr(pki.shared_key("P-256"))
    assert parse_csr(csr_der).csr_der == csr_der
    assert x509.load_der_x509_csr(parse_csr(csr_der).csr_der).public_bytes(Encoding.DER) == csr_der
