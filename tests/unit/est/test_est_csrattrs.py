"""CSR attributes: judged by the RFCs' published examples, asn1crypto and openssl."""

from __future__ import annotations

import base64
import subprocess
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.errors import MalformedMessage
from gateway.est.csrattrs import (
    EXTENSION_REQUEST_TEMPLATE,
    REQUEST_INFO_TEMPLATE,
    CsrAttribute,
    CsrAttrs,
    ExtensionTemplate,
    RequestTemplate,
    csr_attributes,
    encode_csrattrs,
    encode_template,
)
from gateway.est.csrattrs_decode import decode_csrattrs, decode_template, request_template
from gateway.model.keys import KeyType
from gateway.model.wanted import Wanted, WantedKey
from gateway.pki.oids import CHALLENGE_PASSWORD, EXTENSION_REQUEST
from tests.support import pki
from tests.unit.est import csrattrs_asn1 as asn1

P384 = WantedKey(KeyType.EC, curve="P-384")
FULL = Wanted(
    keys=(WantedKey(KeyType.RSA, size_bits=3072), P384),
    signature_hashes=("sha256", "sha384"),
    subject_attributes=("2.5.4.3", "2.5.4.5"),
    san_kinds=("dns",),
    san_required=True,
    key_usage=("digitalSignature", "keyAgreement"),
    extended_key_usage=("1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"),
    linking_required=True,
)

# Examples as published: RFC 7030 section 4.5.2, RFC 9908 sections 5.1, 5.2, 5.4, 5.5 and 5.6.
RFC_EXAMPLES = {
    "rfc7030": "MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw==",
    "rfc9908-5.1": "MGgwZgYJKoZIhvcNAQkOMVkwVzBVBgNVHREBAf8ESzBJoEcGCCsGAQUFBwgKoDsWOXJmYzg5OTQrZmQ3MzlmYzIz"
    "YzM0NDAxMTIyMzM0NDU1MDAwMDAwMDArQGFjcC5leGFtcGxlLmNvbQ==",
    "rfc9908-5.2": "MDIGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiBgcrBgEBAQEWBggqhkjOPQQDAw==",
    "rfc9908-5.4": "MCkGCSqGSIb3DQEJBzARBgkqhkiG9w0BAQExBAICEAAGCSqGSIb3DQEBCw==",
    "rfc9908-5.5": "MC4GCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiBgNVBAUGCCqGSM49BAMD",
    "rfc9908-5.6": "MEUGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAjBgkqhkiG9w0BCRQGCgmSJomT8ixkAQUGA1UEBQYI"
    "KoZIzj0EAwQ=",
}


def asn1parse(der: bytes) -> str:
    done = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER"], input=der, capture_output=True, check=True
    )
    return done.stdout.decode()


def read(structure: Any, der: bytes) -> Any:
    """One ASN.1 structure as asn1crypto reads it, nothing after it."""
    return structure.load(der, strict=True)


def foreign_template(attributes: CsrAttrs) -> Any:
    """The template as asn1crypto reads it."""
    (value,) = next(
        element.values_der
        for element in attributes.elements
        if isinstance(element, CsrAttribute) and element.oid == REQUEST_INFO_TEMPLATE
    )
    return read(asn1.CertificationRequestInfoTemplate, value)


def foreign_elements(csrattrs_der: bytes) -> list[Any]:
    """The elements as asn1crypto reads them: OIDs in dotted form, attributes as (OID, value TLVs)."""
    return [
        item.chosen.dotted
        if item.name == "oid"
        else (item.chosen["type"].dotted, [value.dump() for value in item.chosen["values"]])
        for item in read(asn1.CsrAttrs, csrattrs_der)
    ]


def our_elements(attributes: CsrAttrs) -> list[Any]:
    return [e if isinstance(e, str) else (e.oid, list(e.values_der)) for e in attributes.elements]


