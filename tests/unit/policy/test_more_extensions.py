"""``extensions``: where CRL and status are found, and what else an administrator sets (``other``)."""

from __future__ import annotations

from base64 import b64encode

import pytest
from cryptography import x509

from gateway.model.enrolment import CertificatePlan, Extension
from gateway.policy.extension_values import AUTHORITY_INFO_ACCESS, CRL_DISTRIBUTION_POINTS
from tests.unit.policy.sample import HOUSE, allowed, codes, complaints, decide, load, policy, request

NULL = "BQA="


def planned(extensions: str) -> CertificatePlan:
    plan = allowed(decide(load(policy(extensions=extensions)), request())).plan
    assert plan is not None
    return plan


def only(plan: CertificatePlan) -> Extension:
    (extension,) = plan.extensions
    return extension


def test_backend_writes_where_crl_and_status_are_found_by_default() -> None:
    for text in ("{}", "{cdp: backend, aia: backend}"):
        plan = planned(text)
        assert (plan.extensions, plan.without) == ((), ())


def test_none_leaves_out_what_the_backend_would_write() -> None:
    plan = planned("{cdp: none, aia: none}")
    assert (plan.extensions, plan.without) == ((), (CRL_DISTRIBUTION_POINTS, AUTHORITY_INFO_ACCESS))


@pytest.mark.parametrize("text", ["http://a.test/1.crl", "[http://a.test/1.crl]"])
def test_crl_urls_are_one_distribution_point(text: str) -> None:
    extension = only(planned(f"{{cdp: {text}}}"))
    assert (extension.oid, extension.critical) == (CRL_DISTRIBUTION_POINTS, False)
    expected = x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier("http://a.test/1.crl")], None, None, None)]
    )
    assert extension.value_der == expected.public_bytes()


def test_several_crl_urls_name_the_same_crl() -> None:
    extension = only(planned("{cdp: [http://a.test/1.crl, 'ldap://b.test/cn=ca?certificateRevocationList']}"))
    names = [
        x509.UniformResourceIdentifier(url)
        for url in ("http://a.test/1.crl", "ldap://b.test/cn=ca?certificateRevocationList")
    ]
    points = x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)])
    assert extension.value_der == points.public_bytes()


def test_urls_of_status_and_issuer_are_said_by_method() -> None:
    extension = only(planned("{aia: {ocsp: http://a.test/ocsp, ca_issuers: [http://a.test/ca.cer]}}"))
    methods = x509.oid.AuthorityInformationAccessOID
    expected = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(methods.OCSP, x509.UniformResourceIdentifier("http://a.test/ocsp")),
            x509.AccessDescription(
                methods.CA_ISSUERS, x509.UniformResourceIdentifier("http://a.test/ca.cer")
            ),
        ]
    )
    assert (extension.oid, extension.value_der) == (AUTHORITY_INFO_ACCESS, expected.public_bytes())


def test_other_extension_is_set_as_written() -> None:
    plan = planned(
        f"{{other: [{{oid: '1.2.3.4', value: {NULL}}}, {{oid: '1.2.3.5', critical: true, value: {NULL}}}]}}"
    )
    assert plan.extensions == (
        Extension("1.2.3.4", critical=False, value_der=b"\x05\x00"),
        Extension("1.2.3.5", critical=True, value_der=b"\x05\x00"),
    )


def test_critical_extension_of_the_csr_is_no_fault_where_it_is_set_anyway() -> None:
    asked = (Extension("1.2.3.4", critical=True, value_der=b"\x04\x00"),)
    bundle = load(policy(extensions=f"{{other: {{oid: '1.2.3.4', value: {NULL}}}}}"))
    plan = allowed(decide(bundle, request(extensions=asked))).plan
    assert plan is not None
    assert only(plan).value_der == b"\x05\x00"  # never the CSR's value
    assert len(codes(decide(load(policy()), request(extensions=asked)))) == 1


