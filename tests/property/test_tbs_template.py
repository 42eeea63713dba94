"""The embedded CA's template against `cryptography`'s CertificateBuilder: the same bytes for any plan."""

from __future__ import annotations

import ipaddress
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import AuthorityInformationAccessOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ca_backend.api import CaIssued, IssuanceOrder
from ca_backend.embedded.backend import EmbeddedBackend
from gateway.model.enrolment import CertificatePlan, Extension
from gateway.model.names import (
    ATTRIBUTE_OIDS,
    AttributeTypeAndValue,
    DistinguishedName,
    GeneralName,
    NameKind,
)
from gateway.pki import der
from gateway.pki.keyfile import KeyKind, PrivateKey, private_key_for_tls
from tests.unit.ca_backend import embedded_ca

GENERATORS: dict[str, Any] = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "p-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
}
USAGES = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "encipherOnly": "encipher_only",
    "decipherOnly": "decipher_only",
}
UTF8_ATTRIBUTES = [ATTRIBUTE_OIDS[name] for name in ("CN", "O", "OU", "L", "ST", "title", "UID")]
OPENSSL_3_0_KINDS = tuple(kind for kind in GENERATORS if not kind.startswith("ml-dsa"))
CLOCK = embedded_ca.FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
# All examples are issued by one CA.
_ONE_HOUSE = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


@cache
def public_key(kind: str) -> Any:
    return GENERATORS[kind]().public_key()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ca")


@pytest.fixture(scope="module")
def backend(directory: Path) -> EmbeddedBackend:
    chosen = embedded_ca.options(more={"rsa": KeyKind.RSA_2048, "p384": KeyKind.EC_P384})
    # Lifetimes into 2096, so that plans can end after 2050
    chosen = chosen.model_copy(update={"root_validity_years": 70, "issuing_validity_years": 70})
    return embedded_ca.opened(directory, chosen, embedded_ca.context(directory, at=CLOCK))


# Characters that UTF-8 can carry; a null is refused by every reader of names
# The other builder counts octets where RFC 5280 appendix A.1 counts characters.
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40
).filter(lambda text: len(text.encode()) <= 64)
PRINTABLE = st.text(st.sampled_from("ABCxyz019 '()+,-./:=?"), min_size=1, max_size=20)
ATTRIBUTES = st.one_of(
    st.builds(AttributeTypeAndValue, st.sampled_from(UTF8_ATTRIBUTES), TEXT),
    st.builds(AttributeTypeAndValue, st.sampled_from(UTF8_ATTRIBUTES), PRINTABLE, st.just(19)),
    st.builds(AttributeTypeAndValue, st.just(ATTRIBUTE_OIDS["serialNumber"]), PRINTABLE, st.just(19)),
    st.builds(
        AttributeTypeAndValue,
        st.just(ATTRIBUTE_OIDS["C"]),
        st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), min_size=2, max_size=2),
        st.just(19),
    ),
    st.builds(
        AttributeTypeAndValue,
        st.sampled_from([ATTRIBUTE_OIDS["DC"], ATTRIBUTE_OIDS["emailAddress"]]),
        st.text(st.characters(max_codepoint=126, min_codepoint=33), min_size=1, max_size=20),
        st.just(22),
    ),
)
RDNS = st.lists(ATTRIBUTES, min_size=1, max_size=3, unique_by=lambda attribute: attribute.oid).map(tuple)
SUBJECTS = st.builds(DistinguishedName, st.lists(RDNS, max_size=5).map(tuple))
LABEL = st.text(st.sampled_from("abcxyz019"), min_size=1, max_size=30)


def general_name(kind: NameKind, value: str, tag: int, content: bytes) -> GeneralName:
    return GeneralName(kind, value, der.tlv(tag, content))


