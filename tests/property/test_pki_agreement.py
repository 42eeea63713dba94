"""Our readers against ``cryptography``'s view of the same CSRs and certificates, for every kind of key."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model.names import DistinguishedName, GeneralName, NameKind
from gateway.pki.certificate import KEY_USAGE_BITS, parse_certificate
from gateway.pki.csr import parse_csr, verify_possession
from gateway.pki.names import (
    decode_general_names,
    decode_name,
    encode_general_names,
    encode_name,
    names_match,
    san_sets_match,
)
from tests.support import pki

KINDS = (
    *("P-256", "P-384", "P-521", "RSA-2048", "Ed25519", "Ed448"),
    *("ML-DSA-44", "ML-DSA-65", "ML-DSA-87"),
)
TEXT_OIDS = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.TITLE)
CRYPTOGRAPHY_BITS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)

kinds = st.sampled_from(KINDS)
# cryptography counts octets where RFC 5280 appendix A.1 counts characters.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40).filter(
    lambda text: len(text.encode()) <= 64
)
attributes = st.one_of(
    st.builds(x509.NameAttribute, st.sampled_from(TEXT_OIDS), texts),
    st.builds(
        x509.NameAttribute, st.just(NameOID.COUNTRY_NAME), st.text("ABCDEFGHXYZ", min_size=2, max_size=2)
    ),
    st.builds(
        x509.NameAttribute, st.just(NameOID.DOMAIN_COMPONENT), st.text("abcxyz-019", min_size=1, max_size=20)
    ),
)
rdns = st.builds(
    x509.RelativeDistinguishedName,
    st.lists(attributes, min_size=1, max_size=3, unique_by=lambda attribute: attribute.oid),
)
x509_names = st.builds(x509.Name, st.lists(rdns, max_size=5))
labels = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?", fullmatch=True)
hosts = st.lists(labels, min_size=1, max_size=3).map(lambda parts: ".".join([*parts, "test"]))
sans = st.one_of(
    hosts.map(x509.DNSName),
    hosts.map(lambda host: x509.DNSName("*." + host)),
    st.ip_addresses(v=4).map(x509.IPAddress),
    st.ip_addresses(v=6).map(x509.IPAddress),
    hosts.map(lambda host: x509.RFC822Name("anna@" + host)),
    hosts.map(lambda host: x509.UniformResourceIdentifier(f"https://{host}/x")),
    x509_names.map(x509.DirectoryName),
    st.just(x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4"))),
    st.binary(max_size=5).map(
        lambda octets: x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), pki.tlv(0x04, octets))
    ),
)
san_lists = st.lists(sans, min_size=1, max_size=6)
bits = st.sets(st.sampled_from(CRYPTOGRAPHY_BITS), min_size=1)
usages = st.lists(
    st.sampled_from([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
    min_size=1,
    unique=True,
)
challenges = st.none() | st.binary(max_size=30)
moments = st.datetimes(datetime(1950, 1, 1), datetime(9000, 1, 1)).map(lambda at: at.replace(microsecond=0))  # noqa: DTZ001


def rows(name: x509.Name) -> list[list[tuple[str, str]]]:
    return [sorted((a.oid.dotted_string, str(a.value)) for a in rdn) for rdn in name.rdns]


def our_rows(name: DistinguishedName) -> list[list[tuple[str, str]]]:
    return [sorted((a.oid, a.value) for a in rdn) for rdn in name.rdns]


def compared(name: x509.GeneralName) -> tuple[NameKind, object]:
    """What our value must be, from theirs."""
    match name:
        case x509.DNSName():
            return NameKind.DNS, name.value.lower()
        case x509.IPAddress():
            address = ipaddress.ip_address(str(name.value))
            mapped = getattr(address, "ipv4_mapped", None)
            return NameKind.IP, str(mapped or address)
        case x509.RFC822Name():
            return NameKind.EMAIL, name.value
        case x509.UniformResourceIdentifier():
            return NameKind.URI, name.value
        case x509.RegisteredID():
            return NameKind.REGISTERED_ID, name.value.dotted_string
        case x509.OtherName():
            return NameKind.OTHER, name.type_id.dotted_string
        case x509.DirectoryName():
            return NameKind.DIRECTORY, str(decode_name(name.value.public_bytes()))
    raise AssertionError(name)


def ours(names: tuple[GeneralName, ...]) -> list[tuple[NameKind, object]]:
    return [(name.kind, name.value) for name in names]


def signing_hash(private_key: pki.PrivateKey) -> hashes.SHA256 | None:
    with_hash = isinstance(private_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return hashes.SHA256() if with_hash else None


@settings(deadline=None, max_examples=60)
@given(
    kind=kinds, subject=x509_names, names=san_lists, usage=bits, challenge=st.none() | st.binary(max_size=30)
)
def test_csr_is_read_as_cryptography_reads_it(
    kind: str, subject: x509.Name, names: list[x509.GeneralName], usage: set[str], challenge: bytes | None
) -> None:
    private_key = pki.shared_key(kind)
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(pki.key_usage(*usage), critical=True)
    )
    if challenge is not None:
        oid = x509.ObjectIdentifier(pki.CHALLENGE_PASSWORD)
        builder = builder.add_attribute(oid, challenge.hex().encode())
    theirs = builder.sign(private_key, signing_hash(private_key))
    parsed = parse_csr(theirs.public_bytes(Encoding.DER))
    assert our_rows(parsed.subject) == rows(theirs.subject)
    assert ours(parsed.identity.sans) == [compared(name) for name in names]
    (key_usage,) = parsed.identity.extensions
    assert (key_usage.oid, key_usage.critical) == ("2.5.29.15", True)
    assert key_usage.value_der == pki.key_usage(*usage).public_bytes()
    assert parsed.public_key.spki_der == pki.spki_der(private_key)
    assert parsed.challenge_password == (None if challenge is None else challenge.hex().encode())
    assert parsed.signed_der == theirs.tbs_certrequest_bytes
    assert parsed.signature == theirs.signature
    assert verify_possession(parsed).public_key == parsed.public_key


@settings(deadline=None, max_examples=60)
@given(
    kind=kinds,
    subject=x509_names,
    issuer=x509_names,
    serial=st.integers(1, 2**159 - 1),
    times=st.tuples(moments, moments).map(sorted),
    names=st.none() | san_lists,
    usage=st.none() | bits,
    extended=st.none() | usages,
    is_ca=st.none() | st.booleans(),
)
def test_certificate_is_read_as_cryptography_reads_it(
    kind: str,
    subject: x509.Name,
    issuer: x509.Name,
    serial: int,
    times: list[datetime],
    names: list[x509.GeneralName] | None,
    usage: set[str] | None,
    extended: list[x509.ObjectIdentifier] | None,
    is_ca: bool | None,
) -> None:
    private_key = pki.shared_key(kind)
    public_key = private_key.public_key()
    subject_identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(serial)
        .public_key(public_key)
        .not_valid_before(times[0])
        .not_valid_after(times[1] + timedelta(days=1))
        .add_extension(subject_identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key), critical=False)
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not subject.rdns)
    if usage is not None:
        builder = builder.add_extension(pki.key_usage(*usage), critical=True)
    if extended is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    if is_ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(is_ca, 3 if is_ca else None), critical=True)
    theirs = builder.sign(private_key, signing_hash(private_key))
    parsed = parse_certificate(theirs.public_bytes(Encoding.DER))
    assert parsed.sha256 == theirs.fingerprint(hashes.SHA256()).hex()
    assert (our_rows(parsed.subject), our_rows(parsed.issuer)) == (rows(theirs.subject), rows(theirs.issuer))
    assert (parsed.subject_der, parsed.issuer_der) == (subject.public_bytes(), issuer.public_bytes())
    assert parsed.serial == theirs.serial_number
    assert parsed.not_before == theirs.not_valid_before_utc.astimezone(UTC)
    assert parsed.not_after == theirs.not_valid_after_utc
    assert parsed.spki_der == pki.spki_der(private_key)
    assert ours(parsed.sans) == [compared(name) for name in names or ()]
    expected = zip(KEY_USAGE_BITS, CRYPTOGRAPHY_BITS, strict=False)
    assert parsed.key_usage == tuple(bit for bit, theirs_bit in expected if theirs_bit in (usage or ()))
    assert parsed.extended_key_usage == tuple(oid.dotted_string for oid in extended or ())
    assert parsed.is_ca is bool(is_ca)
    assert parsed.subject_key_identifier == parsed.authority_key_identifier == subject_identifier.digest
    assert [(e.oid, e.critical, e.value_der) for e in parsed.extensions] == [
        (e.oid.dotted_string, e.critical, e.value.public_bytes()) for e in theirs.extensions
    ]


@settings(deadline=None, max_examples=200)
@given(name=x509_names)
def test_distinguished_name_survives_decoding_and_encoding(name: x509.Name) -> None:
    decoded = decode_name(name.public_bytes())
    assert encode_name(decoded) == name.public_bytes()
    assert names_match(decoded, decode_name(name.public_bytes()))


@settings(deadline=None, max_examples=200)
@given(names=san_lists, order=st.randoms(use_true_random=False))
def test_general_names_survive_decoding_and_encoding(names: list[x509.GeneralName], order: object) -> None:
    decoded = decode_general_names(x509.SubjectAlternativeName(names).public_bytes())
    again = decode_general_names(encode_general_names(decoded))
    assert again == decoded
    shuffled = list(decoded)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert san_sets_match(decoded, shuffled)