def other(oid: str, value: str = NULL) -> str:
    return f"{{other: [{{oid: '{oid}', value: '{value}'}}]}}"


MISTAKES = {
    "eku": ("{eku: [serverAuth]}", "'eku' is spelled out here; write extended_key_usage"),
    "basic-constraints": (
        other("2.5.29.19"),
        "other.0.oid: the extension 2.5.29.19 is always CA:FALSE; remove it",
    ),
    "key-usage": (other("2.5.29.15"), "the extension 2.5.29.15 is set by key_usage; write it there"),
    "usages": (other("2.5.29.37"), "the extension 2.5.29.37 is set by extended_key_usage; write it there"),
    "names": (other("2.5.29.17"), "the extension 2.5.29.17 is set by names; write rules there"),
    "subject-key": (other("2.5.29.14"), "the extension 2.5.29.14 is always written by the CA; remove it"),
    "authority-key": (other("2.5.29.35"), "the extension 2.5.29.35 is always written by the CA; remove it"),
    "policies": (other("2.5.29.32"), "the extension 2.5.29.32 is set by policies; write it there"),
    "name-constraints": (other("2.5.29.30"), "2.5.29.30 is for CA certificates only; remove it"),
    "cdp-as-other": (other("2.5.29.31"), "the extension 2.5.29.31 is set by cdp; write it there"),
    "nocheck": (other("1.3.6.1.5.5.7.48.1.5"), "is for OCSP responders only; remove it"),
    "proxy": (other("1.3.6.1.5.5.7.1.14"), "lets whoever has the certificate issue proxy certificates"),
    "no-base64": (other("1.2.3.4", "!!"), "other.0.value: this is not one DER value in base64"),
    "no-der": (
        other("1.2.3.4", b64encode(b"\x04\x05a").decode()),
        "other.0.value: this is not one DER value",
    ),
    "two-values": (other("1.2.3.4", b64encode(b"\x05\x00\x05\x00").decode()), "this is not one DER value"),
    "large": (
        other("1.2.3.4", b64encode(b"\x04\x82\x10\x01" + bytes(4097)).decode()),
        "this is not one DER value in base64, of at most 4096 octets",
    ),
    "twice": (
        f"{{other: [{{oid: '1.2.3.4', value: {NULL}}}, {{oid: '1.2.3.4', value: {NULL}}}]}}",
        "other.1.oid: the extension 1.2.3.4 is set twice; keep one",
    ),
    "no-oid": (other("x"), "other.0.oid: 'x' is no object identifier; write it dotted and in quotes"),
    "no-url": (
        "{cdp: a.crl}",
        "extensions.cdp.0: 'a.crl' is no URL; write one like http://pki.example.com/ca.crl",
    ),
    "ftp": ("{cdp: ['ftp://a.test/a']}", "cdp.0: 'ftp://a.test/a' is no URL"),
    "umlaut": (
        "{cdp: ['http://ä.test/a']}",
        "is no URL; write one like http://pki.example.com/ca.crl, in ASCII",
    ),
    "no-urls": ("{cdp: []}", "extensions.cdp: write backend, none or a list of 1 to 10 URLs"),
    "aia-list": (
        "{aia: [http://a.test]}",
        "extensions.aia: write backend, none or {ocsp: [URL], ca_issuers: [URL]}",
    ),
    "aia-key": (
        "{aia: {oscp: http://a.test}}",
        "extensions.aia.oscp: unknown key 'oscp'; did you mean 'ocsp'?",
    ),
    "aia-url": ("{aia: {ocsp: [http://a.test, x]}}", "extensions.aia.ocsp.1: 'x' is no URL"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_in_extensions_is_told(case: str) -> None:
    extensions, expected = MISTAKES[case]
    (line,) = complaints(HOUSE + policy(extensions=extensions))
    assert expected in line, line
    assert line.startswith("p.yaml:")