@pytest.mark.parametrize("name", RFC_EXAMPLES)
def test_published_example_is_read_as_asn1crypto_reads_it_and_written_back_the_same(name: str) -> None:
    example = base64.b64decode(RFC_EXAMPLES[name])
    ours = decode_csrattrs(example)
    assert our_elements(ours) == foreign_elements(example)
    assert encode_csrattrs(ours) == example


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "rfc9908-5.4",
            Wanted(
                keys=(WantedKey(KeyType.RSA, size_bits=4096),),
                signature_hashes=("sha256",),
                linking_required=True,
            ),
        ),
        (
            "rfc9908-5.5",
            Wanted(
                keys=(P384,),
                signature_hashes=("sha384",),
                subject_attributes=("2.5.4.5",),
                linking_required=True,
            ),
        ),
    ],
)
def test_wanted_of_a_published_example_gives_its_very_bytes(name: str, wanted: Wanted) -> None:
    """est.md C53."""
    derived = encode_csrattrs(csr_attributes(wanted, template=False))
    assert base64.b64encode(derived).decode() == RFC_EXAMPLES[name]


@pytest.mark.parametrize("required", [True, False])
def test_challenge_password_is_named_exactly_where_linking_is_required(*, required: bool) -> None:
    """est.md C54."""
    attributes = csr_attributes(Wanted(keys=(P384,), linking_required=required), template=True)
    assert (CHALLENGE_PASSWORD in attributes.elements) is required
    template = request_template(attributes)
    assert template is not None
    assert (CsrAttribute(CHALLENGE_PASSWORD) in template.attributes) is required


@pytest.mark.parametrize("template", [True, False])
def test_nothing_wanted_gives_no_attributes(*, template: bool) -> None:
    assert not csr_attributes(Wanted(), template=template)
    assert not csr_attributes(Wanted(san_kinds=("dns",)), template=template)  # optional, so not asked for


@pytest.mark.parametrize(
    ("key", "named"),
    [
        (WantedKey(KeyType.EC, curve="P-256"), "prime256v1"),
        (WantedKey(KeyType.EC, curve="1.3.36.3.3.2.8.1.1.7"), "brainpoolP256r1"),
        (WantedKey(KeyType.EC), "id-ecPublicKey"),
        (WantedKey(KeyType.RSA, size_bits=2048), "rsaEncryption"),
        (WantedKey(KeyType.RSA), "rsaEncryption"),
        (WantedKey(KeyType.ED25519), "ED25519"),
        (WantedKey(KeyType.ML_DSA_65), "2.16.840.1.101.3.4.3.18"),
    ],
)
def test_first_wanted_key_is_named_once_in_the_list_and_once_in_the_template(
    key: WantedKey, named: str
) -> None:
    attributes = csr_attributes(Wanted(keys=(key, WantedKey(KeyType.ED448))), template=True)
    assert len(attributes.elements) == 2
    shown = asn1parse(encode_csrattrs(attributes))
    assert shown.count(named) == 2
    assert "ED448" not in shown


def test_unnameable_key_type_is_left_out() -> None:
    attributes = csr_attributes(
        Wanted(keys=(WantedKey(KeyType.OTHER),), linking_required=True), template=True
    )
    template = request_template(attributes)
    assert template is not None
    assert template.key_algorithm is None
    assert attributes.elements[0] == CHALLENGE_PASSWORD


@pytest.mark.parametrize(
    ("key", "hash_name", "oid"),
    [
        (None, "sha256", "2.16.840.1.101.3.4.2.1"),
        (P384, "sha512", "1.2.840.10045.4.3.4"),
        (WantedKey(KeyType.RSA, size_bits=3072), "sha384", "1.2.840.113549.1.1.12"),
    ],
)
def test_first_hash_is_named_as_signature_algorithm_of_the_key(
    key: WantedKey | None, hash_name: str, oid: str
) -> None:
    wanted = Wanted(keys=(key,) if key else (), signature_hashes=("unknown", hash_name, "sha256"))
    assert csr_attributes(wanted, template=False).elements[-1] == oid