SANS = st.one_of(
    LABEL.map(lambda label: general_name(NameKind.DNS, f"{label}.test", 0x82, f"{label}.test".encode())),
    LABEL.map(
        lambda label: general_name(NameKind.EMAIL, f"{label}@a.test", 0x81, f"{label}@a.test".encode())
    ),
    LABEL.map(lambda label: general_name(NameKind.URI, f"urn:{label}", 0x86, f"urn:{label}".encode())),
    st.ip_addresses().map(lambda ip: general_name(NameKind.IP, str(ip), 0x87, ip.packed)),
    LABEL.map(
        lambda label: general_name(
            NameKind.OTHER,
            "1.3.6.1.4.1.311.20.2.3",
            0xA0,
            der.oid("1.3.6.1.4.1.311.20.2.3") + der.tlv(0xA0, der.tlv(der.UTF8_STRING, label.encode())),
        )
    ),
)
EXTENSIONS = st.builds(
    Extension,
    st.integers(1, 1 << 40).map(lambda arc: f"1.3.6.1.4.1.99999.{arc}"),
    st.booleans(),
    st.binary(max_size=300).map(lambda content: der.tlv(der.OCTET_STRING, content)),
)
CDP, AIA = "2.5.29.31", "1.3.6.1.5.5.7.1.1"
MOMENTS = st.integers(-631_152_000, 3_786_912_000).map(  # 1950 to 2089
    lambda epoch_s: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=epoch_s)
)


@st.composite
def plans(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(GENERATORS)) -> CertificatePlan:
    kind = draw(st.sampled_from(kinds))
    subject = draw(SUBJECTS)
    not_before = draw(MOMENTS)
    spki_der = public_key(kind).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    usages = draw(st.lists(st.sampled_from(sorted(USAGES)), unique=True).map(tuple))
    if "keyAgreement" not in usages:  # RFC 5280 section 4.2.1.3: undefined otherwise
        usages = tuple(usage for usage in usages if not usage.endswith("Only"))
    return CertificatePlan(
        subject=subject,
        sans=draw(st.lists(SANS, min_size=0 if subject else 1, max_size=6).map(tuple)),
        spki_der=spki_der,
        not_before=not_before,
        not_after=not_before + timedelta(seconds=draw(st.integers(1, 5 * 366 * 86_400))),
        key_usage=usages,
        extended_key_usage=draw(
            st.lists(
                st.integers(1, 40).map(lambda arc: f"1.3.6.1.5.5.7.3.{arc}"), max_size=3, unique=True
            ).map(tuple)
        ),
        extensions=draw(st.lists(EXTENSIONS, max_size=3, unique_by=lambda each: each.oid).map(tuple)),
        without=draw(st.lists(st.sampled_from([CDP, AIA]), unique=True).map(tuple)),
    )


def built(
    plan: CertificatePlan, serial: int, issuer_der: bytes, ca_name: str, key: PrivateKey
) -> x509.Certificate:
    """The same certificate by `cryptography`, extensions in the template's order."""
    issuer = x509.load_der_x509_certificate(issuer_der)
    subject_key: Any = serialization.load_der_public_key(plan.spki_der)
    address = embedded_ca.urls(ca_name)
    builder = x509.CertificateBuilder(
        issuer.subject, subject_name(plan.subject), subject_key, serial, plan.not_before, plan.not_after
    ).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    if plan.key_usage:
        bits = {field: name in plan.key_usage for name, field in USAGES.items()}
        usage = x509.KeyUsage(**bits, key_cert_sign=False, crl_sign=False)
        builder = builder.add_extension(usage, critical=True)
    if plan.extended_key_usage:
        usages = x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in plan.extended_key_usage])
        builder = builder.add_extension(usages, critical=False)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(address.crl)], None, None, None)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier(identifier, None, None), critical=False)
    if CDP not in plan.without:
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    if AIA not in plan.without:
        access = x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(method, x509.UniformResourceIdentifier(where))
                for method, where in (
                    (AuthorityInformationAccessOID.OCSP, address.ocsp),
                    (AuthorityInformationAccessOID.CA_ISSUERS, address.ca_issuers),
                )
            ]
        )
        builder = builder.add_extension(access, critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_key), critical=False)
    if plan.sans:
        builder = builder.add_extension(alternative_names(plan), critical=not plan.subject)
    for own in plan.extensions:
        oid = x509.ObjectIdentifier(own.oid)
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, own.value_der), own.critical)
    return builder.sign(key, hashes.SHA384() if ca_name.endswith("p384") else hashes.SHA256())


