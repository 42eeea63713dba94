"""Names: what a certificate may hold, the normal forms, RFC 5280 comparison."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.errors import MalformedMessage
from gateway.model.names import AttributeTypeAndValue, DistinguishedName, GeneralName, NameKind
from gateway.model.reasons import ReasonCode
from gateway.pki.names import (
    decode_general_names,
    decode_name,
    dns_name,
    email_name,
    encode_general_names,
    encode_name,
    ip_address_name,
    names_match,
    san_sets_match,
    uri_name,
)
from tests.support import pki

COMMON_NAME, COUNTRY = "2.5.4.3", "2.5.4.6"


def refusal(call: object, *arguments: object) -> MalformedMessage:
    with pytest.raises(MalformedMessage) as caught:
        call(*arguments)  # type: ignore[operator]
    assert caught.value.code is ReasonCode.NAME_MALFORMED
    return caught.value


def dn(*attributes: tuple[str, str, int]) -> DistinguishedName:
    return DistinguishedName(tuple((AttributeTypeAndValue(*attribute),) for attribute in attributes))


def cn(value: str, tag: int = 12) -> DistinguishedName:
    return dn((COMMON_NAME, value, tag))


def attribute_der(oid: str, tag: int, content: bytes) -> bytes:
    return pki.tlv(0x30, pki.tlv(0x31, pki.tlv(0x30, pki.oid(oid), pki.tlv(tag, content))))


# -- DNS names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Host.Example.TEST", "host.example.test"),
        ("*.example.test", "*.example.test"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_sip._tcp.example.test", "_sip._tcp.example.test"),
        ("device-4711", "device-4711"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
        ("10.example", "10.example"),
    ],
)
def test_dns_name_gets_its_normal_form(text: str, value: str) -> None:
    name = dns_name(text)
    assert (name.kind, name.value) == (NameKind.DNS, value)
    assert name.der == pki.tlv(0x82, value.encode())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("bücher.example", "A-label"),
        ("\u212aelvin.example", "A-label"),  # the Kelvin sign lower-cases to an ASCII k
        ("good.test\0.evil.test", "null byte"),
        ("a b.test", "white space"),
        ("a.test\n", "white space"),
        ("a.test.", "ends with a dot"),
        ("a..test", "empty label"),
        (".a.test", "empty label"),
        ("a" * 64 + ".test", "too long"),
        (".".join(["a" * 60] * 5), "too long"),
        ("*", "wildcard"),
        ("w*.example.test", "wildcard"),
        ("a.*.test", "wildcard"),
        ("*.*.test", "wildcard"),
        ("192.0.2.1", "iPAddress"),
        ("-a.test", "hyphen"),
        ("a-.test", "hyphen"),
        ("a.test/path", "letters"),
        ("user@a.test", "letters"),
    ],
)
def test_malformed_dns_name_is_refused_with_what_is_wrong(text: str, words: str) -> None:
    assert words in str(refusal(dns_name, text))


def test_dns_san_with_utf8_octets_is_refused_with_the_advice_to_send_a_labels() -> None:
    names = pki.tlv(0x30, pki.tlv(0x82, "bücher.example".encode()))
    fault = refusal(decode_general_names, names)
    assert "A-label" in str(fault)
    assert fault.path == "sans[0]"


def test_dns_san_in_capitals_is_signed_in_its_normal_form() -> None:
    (name,) = decode_general_names(pki.tlv(0x30, pki.tlv(0x82, b"A.TEST")))
    assert name == GeneralName(NameKind.DNS, "a.test", pki.tlv(0x82, b"a.test"))


def test_refusal_of_a_very_long_name_stays_short() -> None:
    assert len(str(refusal(dns_name, "a" * 100_000))) < 300


# -- other kinds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "octets"),
    [
        ("192.0.2.1", "192.0.2.1", "c0000201"),
        ("::ffff:192.0.2.1", "192.0.2.1", "c0000201"),
        ("2001:DB8:0:0::1", "2001:db8::1", "20010db8000000000000000000000001"),
    ],
)
def test_ip_address_gets_its_normal_form(text: str, value: str, octets: str) -> None:
    assert ip_address_name(text) == GeneralName(NameKind.IP, value, pki.tlv(0x87, bytes.fromhex(octets)))


def test_mapped_ipv6_octets_become_the_ipv4_address() -> None:
    mapped = ipaddress.ip_address("::ffff:192.0.2.1").packed
    (name,) = decode_general_names(pki.tlv(0x30, pki.tlv(0x87, mapped)))
    assert name == ip_address_name("192.0.2.1")


@pytest.mark.parametrize("count", [0, 3, 5, 8, 15, 17, 32])
def test_ip_address_of_a_wrong_length_is_refused(count: int) -> None:
    assert f"{count} octets" in str(refusal(decode_general_names, pki.tlv(0x30, pki.tlv(0x87, bytes(count)))))


@pytest.mark.parametrize("text", ["", "192.0.2", "192.0.2.256", "fe80::1%eth0", "192.0.2.0/24"])
def test_text_that_is_no_ip_address_is_refused(text: str) -> None:
    refusal(ip_address_name, text)


@pytest.mark.parametrize(
    "text", ["a@b@c.test", "@b.test", "a@", "a b@c.test", "a@*.test", "ä@b.test", "a@b..c"]
)
def test_malformed_email_address_is_refused(text: str) -> None:
    refusal(email_name, text)


def test_email_address_stands_as_it_was_sent() -> None:
    assert email_name("Anna.B+x@Example.Test").value == "Anna.B+x@Example.Test"


@pytest.mark.parametrize(
    "text", ["", "no-scheme", "//a.test/", "http:", "http://a b", "http://ä.test/", "1a:b"]
)
def test_malformed_uri_is_refused(text: str) -> None:
    refusal(uri_name, text)


@pytest.mark.parametrize(
    "text", ["https://a.test/x?y=1#z", "urn:uuid:1", "spiffe://a.test/device", "http://[::1]/"]
)
def test_uri_stands_as_it_was_sent(text: str) -> None:
    assert uri_name(text).value == text


@pytest.mark.parametrize(
    "names",
    [
        b"",
        b"\x30\x00",
        b"\x31\x00",
        b"\x30\x02\x89\x00",  # no such alternative
        b"\x30\x04\x82\x02a",  # cut
        b"\x30\x02\xa0\x00",  # otherName of nothing
        pki.tlv(0x30, pki.tlv(0xA0, pki.oid("1.2.3"))),  # otherName without value
        pki.tlv(0x30, pki.tlv(0xA0, pki.oid("1.2.3"), pki.tlv(0xA0))),
        pki.tlv(0x30, pki.tlv(0x88, b"\x80")),
        pki.tlv(0x30, pki.tlv(0xA4, b"\x05\x00")),
        pki.tlv(0x30, pki.tlv(0x82, b"a.test")) + b"\0",
    ],
)
def test_malformed_general_names_are_refused(names: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_general_names(names)


def test_general_names_without_any_cannot_be_encoded() -> None:
    refusal(encode_general_names, ())


def test_encoded_general_names_are_those_of_cryptography() -> None:
    ours = [dns_name("a.test"), ip_address_name("192.0.2.1"), email_name("a@b.test"), uri_name("urn:x:1")]
    theirs = ["a.test", "ip:192.0.2.1", "email:a@b.test", "uri:urn:x:1"]
    assert (
        encode_general_names(ours)
        == x509.SubjectAlternativeName([pki.general_name(text) for text in theirs]).public_bytes()
    )


# -- distinguished names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (0x0C, "Zürich".encode()),
        (0x14, "Zürich".encode("latin-1")),
        (0x1E, "Zürich".encode("utf-16-be")),
        (0x1C, "Zürich".encode("utf-32-be")),
    ],
)
def test_every_string_type_is_read_and_written_back(tag: int, content: bytes) -> None:
    name_der = attribute_der(COMMON_NAME, tag, content)
    name = decode_name(name_der)
    assert name == cn("Zürich", tag)
    assert encode_name(name) == name_der


def test_value_that_is_no_string_survives_in_hex() -> None:
    name_der = attribute_der("2.5.4.45", 0x03, b"\0\xff")  # x500UniqueIdentifier
    assert decode_name(name_der).values("2.5.4.45") == ("#030200ff",)
    assert encode_name(decode_name(name_der)) == name_der


@pytest.mark.parametrize(
    "name_der",
    [
        attribute_der(COMMON_NAME, 0x0C, b"\xff"),
        attribute_der(COMMON_NAME, 0x13, b"\xe4"),
        attribute_der(COMMON_NAME, 0x1E, b"a"),
        attribute_der(COMMON_NAME, 0x1E, b"\xd8\x00"),
        attribute_der(COMMON_NAME, 0x0C, b""),
        attribute_der(COMMON_NAME, 0x0C, b"good\0evil"),
        b"\x30\x02\x31\x00",
        b"\x31\x00",
        pki.tlv(0x30, pki.tlv(0x31, pki.tlv(0x30, pki.oid(COMMON_NAME), b"\x0c\x01a\x0c\x01b"))),
        pki.tlv(0x30, pki.tlv(0x31, pki.tlv(0x30, b"\x0c\x01a\x0c\x01b"))),
        pki.tlv(0x30, pki.tlv(0x31, b"\x05\x00")),
    ],
)
def test_malformed_distinguished_name_is_refused(name_der: bytes) -> None:
    refusal(decode_name, name_der)


@pytest.mark.parametrize("in_one_part", [True, False])
def test_name_of_very_many_attributes_is_refused(in_one_part: bool) -> None:
    """Reading and comparing them costs time that nobody has proven to deserve."""
    one = pki.tlv(0x30, pki.oid("2.5.4.3"), pki.tlv(0x0C, b"a"))

    def name_der(count: int) -> bytes:
        parts = [pki.tlv(0x31, one * count)] if in_one_part else [pki.tlv(0x31, one)] * count
        return pki.tlv(0x30, *parts)

    assert len(decode_name(name_der(200)).values(COMMON_NAME)) == 200
    with pytest.raises(MalformedMessage) as caught:
        decode_name(name_der(201))
    assert caught.value.code is ReasonCode.NAME_MALFORMED


def test_country_and_mail_get_their_own_string_types() -> None:
    name = dn((COUNTRY, "DE", 12), ("2.5.4.5", "4711", 12), ("1.2.840.113549.1.9.1", "a@b.test", 12))
    name = DistinguishedName((*name.rdns, *dn(("0.9.2342.19200300.100.1.25", "test", 12)).rdns))
    assert [a.tag for rdn in decode_name(encode_name(name)).rdns for a in rdn] == [0x13, 0x13, 0x16, 0x16]


def test_printable_string_with_other_characters_is_written_as_utf8() -> None:
    assert decode_name(encode_name(cn("a_b", 0x13))) == cn("a_b", 0x0C)


@pytest.mark.parametrize(
    "name",
    [
        dn((COUNTRY, "Ö", 12)),
        dn(("2.5.4.5", "A_1", 12)),
        cn("ä", 0x16),
        cn(""),
        cn("zz", 0x03),
        cn("0500", 0x03),
    ],
)
def test_value_that_does_not_fit_its_type_cannot_be_encoded(name: DistinguishedName) -> None:
    refusal(encode_name, name)


def test_encoded_multivalued_name_is_that_of_cryptography() -> None:
    theirs = x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE")]),
            x509.RelativeDistinguishedName(
                [
                    x509.NameAttribute(NameOID.COMMON_NAME, "z"),
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "a"),
                ]
            ),
        ]
    )
    ours = DistinguishedName(
        (
            (AttributeTypeAndValue(COUNTRY, "DE"),),
            (AttributeTypeAndValue("2.5.4.10", "a"), AttributeTypeAndValue(COMMON_NAME, "z")),
        )
    )
    assert encode_name(ours) == theirs.public_bytes()


# -- comparison ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (cn("Device 1", 0x13), cn("Device 1", 0x0C)),
        (cn("device 1"), cn("DEVICE  1")),
        (cn("  device 1 "), cn("device 1")),
        (cn("STRASSE"), cn("straße")),
        (cn("Zu\u0308rich"), cn("ZÜRICH")),
    ],
)
def test_names_equal_by_rfc_5280_match(left: DistinguishedName, right: DistinguishedName) -> None:
    assert names_match(left, right)
    assert names_match(right, left)


def test_long_values_match_by_case_but_are_never_normalised() -> None:
    """Normalising 100,000 combining characters takes minutes: anybody could send them as a sender's name."""
    assert names_match(cn("Zürich " * 100), cn("ZÜRICH  " * 100))
    assert not names_match(cn("Zu\u0308rich" * 100), cn("ZÜRICH" * 100))
    marks = "\u0301" * 50_000 + "\u0316" * 50_000
    assert not names_match(cn(f"a{marks}"), cn(f"b{marks}"))