def test_key_without_choice_of_hash_names_none() -> None:
    wanted = Wanted(keys=(WantedKey(KeyType.ED25519),), signature_hashes=("sha256",))
    assert csr_attributes(wanted, template=False).elements == (CsrAttribute("1.3.101.112"),)


def test_extension_request_holds_one_extensions_value_as_cryptography_encodes_it() -> None:
    """est.md C53: RFC 8951 section 3.2.2, an Attribute whose SET holds one ExtensionReq."""
    attributes = csr_attributes(FULL, template=False)
    foreign = read(asn1.CsrAttrs, encode_csrattrs(attributes))
    requests = [
        i.chosen for i in foreign if i.name == "attribute" and i.chosen["type"].dotted == EXTENSION_REQUEST
    ]
    ((value,),) = [list(request["values"]) for request in requests]
    extensions = read(asn1.ExtensionTemplates, value.dump())
    key_usage = pki.key_usage("digital_signature", "key_agreement")
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    assert [(e["extn_id"].dotted, e["critical"].native, e["extn_value"].native) for e in extensions] == [
        ("2.5.29.15", True, key_usage.public_bytes()),
        ("2.5.29.37", False, usages.public_bytes()),
    ]


@pytest.mark.parametrize(
    ("names", "bits"),
    [
        (("digitalSignature",), ("digital_signature",)),
        (("keyEncipherment", "digitalSignature"), ("digital_signature", "key_encipherment")),
        (("keyAgreement", "decipherOnly"), ("key_agreement", "decipher_only")),
        (("nonRepudiation",), ("content_commitment",)),
    ],
)
def test_key_usage_is_encoded_as_cryptography_encodes_it(
    names: tuple[str, ...], bits: tuple[str, ...]
) -> None:
    attributes = csr_attributes(Wanted(key_usage=names), template=False)
    assert pki.key_usage(*bits).public_bytes() in encode_csrattrs(attributes)


def test_template_holds_all_that_is_wanted_as_asn1crypto_reads_it() -> None:
    """est.md C53: RFC 9908 section 3.4."""
    template = foreign_template(csr_attributes(FULL, template=True))
    assert template["version"].native == 0
    assert [
        [(single["type"].dotted, single["value"].dump()) for single in rdn] for rdn in template["subject"]
    ] == [[("2.5.4.3", b"")], [("2.5.4.5", b"")]]
    key = template["subject_pk_info"]
    assert key["algorithm"]["algorithm"].dotted == "1.2.840.113549.1.1.1"
    (extension_request,) = [a for a in template["attributes"] if a["type"].dotted != CHALLENGE_PASSWORD]
    assert extension_request["type"].dotted == EXTENSION_REQUEST_TEMPLATE
    (value,) = extension_request["values"]
    extensions = read(asn1.ExtensionTemplates, value.dump())
    assert [(e["extn_id"].dotted, e["extn_value"].native is None) for e in extensions] == [
        ("2.5.29.15", False),
        ("2.5.29.37", False),
        ("2.5.29.17", True),
    ]


def test_template_with_complete_extensions_uses_the_plain_extension_request() -> None:
    """RFC 9908 section 3.4: id-aa-extensionReqTemplate only where the client finds a value; never both."""
    wanted = Wanted(key_usage=("digitalSignature",))
    template = foreign_template(csr_attributes(wanted, template=True))
    assert [a["type"].dotted for a in template["attributes"]] == [EXTENSION_REQUEST]


def test_rsa_placeholder_has_the_wanted_modulus_length_and_other_keys_have_none() -> None:
    rsa = foreign_template(csr_attributes(FULL, template=True))
    shown = asn1parse(rsa["subject_pk_info"]["subject_public_key"].dump()[5:])
    modulus = shown.split("INTEGER")[1].split(":")[1].split()[0]
    assert int(modulus, 16).bit_length() == 3072
    ec = foreign_template(csr_attributes(Wanted(keys=(P384,)), template=True))
    assert ec["subject_pk_info"]["subject_public_key"].dump() == b""


