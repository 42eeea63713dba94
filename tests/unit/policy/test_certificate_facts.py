"""Facts that a policy reads in certificates, and what it asks of them beside trust."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.asn1 import der
from gateway.model.reasons import ReasonCode
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.oids import oid_der
from gateway.policy.complaints import Misfit
from gateway.policy.extraction import (
    AskedOfCertificate,
    FactRule,
    NotAsAsked,
    check_asked,
    extracted,
    read_attribute,
    read_fact_pattern,
    read_source,
)
from gateway.policy.patterns import compile_regex
from tests.support import pki

HARDWARE_TYPE = "1.3.6.1.4.1.55555.7"
VENDOR_OID = "1.3.6.1.4.1.55555.8"
Names = Sequence[tuple[x509.ObjectIdentifier, str]]


def _name(parts: Names) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def hardware_module(serial: bytes, hw_type: str = HARDWARE_TYPE) -> x509.OtherName:
    """RFC 4108 section 5."""
    value = der.sequence(oid_der(hw_type), der.tlv(der.OCTET_STRING, serial))
    return x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4"), value)


def upn(text: str) -> x509.OtherName:
    value = der.tlv(der.UTF8_STRING, text.encode())
    return x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), value)


def made(
    *names: x509.GeneralName,
    subject: Names = ((NameOID.SERIAL_NUMBER, "SN:A1B2C3D4E5"),),
    issuer: Names = ((NameOID.COMMON_NAME, "ACME Devices IDevID CA 7"),),
    extensions: Sequence[x509.ExtensionType] = (),
) -> ParsedCertificate:
    key = pki.shared_key("P-256")
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(0xABCDEF)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return parse_certificate(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))


def fact(source: str, regex: str | None = None, *, required: bool = True) -> FactRule:
    pattern = None if regex is None else read_fact_pattern(regex)
    return FactRule("serial", read_source(source), pattern, required, "p.yaml:3:1")


def read(rule: FactRule, certificate: ParsedCertificate) -> str | None:
    return dict(extracted((rule,), certificate)).get("serial")


def refusal(rule: FactRule, certificate: ParsedCertificate) -> str:
    with pytest.raises(NotAsAsked) as caught:
        extracted((rule,), certificate)
    assert caught.value.code is ReasonCode.AUTH_REQUIREMENT
    assert (caught.value.key, caught.value.where) == ("extract.serial", "p.yaml:3:1")
    return str(caught.value)


RICH = (
    x509.DNSName("Dev-1.Example"),
    x509.RFC822Name("dev@example.test"),
    x509.UniformResourceIdentifier("urn:dev:7"),
    upn("dev-1@corp.example"),
    hardware_module(b"FTX1234A0BC"),
)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("subject.serialNumber", "SN:A1B2C3D4E5"),
        ("subject.2.5.4.5", "SN:A1B2C3D4E5"),
        ("issuer.CN", "ACME Devices IDevID CA 7"),
        ("san.dns", "dev-1.example"),
        ("san.email", "dev@example.test"),
        ("san.uri", "urn:dev:7"),
        ("san.upn", "dev-1@corp.example"),
        ("san.hardwareModuleName.type", HARDWARE_TYPE),
        ("san.hardwareModuleName.serial", "FTX1234A0BC"),
        ("serial", "abcdef"),
        (f"extension.{VENDOR_OID}", "rack 7"),
    ],
)
def test_fact_is_the_value_that_stands_at_its_place(source: str, value: str) -> None:
    text = der.tlv(der.UTF8_STRING, b"rack 7")
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(VENDOR_OID), text)
    assert read(fact(source), made(*RICH, extensions=[extension])) == value


def test_fact_of_the_key_is_its_hash() -> None:
    certificate = made()
    assert read(fact("spki_sha256"), certificate) == certificate.spki_sha256


@pytest.mark.parametrize(
    ("regex", "value"),
    [
        ("^SN:([A-Z0-9]{10})$", "A1B2C3D4E5"),
        ("SN:(?:[A-Z0-9]{10})", "SN:A1B2C3D4E5"),
        ("(?:SN|sn):(.*)", "A1B2C3D4E5"),
    ],
)
def test_fact_is_the_group_of_its_pattern_or_the_whole_value(regex: str, value: str) -> None:
    assert read(fact("subject.serialNumber", regex), made()) == value


@pytest.mark.parametrize("regex", ["SN:([A-Z0-9]{9})", "([A-Z0-9]+)", "x?"])
def test_pattern_that_does_not_match_all_of_the_value_refuses_and_names_both(regex: str) -> None:
    text = refusal(fact("subject.serialNumber", regex), made())
    assert "subject.serialNumber of the certificate is 'SN:A1B2C3D4E5'" in text
    assert regex in text


@pytest.mark.parametrize(
    "source", ["subject.O", "san.ip", "san.hardwareModuleName.serial", "san.upn", f"extension.{VENDOR_OID}"]
)
def test_fact_that_is_not_there_refuses_unless_it_may_be_absent(source: str) -> None:
    assert f"has no {source}" in refusal(fact(source), made())
    assert read(fact(source, required=False), made()) is None
    assert read(fact("subject.serialNumber", "no", required=False), made()) is None


def test_several_values_make_no_fact_unless_the_pattern_picks_one() -> None:
    units = [(NameOID.ORGANIZATIONAL_UNIT_NAME, text) for text in ("line 1", "rack 7", "rack 7")]
    certificate = made(subject=units)
    assert "has several values ('line 1' or 'rack 7')" in refusal(fact("subject.OU"), certificate)
    assert read(fact("subject.OU", "rack (.*)"), certificate) == "7"
    assert refusal(fact("subject.OU", required=False), certificate)


@pytest.mark.parametrize("value", ["bell\u0007", "\u202eabc"])
def test_value_that_cannot_be_printed_is_no_fact(value: str) -> None:
    text = refusal(fact("subject.O"), made(subject=[(NameOID.ORGANIZATION_NAME, value)]))
    assert "printable" in text
    assert text.isprintable()


def test_group_that_is_empty_is_no_fact() -> None:
    assert "1 to 255 printable" in refusal(fact("subject.serialNumber", "SN:.*?(x?)"), made())


def test_serial_number_of_hardware_that_is_no_text_is_hexadecimal() -> None:
    certificate = made(hardware_module(b"\x00\xff"))
    assert read(fact("san.hardwareModuleName.serial"), certificate) == "#00ff"


def test_extension_that_holds_no_text_is_not_there() -> None:
    for value in (der.tlv(der.OCTET_STRING, b"abc"), b"\x0c\x05abc", der.tlv(der.UTF8_STRING, b"\xff"), b""):
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(VENDOR_OID), value)
        assert read(fact(f"extension.{VENDOR_OID}", required=False), made(extensions=[extension])) is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("subject.commonName", "write CN"),
        ("subject.serialnumber", "did you mean 'serialNumber'?"),
        ("subject", "is no attribute of a subject"),
        ("san.dnsName", "did you mean 'san.dns'?"),
        ("san.hardwareModuleName", "san.hardwareModuleName"),
        ("extension.abc", "extension.OID"),
        ("serial.x", "did you mean 'serial'?"),
        ("", "write subject.ATTRIBUTE"),
    ],
)
def test_place_that_no_certificate_has_is_told_with_what_is_right(source: str, words: str) -> None:
    with pytest.raises(Misfit) as caught:
        read_source(source)
    assert words in str(caught.value)


def test_pattern_with_two_groups_is_refused() -> None:
    with pytest.raises(Misfit, match="has 2 groups"):
        read_fact_pattern("(a)(b)")


# -- require --


def asked(**parts: object) -> AskedOfCertificate:
    return AskedOfCertificate(**parts)  # type: ignore[arg-type]  # fields of it


def issuer(**regexes: str) -> AskedOfCertificate:
    return asked(issuer=tuple((read_attribute(name), compile_regex(text)) for name, text in regexes.items()))


def test_issuer_is_asked_by_all_of_its_attributes() -> None:
    certificate = made()
    check_asked(issuer(CN="ACME Devices IDevID CA [0-9]+"), certificate)
    for wrong in (issuer(CN="IDevID CA"), issuer(CN=".*", O=".*")):
        with pytest.raises(NotAsAsked, match="must come from an issuer whose") as caught:
            check_asked(wrong, certificate)
        assert caught.value.key.startswith("require.issuer.")
    two = made(issuer=[(NameOID.COMMON_NAME, "ACME Devices IDevID CA 7"), (NameOID.COMMON_NAME, "other")])
    with pytest.raises(NotAsAsked):
        check_asked(issuer(CN="ACME Devices IDevID CA [0-9]+"), two)


def test_required_extended_key_usage_must_be_there() -> None:
    wanted = asked(extended_key_usage=frozenset({"1.3.6.1.5.5.7.3.2"}))
    check_asked(wanted, made(extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])]))
    for extensions in ([], [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])]):
        with pytest.raises(NotAsAsked, match=r"an extended key usage of 1\.3\.6\.1\.5\.5\.7\.3\.2"):
            check_asked(wanted, made(extensions=extensions))


def test_required_certificate_policy_must_be_there() -> None:
    wanted = asked(policies=frozenset({"1.2.3.4"}))

    def policies(*oids: str) -> list[x509.ExtensionType]:
        given = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids]
        return [x509.CertificatePolicies(given)]

    check_asked(wanted, made(extensions=policies("1.2.3", "1.2.3.4")))
    for extensions in ([], policies("2.5.29.32.0", "1.2.3.4.5")):
        with pytest.raises(NotAsAsked, match="under the policy"):
            check_asked(wanted, made(extensions=extensions))
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.32"), b"\x30\x05\x00")
    with pytest.raises(NotAsAsked):
        check_asked(wanted, made(extensions=[broken]))