def test_order_inside_an_rdn_does_not_count() -> None:
    first, second = AttributeTypeAndValue(COMMON_NAME, "a"), AttributeTypeAndValue("2.5.4.10", "b")
    assert names_match(DistinguishedName(((first, second),)), DistinguishedName(((second, first),)))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (cn("device 1"), cn("device1")),
        (cn("a"), dn((COMMON_NAME, "a", 12), (COMMON_NAME, "a", 12))),
        (cn("a"), dn(("2.5.4.10", "a", 12))),
        (dn((COMMON_NAME, "a", 12), (COUNTRY, "DE", 12)), dn((COUNTRY, "DE", 12), (COMMON_NAME, "a", 12))),
        (cn("a"), DistinguishedName()),
    ],
)
def test_names_that_differ_do_not_match(left: DistinguishedName, right: DistinguishedName) -> None:
    assert not names_match(left, right)
    assert not names_match(right, left)


def directory(common_name: str) -> GeneralName:
    (name,) = decode_general_names(pki.tlv(0x30, pki.tlv(0xA4, pki.name(common_name).public_bytes())))
    return name


def other(oid: str, text: str) -> GeneralName:
    value = pki.tlv(0xA0, pki.oid(oid), pki.tlv(0xA0, pki.tlv(0x0C, text.encode())))
    (name,) = decode_general_names(pki.tlv(0x30, value))
    return name