def test_template_read_back_is_what_was_written() -> None:
    template = RequestTemplate(
        subject=((("2.5.4.3", None),), (("2.5.4.11", b"\x0c\x06myDept"),)),
        key_algorithm="1.2.840.10045.2.1",
        key_parameters_der=bytes.fromhex("06082a8648ce3d030107"),
        extensions=(
            ExtensionTemplate("2.5.29.17"),
            ExtensionTemplate("2.5.29.15", True, b"\x03\x02\x07\x80"),
        ),
        attributes=(CsrAttribute(CHALLENGE_PASSWORD),),
    )
    assert decode_template(encode_template(template)) == template
    derived = request_template(csr_attributes(FULL, template=True))
    assert derived is not None
    assert derived.rsa_bits == 3072
    assert decode_template(encode_template(derived)) == derived


def test_list_without_template_has_none() -> None:
    assert request_template(decode_csrattrs(base64.b64decode(RFC_EXAMPLES["rfc9908-5.2"]))) is None


def _template_with(*attributes: bytes, version: int = 0) -> bytes:
    return pki.tlv(0x30, pki.tlv(2, bytes((version,))), pki.tlv(0xA1, *attributes))


_NO_OID = pki.tlv(0x30, pki.tlv(0x30, b"\x05\x00"))
_EXTENSIONS = pki.tlv(0x30, pki.tlv(0x30, pki.oid("2.5.29.17")))


@pytest.mark.parametrize(
    "template_der",
    [
        _template_with(version=1),
        _template_with(
            pki.attribute(EXTENSION_REQUEST, _EXTENSIONS),
            pki.attribute(EXTENSION_REQUEST_TEMPLATE, _EXTENSIONS),
        ),
        _template_with(pki.attribute(EXTENSION_REQUEST_TEMPLATE, _EXTENSIONS, _EXTENSIONS)),
        _template_with(pki.attribute(EXTENSION_REQUEST_TEMPLATE, _NO_OID)),
        pki.tlv(0x30, pki.tlv(2, b"\0")),
        pki.tlv(0x30, pki.tlv(2, b"\0"), pki.tlv(0x30, pki.tlv(0x30)), pki.tlv(0xA1)),
        pki.tlv(0x30, pki.tlv(2, b"\0"), pki.tlv(0xA0, pki.tlv(3, b"\0")), pki.tlv(0xA1)),
        pki.tlv(
            0x30,
            pki.tlv(2, b"\0"),
            pki.tlv(0xA0, pki.tlv(0x30, pki.oid("1.2.3")), pki.tlv(3, b"\0\x05\0")),
            pki.tlv(0xA1),
        ),
        b"\x31\x00",
        b"",
    ],
    ids=[
        "version",
        "both",
        "two-values",
        "no-oid",
        "no-attributes",
        "rdn",
        "key",
        "placeholder",
        "set",
        "empty",
    ],
)
def test_template_against_the_rules_is_refused(template_der: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_template(template_der)


@pytest.mark.parametrize(
    "elements",
    [
        (CsrAttribute(EXTENSION_REQUEST, (_EXTENSIONS,)),) * 2,
        (CsrAttribute(REQUEST_INFO_TEMPLATE, (_template_with(),)),) * 2,
        (CsrAttribute(REQUEST_INFO_TEMPLATE),),
    ],
    ids=["two-extension-requests", "two-templates", "template-without-value"],
)
def test_list_against_the_rules_is_refused(elements: tuple[CsrAttribute, ...]) -> None:
    with pytest.raises(MalformedMessage):
        request_template(decode_csrattrs(encode_csrattrs(CsrAttrs(elements))))
