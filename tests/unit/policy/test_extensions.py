"""Requested extensions: never copied, and refused where silence would mislead."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from gateway.model.decision import Allow, Deny
from gateway.model.enrolment import Extension
from gateway.model.reasons import ReasonCode
from gateway.policy.extension_values import (
    asks_for_ca,
    certificate_policies,
    extended_key_usage_oids,
    key_usage_bits,
    must_staple,
)
from tests.unit.policy.sample import allowed, codes, decide, load, policy, request

USAGES = "{key_usage: [digitalSignature], extended_key_usage: [clientAuth], from_csr: %s}"


def wanted(value: x509.ExtensionType, *, critical: bool = False) -> Extension:
    """As a real CSR holds it, written by another library."""
    return Extension(value.oid.dotted_string, critical, value.public_bytes())


def key_usage(*bits: str) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: name in bits for name in names})


def unknown(*, critical: bool) -> Extension:
    return Extension("1.2.3.4", critical, b"\x05\x00")


CA, OTHER = ReasonCode.EXTENSION_CA, ReasonCode.EXTENSION_NOT_ALLOWED
CASES: dict[str, tuple[Extension, ReasonCode | None, ReasonCode | None]] = {
    # asked for, verdict with from_csr: ignore, with from_csr: deny
    "ca": (wanted(x509.BasicConstraints(ca=True, path_length=None), critical=True), CA, CA),
    "ca-not-critical": (wanted(x509.BasicConstraints(ca=True, path_length=0)), CA, CA),
    "ca-in-ber": (Extension("2.5.29.19", True, bytes.fromhex("3003010101")), CA, CA),
    "no-ca": (wanted(x509.BasicConstraints(ca=False, path_length=None), critical=True), None, None),
    "cert-sign": (wanted(key_usage("digital_signature", "key_cert_sign")), CA, CA),
    "crl-sign": (wanted(key_usage("crl_sign"), critical=True), CA, CA),
    "usage-that-is-set": (wanted(key_usage("digital_signature"), critical=True), None, None),
    "usage-that-is-not": (wanted(key_usage("key_encipherment"), critical=True), None, OTHER),
    "ocsp-signing": (wanted(x509.ExtendedKeyUsage([Usage.OCSP_SIGNING])), OTHER, OTHER),
    "eku-that-is-set": (wanted(x509.ExtendedKeyUsage([Usage.CLIENT_AUTH])), None, None),
    "eku-that-is-not": (wanted(x509.ExtendedKeyUsage([Usage.SERVER_AUTH])), None, OTHER),
    "any-eku": (wanted(x509.ExtendedKeyUsage([Usage.ANY_EXTENDED_KEY_USAGE])), None, OTHER),
    "name-constraints": (
        wanted(x509.NameConstraints([x509.DNSName("test")], None), critical=True),
        CA,
        CA,
    ),
    "unknown": (unknown(critical=False), None, OTHER),
    "unknown-critical": (unknown(critical=True), OTHER, OTHER),
    "subject-key-identifier": (wanted(x509.SubjectKeyIdentifier(b"x" * 20)), None, None),
    "broken-constraints": (Extension("2.5.29.19", True, b"\x04\x00"), OTHER, OTHER),
    "broken-usage": (Extension("2.5.29.15", True, b"\x03\x01"), OTHER, OTHER),
    "broken-eku": (Extension("2.5.29.37", False, bytes.fromhex("3003020101")), OTHER, OTHER),
}


@pytest.mark.parametrize("case", CASES)
def test_requested_extension_is_judged(case: str) -> None:
    extension, *expected = CASES[case]
    for mode, code in zip(("ignore", "deny"), expected, strict=True):
        rules = load(policy(extensions=USAGES % mode))
        decision = decide(rules, request(extensions=(extension,)))
        if code is None:
            plan = allowed(decision).plan
            assert plan is not None
            assert (plan.key_usage, plan.extended_key_usage) == (
                ("digitalSignature",),
                ("1.3.6.1.5.5.7.3.2",),
            )
            assert plan.extensions == ()
        else:
            assert codes(decision) == [code]
            assert isinstance(decision, Deny)
            assert decision.reasons[0].path == "identity.extensions[0]"


def test_what_is_ignored_stands_in_the_trace() -> None:
    asked = request(extensions=(unknown(critical=False), wanted(x509.ExtendedKeyUsage([Usage.SERVER_AUTH]))))
    decision = allowed(decide(load(policy()), asked))
    assert any(
        "not taken from the CSR: 1.2.3.4, extendedKeyUsage serverAuth" in one.message
        for one in decision.trace
    )


STAPLE = wanted(x509.TLSFeature([x509.TLSFeatureType.status_request]))
CRITICAL_STAPLE = wanted(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=True)


@pytest.mark.parametrize(
    ("mode", "asked", "is_set"),
    [
        ("never", (), False),
        ("never", (STAPLE,), False),
        ("if-requested", (), False),
        ("if-requested", (STAPLE,), True),
        ("if-requested", (CRITICAL_STAPLE,), True),
        ("always", (), True),
        ("always", (STAPLE,), True),
    ],
)
def test_must_staple_is_set_by_its_rule(mode: str, asked: tuple[Extension, ...], is_set: bool) -> None:
    rules = load(policy(extensions=f"{{must_staple: {mode}}}"))
    plan = allowed(decide(rules, request(extensions=asked))).plan
    assert plan is not None
    assert plan.extensions == ((STAPLE,) if is_set else ())


def test_critical_staple_that_will_not_be_set_is_refused() -> None:
    rules = load(policy(extensions="{must_staple: never}"))
    assert codes(decide(rules, request(extensions=(CRITICAL_STAPLE,)))) == [OTHER]


def test_many_extensions_are_refused() -> None:
    many = tuple(Extension(f"1.2.3.{index}", False, b"\x05\x00") for index in range(51))
    assert codes(decide(load(policy()), request(extensions=many))) == [OTHER]
    assert isinstance(decide(load(policy()), request(extensions=many[:50])), Allow)


def test_values_equal_those_of_another_library() -> None:
    assert must_staple() == STAPLE
    policies = x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in ("1.2.3.4", "2.23.140.1.2.1")]
    )
    assert certificate_policies(("1.2.3.4", "2.23.140.1.2.1")) == wanted(policies)
    assert asks_for_ca(x509.BasicConstraints(ca=True, path_length=3).public_bytes())
    assert not asks_for_ca(x509.BasicConstraints(ca=False, path_length=None).public_bytes())
    assert key_usage_bits(
        key_usage("digital_signature", "key_agreement", "decipher_only").public_bytes()
    ) == (
        "digitalSignature",
        "keyAgreement",
        "decipherOnly",
    )
    both = x509.ExtendedKeyUsage([Usage.CLIENT_AUTH, Usage.OCSP_SIGNING])
    assert extended_key_usage_oids(both.public_bytes()) == ("1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.9")