def test_same_alternative_names_in_another_order_match() -> None:
    left = (dns_name("a.test"), email_name("Me@A.test"), uri_name("HTTPS://A.test/X"), directory("Dir  1"))
    right = (directory("dir 1"), uri_name("https://a.TEST/X"), email_name("Me@a.test"), dns_name("A.TEST"))
    assert san_sets_match(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((dns_name("a.test"),), (dns_name("b.test"),)),
        ((dns_name("a.test"),), ()),
        ((dns_name("a.test"),), (dns_name("a.test"), dns_name("b.test"))),
        ((email_name("me@a.test"),), (email_name("Me@a.test"),)),
        ((uri_name("https://a.test/x"),), (uri_name("https://a.test/X"),)),
        ((other("1.2.3", "a"),), (other("1.2.3", "b"),)),
        ((directory("a"),), (directory("b"),)),
    ],
)
def test_other_alternative_names_do_not_match(
    left: tuple[GeneralName, ...], right: tuple[GeneralName, ...]
) -> None:
    assert not san_sets_match(left, right)
    assert not san_sets_match(right, left)


def test_other_name_tells_its_type_and_its_text() -> None:
    assert str(other("1.3.6.1.4.1.311.20.2.3", "me@A.test")) == "other:1.3.6.1.4.1.311.20.2.3=me@a.test"
    assert str(other("1.3.6.1.4.1.311.20.2.3", "no principal")) == "other:1.3.6.1.4.1.311.20.2.3"
    assert str(other("1.2.3", "me@a.test")) == "other:1.2.3"