def subject_name(subject: DistinguishedName) -> x509.Name:
    return x509.Name(
        x509.RelativeDistinguishedName(
            x509.NameAttribute(
                x509.ObjectIdentifier(attribute.oid),
                attribute.value,
                _ASN1Type(attribute.tag),
                _validate=False,
            )
            for attribute in rdn
        )
        for rdn in subject.rdns
    )


def alternative_names(plan: CertificatePlan) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = []
    for san in plan.sans:
        match san.kind:
            case NameKind.DNS:
                names.append(x509.DNSName(san.value))
            case NameKind.EMAIL:
                names.append(x509.RFC822Name(san.value))
            case NameKind.URI:
                names.append(x509.UniformResourceIdentifier(san.value))
            case NameKind.IP:
                names.append(x509.IPAddress(ipaddress.ip_address(san.value)))
            case _:
                _, start, end = der.read_tlv(san.der)
                oid_end = der.read_tlv(san.der, start, end)[2]
                _, value_start, value_end = der.read_tlv(san.der, oid_end, end)
                names.append(x509.OtherName(x509.ObjectIdentifier(san.value), san.der[value_start:value_end]))
    return x509.SubjectAlternativeName(names)


async def issued(backend: EmbeddedBackend, plan: CertificatePlan, profile: str) -> CaIssued:
    answer = await backend.issue(IssuanceOrder("order", plan, None, profile))
    assert isinstance(answer, CaIssued), answer
    return answer


@pytest.mark.parametrize("profile", ["issuing", "rsa", "p384"])
@settings(max_examples=150, deadline=None, suppress_health_check=_ONE_HOUSE)
@given(plan=plans())
async def test_template_writes_the_same_bytes_as_another_builder(
    plan: CertificatePlan, profile: str, backend: EmbeddedBackend, directory: Path
) -> None:
    answer = await issued(backend, plan, profile)
    ours = x509.load_der_x509_certificate(answer.certificate_der)
    key = private_key(directory, profile)
    theirs = built(plan, ours.serial_number, answer.chain_der[0], f"embedded-{profile}", key)
    assert ours.tbs_certificate_bytes == theirs.tbs_certificate_bytes
    assert ours.signature_algorithm_oid == theirs.signature_algorithm_oid
    ours.verify_directly_issued_by(x509.load_der_x509_certificate(answer.chain_der[0]))


@cache
def private_key(directory: Path, name: str) -> PrivateKey:
    return private_key_for_tls(directory / "ca" / "embedded" / f"{name}.key.pem", embedded_ca.PASSPHRASE)


@settings(max_examples=10, deadline=None, suppress_health_check=_ONE_HOUSE)
@given(plan=plans(OPENSSL_3_0_KINDS).filter(lambda plan: not any(own.critical for own in plan.extensions)))
async def test_openssl_verifies_certificates_from_the_template(
    plan: CertificatePlan, backend: EmbeddedBackend, directory: Path, tmp_path: Path
) -> None:
    answer = await issued(backend, plan, "issuing")
    leaf = x509.load_der_x509_certificate(answer.certificate_der)
    (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    files = directory / "ca" / "embedded"
    verdict = subprocess.run(
        [
            *("openssl", "verify", "-no_check_time"),
            *("-CAfile", files / "root.pem", "-untrusted", files / "issuing.pem", tmp_path / "leaf.pem"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verdict.returncode == 0, verdict.stderr
