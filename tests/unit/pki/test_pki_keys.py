"""Public keys: what is described, and what is no key at all."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.errors import MalformedMessage
from gateway.model.keys import KeyType
from gateway.model.reasons import ReasonCode
from gateway.pki.keys import CURVE_OIDS, load, public_key, spki_sha256, subject_key_identifier
from tests.support import pki

P256 = pki.oid("1.2.840.10045.3.1.7")
RSA = pki.tlv(0x30, pki.oid("1.2.840.113549.1.1.1"), b"\x05\x00")


def spki(algorithm: bytes, key_octets: bytes) -> bytes:
    return pki.tlv(0x30, algorithm, pki.tlv(0x03, b"\0", key_octets))


def ec_spki(point: bytes, curve: bytes = P256) -> bytes:
    return spki(pki.tlv(0x30, pki.oid("1.2.840.10045.2.1"), curve), point)


def integer(value: int) -> bytes:
    return pki.tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def rsa_spki(modulus: int, exponent: int) -> bytes:
    return spki(RSA, pki.tlv(0x30, integer(modulus), integer(exponent)))


def modulus(bits: int) -> int:
    return (1 << bits - 1) + 0x1234567 * 2 + 1


def code(spki_der: bytes) -> ReasonCode:
    with pytest.raises(MalformedMessage) as caught:
        public_key(spki_der)
    return caught.value.code


@pytest.mark.parametrize(
    ("kind", "key_type", "size_bits", "text"),
    [
        ("P-256", KeyType.EC, 256, "EC P-256"),
        ("P-384", KeyType.EC, 384, "EC P-384"),
        ("P-521", KeyType.EC, 521, "EC P-521"),
        ("RSA-2048", KeyType.RSA, 2048, "RSA-2048"),
        ("Ed25519", KeyType.ED25519, 0, "ed25519"),
        ("Ed448", KeyType.ED448, 0, "ed448"),
        ("ML-DSA-44", KeyType.ML_DSA_44, 0, "ml-dsa-44"),
        ("ML-DSA-65", KeyType.ML_DSA_65, 0, "ml-dsa-65"),
        ("ML-DSA-87", KeyType.ML_DSA_87, 0, "ml-dsa-87"),
    ],
)
def test_every_supported_key_is_described_and_loaded(
    kind: str, key_type: KeyType, size_bits: int, text: str
) -> None:
    private_key = pki.shared_key(kind)
    spki_der = pki.spki_der(private_key)
    described = public_key(spki_der)
    assert (described.type, described.size_bits, str(described)) == (key_type, size_bits, text)
    assert described.spki_sha256 == hashlib.sha256(spki_der).hexdigest()
    assert described.rsa_exponent == (65537 if key_type is KeyType.RSA else None)
    assert load(spki_der) == private_key.public_key()
    theirs = x509.SubjectKeyIdentifier.from_public_key(private_key.public_key())
    assert subject_key_identifier(spki_der) == theirs.digest


def test_compressed_point_is_a_key() -> None:
    point = pki.shared_key("P-256").public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    assert public_key(ec_spki(point)).curve == "P-256"


@pytest.mark.parametrize("kind", ["P-256", "P-384", "P-521"])
def test_compressed_point_is_the_same_key(kind: str) -> None:
    spki_der = pki.spki_der(pki.shared_key(kind))
    point = pki.shared_key(kind).public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    curve = public_key(spki_der).curve
    compressed = ec_spki(point, pki.oid(CURVE_OIDS[curve or ""]))
    assert public_key(compressed).spki_sha256 == hashlib.sha256(spki_der).hexdigest()
    assert public_key(compressed).spki_der == compressed


def test_rsa_key_without_its_null_is_the_same_key() -> None:
    spki_der = pki.spki_der(pki.shared_key("RSA-2048"))
    numbers = pki.shared_key("RSA-2048").public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    bare = spki(pki.tlv(0x30, pki.oid("1.2.840.113549.1.1.1")), numbers)
    assert public_key(bare).spki_sha256 == hashlib.sha256(spki_der).hexdigest()


def test_key_that_is_none_has_the_hash_of_its_octets() -> None:
    """A certificate is read whatever its key is."""
    for octets in (b"", b"\x30\x00", ec_spki(b"\x02" + b"\xff" * 32), ec_spki(b"", b"")):
        assert spki_sha256(octets) == hashlib.sha256(octets).hexdigest()


def test_key_on_a_curve_without_name_is_described_by_its_oid() -> None:
    private_key = ec.generate_private_key(ec.SECP256K1())
    assert public_key(pki.spki_der(private_key)).curve == "1.3.132.0.10"


def test_unknown_algorithm_is_described_but_not_loaded() -> None:
    spki_der = (
        x25519.X25519PrivateKey.generate()
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    assert (public_key(spki_der).type, public_key(spki_der).algorithm_oid) == (KeyType.OTHER, "1.3.101.110")
    with pytest.raises(MalformedMessage) as caught:
        load(spki_der)
    assert caught.value.code is ReasonCode.KEY_TYPE


@pytest.mark.parametrize(
    ("point", "curve"),
    [
        (b"\x04" + b"\x01" * 64, P256),  # off the curve
        (b"\x02" + b"\xff" * 32, P256),  # x beyond the field
        (b"\x00", P256),  # infinity
        (b"\x06" + b"\x01" * 64, P256),  # hybrid
        (b"\x04" + b"\x01" * 63, P256),
        (b"", P256),
        (b"\x04" + b"\x01" * 64, b""),  # implicit
        (b"\x04" + b"\x01" * 64, b"\x05\x00"),  # implicitCA
        (b"\x04" + b"\x01" * 64, b"\x30\x00"),  # explicit
        (b"\x04" + b"\x01" * 64, pki.oid("1.2.3.4")),
    ],
)
def test_ec_key_without_a_point_on_a_named_curve_is_refused(point: bytes, curve: bytes) -> None:
    assert code(ec_spki(point, curve)) is ReasonCode.KEY_CURVE


@pytest.mark.parametrize("bits", [1, 512, 1023, 8193, 16384])
def test_rsa_key_of_a_size_out_of_bounds_is_refused(bits: int) -> None:
    assert code(rsa_spki(modulus(bits) if bits > 32 else 1, 65537)) is ReasonCode.KEY_SIZE


@pytest.mark.parametrize("exponent", [0, 1, 2, 4, 65536, 2**256 + 1])
def test_rsa_key_with_an_unsafe_exponent_is_refused(exponent: int) -> None:
    assert code(rsa_spki(modulus(2048), exponent)) is ReasonCode.KEY_WEAK


def test_rsa_key_with_an_even_modulus_is_refused() -> None:
    assert code(rsa_spki(modulus(2048) + 1, 65537)) is ReasonCode.KEY_WEAK


def test_negative_rsa_modulus_is_refused() -> None:
    key_octets = pki.tlv(0x30, pki.tlv(0x02, b"\x80" + b"\x01" * 255), integer(65537))
    assert code(spki(RSA, key_octets)) is ReasonCode.KEY_SIZE


def test_rsa_key_of_1024_bits_is_left_to_policy() -> None:
    assert public_key(rsa_spki(modulus(1024), 3)).size_bits == 1024


@pytest.mark.parametrize("octets", [31, 33])
def test_raw_key_of_a_wrong_length_is_refused(octets: int) -> None:
    assert code(spki(pki.tlv(0x30, pki.oid("1.3.101.112")), bytes(octets))) is ReasonCode.KEY_SIZE


def test_raw_key_with_parameters_is_refused() -> None:
    algorithm = pki.tlv(0x30, pki.oid("1.3.101.112"), b"\x05\x00")
    assert code(spki(algorithm, bytes(32))) is ReasonCode.KEY_TYPE


@pytest.mark.parametrize(
    "spki_der",
    [
        b"",
        b"\x30\x00",
        pki.tlv(0x30, RSA),
        pki.tlv(0x30, RSA, b"\x03\x00"),
        pki.tlv(0x30, RSA, b"\x03\x02\x01\x02"),  # unused bits
        pki.tlv(0x30, b"\x30\x00", b"\x03\x02\x00\x02"),
        spki(RSA, b"\x30\x00"),
        spki(RSA, b"\x05\x00"),
        spki(RSA, pki.tlv(0x30, integer(7), integer(7), integer(7))),
        spki(RSA, pki.tlv(0x30, b"\x02\x00", integer(7))),
    ],
)
def test_malformed_key_is_refused(spki_der: bytes) -> None:
    assert code(spki_der) in (ReasonCode.MESSAGE_ASN1, ReasonCode.KEY_SIZE)
