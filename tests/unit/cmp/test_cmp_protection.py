"""Protection of PKIMessages by secret and by signature, read, checked and made (cmp.md C33-C38, C46, C47)."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.asn1 import cmp
from gateway.asn1.cmp import BodyType, PkiHeader, PkiMessage
from gateway.cmp.protection import (
    Draft,
    MacProtection,
    ProtectionKind,
    SignatureProtection,
    mac_is_right,
    protect_with_secret,
    protect_with_signer,
    read_protection,
    signature_is_right,
    unprotected,
)
from gateway.errors import GatewayError, MalformedMessage
from gateway.model.evidence import SecretBytes
from gateway.model.reasons import ReasonCode
from gateway.pki.keyfile import FileSigner
from gateway.pki.mac_keys import MacKeys
from gateway.pki.message_mac import (
    Gmac,
    MacLimits,
    MacParameters,
    Pbmac1Parameters,
    PbmParameters,
    encode_mac_algorithm,
    hmac_with,
    read_mac_algorithm,
)
from tests.support import cmp_pyasn1, cmp_vectors, pki

SECRET = SecretBytes(cmp_vectors.SECRET)
LIMITS = MacLimits()
PBM = PbmParameters(b"s" * 16, "sha256", 500, hmac_with("sha1"))
PBMAC1 = Pbmac1Parameters(b"s" * 16, "sha256", 1000, 32, hmac_with("sha256"))
HEADER = PkiHeader(
    pvno=2,
    sender_der=pki.tlv(0xA4, pki.name("sender").public_bytes()),
    recipient_der=pki.tlv(0xA4, pki.name("recipient").public_bytes()),
    message_time=datetime(2026, 1, 1, tzinfo=UTC),
    sender_kid=b"kid",
    transaction_id=b"t" * 16,
    sender_nonce=b"n" * 16,
)
DRAFT = Draft(HEADER, BodyType.GENM, b"\x30\x00")
SIGNERS = {  # who signed which file
    "device": ("cr-signed-q1", "cr-signed-q2", "kur-signed-q1", "p10cr-signed-q1", "rr-signed-q1"),
    "rsadevice": ("cr-rsa-signed-q1", "cr-rsa-signed-q2"),
    "server": ("cr-signed-s1", "cr-signed-s2", "rr-signed-s1"),
}
MACS = [name for name in cmp_vectors.NAMES if "signed" not in name and "unprotected" not in name]


def message(name: str) -> PkiMessage:
    return cmp.decode_message(cmp_vectors.read(name))


def mac_of(read: PkiMessage) -> MacProtection:
    protection = read_protection(read, LIMITS)
    assert isinstance(protection, MacProtection)
    return protection


def signature_of(read: PkiMessage) -> SignatureProtection:
    protection = read_protection(read, LIMITS)
    assert isinstance(protection, SignatureProtection)
    return protection


@pytest.mark.parametrize("name", MACS)
async def test_mac_by_openssl_is_right_and_wrong_with_another_secret(name: str) -> None:
    """cmp.md C35, D: OpenSSL's defaults are admitted by ours."""
    protection = mac_of(message(name))
    assert protection.kind is ProtectionKind.PBM
    assert await mac_is_right(protection, SECRET, MacKeys())
    assert not await mac_is_right(protection, SecretBytes(b"vector-secreT"), MacKeys())


async def test_each_octet_that_a_mac_protects_counts() -> None:
    octets = cmp_vectors.read("genm-mac-q1")
    keys = MacKeys()
    for position in range(len(octets)):
        changed = octets[:position] + bytes((octets[position] ^ 1,)) + octets[position + 1 :]
        try:
            read = cmp.decode_message(changed)
            protection = read_protection(read, LIMITS)
        except GatewayError:
            continue
        right = isinstance(protection, MacProtection) and await mac_is_right(protection, SECRET, keys)
        # HMAC-SHA1 has two identifiers, and one octet apart there is no other; the count is under the MAC.
        assert not right, f"octet {position} is not protected"


@pytest.mark.parametrize(("signer", "name"), [(s, n) for s, names in SIGNERS.items() for n in names])
def test_signature_by_openssl_is_right_with_the_signers_key_only(signer: str, name: str) -> None:
    """cmp.md C35, C40."""
    read = message(name)
    protection = signature_of(read)
    certificate_der = cmp_vectors.certificate_der(signer)
    assert read.extra_certs[0] == certificate_der
    assert signature_is_right(protection, cmp_vectors.spki_of(certificate_der))
    for other in {"device", "rsadevice", "server"} - {signer}:
        assert not signature_is_right(protection, cmp_vectors.spki_of(cmp_vectors.certificate_der(other)))
    changed = replace(protection, protected_der=protection.protected_der[:-1] + b"\xff")
    assert not signature_is_right(changed, cmp_vectors.spki_of(certificate_der))


def test_message_without_protection_has_none() -> None:
    assert read_protection(message("ir-unprotected-q1"), LIMITS) is None


@pytest.mark.parametrize("drop", ["algorithm", "protection"])
def test_half_a_protection_is_refused(drop: str) -> None:
    """cmp.md C33."""
    read = message("ir-mac-q1")
    if drop == "algorithm":
        read = replace(read, header=replace(read.header, protection_alg_der=None))
    else:
        read = replace(read, protection=None)
    with pytest.raises(GatewayError, match="but not") as caught:
        read_protection(read, LIMITS)
    assert caught.value.code is ReasonCode.MESSAGE_INTEGRITY


@pytest.mark.parametrize(
    ("algorithm_der", "hint"),
    [
        (pki.tlv(0x30, pki.oid("1.2.840.113549.1.1.5"), b"\x05\x00"), "SHA1 is not accepted"),
        (pki.tlv(0x30, pki.oid("1.2.840.113549.1.1.4"), b"\x05\x00"), "MD5 is not accepted"),
        (pki.tlv(0x30, pki.oid("1.2.840.10045.4.1")), "SHA1 is not accepted"),
        (pki.tlv(0x30, pki.oid("1.2.840.113533.7.66.30"), b"\x30\x00"), "66.30 is not supported"),
        (pki.tlv(0x30, pki.oid("1.2.840.113549.2.9")), "is not supported"),
        (pki.tlv(0x30, pki.oid("2.999")), "2.999 is not supported"),
    ],
    ids=["sha1WithRSA", "md5WithRSA", "ecdsa-sha1", "DHBasedMac", "bare HMAC", "unknown"],
)
def test_broken_or_unknown_algorithm_is_refused(algorithm_der: bytes, hint: str) -> None:
    """cmp.md C36."""
    read = message("ir-mac-q1")
    read = replace(read, header=replace(read.header, protection_alg_der=algorithm_der))
    with pytest.raises(GatewayError, match=hint) as caught:
        read_protection(read, LIMITS)
    assert caught.value.code is ReasonCode.MESSAGE_ALGORITHM
    assert caught.value.path == "protectionAlg"


def test_malformed_algorithm_is_refused_as_malformed() -> None:
    read = message("ir-mac-q1")
    for algorithm_der in (b"\x30\x00", pki.tlv(0x30, pki.oid("1.2.840.10045.4.3.2"), b"\x02\x01\x00")):
        changed = replace(read, header=replace(read.header, protection_alg_der=algorithm_der))
        with pytest.raises(MalformedMessage) as caught:
            read_protection(changed, LIMITS)
        assert caught.value.code is ReasonCode.MESSAGE_ASN1
        assert caught.value.path == "protectionAlg"


def test_limits_are_checked_before_any_key_is_derived() -> None:
    """cmp.md C37."""
    with pytest.raises(GatewayError, match="iterationCount of 500; 600 to") as caught:
        read_protection(message("ir-mac-q1"), MacLimits(min_iterations=600))
    assert caught.value.code is ReasonCode.MESSAGE_ALGORITHM


@pytest.mark.parametrize(
    "parameters",
    [PBM, PBMAC1, replace(PBM, mac=Gmac("2.16.840.1.101.3.4.1.9", 16, b"n" * 12))],
    ids=["PBM", "PBMAC1", "PBM with GMAC"],
)
async def test_message_made_with_a_secret_is_right_and_read_by_pyasn1(parameters: MacParameters) -> None:
    """cmp.md C47: the same kind as the request, with a fresh salt."""
    octets = await protect_with_secret(DRAFT, parameters, SECRET, MacKeys())
    cmp_pyasn1.read(octets, cmp_pyasn1.rfc9810.PKIMessage())
    read = cmp.decode_message(octets)
    protection = mac_of(read)
    assert await mac_is_right(protection, SECRET, MacKeys())
    assert type(protection.parameters) is type(parameters)
    assert protection.parameters.salt != parameters.salt
    assert replace(read.header, protection_alg_der=None) == HEADER


async def test_answer_with_the_requests_own_salt_costs_no_derivation() -> None:
    """RFC 9810 section 5.1.3.1 recommends constant parameters within a transaction; a GMAC nonce never."""
    keys = MacKeys()
    request = mac_of(message("ir-mac-q1"))
    assert await mac_is_right(request, SECRET, keys)
    answer = await protect_with_secret(DRAFT, request.parameters, SECRET, keys, fresh_salt=False)
    assert mac_of(cmp.decode_message(answer)).parameters == request.parameters
    assert await mac_is_right(mac_of(cmp.decode_message(answer)), SECRET, keys)
    assert keys.derived_count == 1
    gmac = replace(PBM, mac=Gmac("2.16.840.1.101.3.4.1.9", 16, b"n" * 12))
    answer = await protect_with_secret(DRAFT, gmac, SECRET, keys, fresh_salt=False)
    fresh = mac_of(cmp.decode_message(answer)).parameters
    assert isinstance(fresh.mac, Gmac)
    assert fresh.mac.nonce != b"n" * 12
    assert fresh.salt != gmac.salt


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "RSA-3072", "Ed25519"])
async def test_message_made_with_a_signer_is_right_for_openssl(kind: str, tmp_path: Path) -> None:
    """cmp.md C38, C47; OpenSSL verifies the signature over the protected part."""
    private_key = pki.shared_key(kind)
    signer = FileSigner(private_key, "test")
    octets = await protect_with_signer(
        replace(DRAFT, extra_certs=(cmp_vectors.certificate_der("ca"),)), signer
    )
    read = cmp.decode_message(octets)
    protection = signature_of(read)
    assert read.extra_certs == (cmp_vectors.certificate_der("ca"),)
    assert read.header.protection_alg_der == signer.algorithm_der
    assert signature_is_right(protection, pki.spki_der(private_key))
    public_pem = private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(public_pem)
    (tmp_path / "signed").write_bytes(protection.protected_der)
    (tmp_path / "signature").write_bytes(protection.signature)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "signed"]
    digest = protection.algorithm.hash
    command += ["-sigfile", "signature", *(["-digest", digest] if digest else [])]
    completed = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


async def test_rsa_pss_is_checked_as_openssl_signs_it(tmp_path: Path) -> None:
    """cmp.md C38: OpenSSL 3.0 signs PKIMessages by PKCS#1 v1.5 only, so the octets are signed by pkeyutl."""
    algorithm_der = pki.tlv(
        0x30,
        pki.oid("1.2.840.113549.1.1.10"),
        pki.tlv(
            0x30,
            pki.tlv(0xA0, pki.tlv(0x30, pki.oid("2.16.840.1.101.3.4.2.1"))),
            pki.tlv(
                0xA1,
                pki.tlv(
                    0x30,
                    pki.oid("1.2.840.113549.1.1.8"),
                    pki.tlv(0x30, pki.oid("2.16.840.1.101.3.4.2.1")),
                ),
            ),
            pki.tlv(0xA2, b"\x02\x01\x20"),
        ),
    )
    private_key = pki.shared_key("RSA-2048")
    protected_der = cmp.protected_part(
        replace(HEADER, protection_alg_der=algorithm_der), BodyType.GENM, b"\x30\x00"
    )
    (tmp_path / "key.pem").write_bytes(pki.key_pem(private_key))
    (tmp_path / "signed").write_bytes(protected_der)
    command = [
        "openssl",
        "pkeyutl",
        "-sign",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "signed",
        "-digest",
        "sha256",
    ]
    command += ["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:32"]
    signature = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=120).stdout
    protection = signature_of(cmp.decode_message(cmp.encode_message(protected_der, signature)))
    assert signature_is_right(protection, pki.spki_der(private_key))
    assert not signature_is_right(protection, pki.spki_der(pki.shared_key("P-256")))


def test_signature_is_not_right_for_a_key_that_we_do_not_know() -> None:
    certificate = x509.load_der_x509_certificate(cmp_vectors.certificate_der("device"))
    unknown = pki.tlv(0x30, pki.tlv(0x30, pki.oid("2.999")), b"\x03\x02\x00\x00")
    protection = signature_of(message("cr-signed-q1"))
    assert not signature_is_right(protection, unknown)
    assert certificate.version is x509.Version.v3


def test_unprotected_draft_has_no_algorithm_even_if_its_header_names_one() -> None:
    draft = replace(DRAFT, header=replace(HEADER, protection_alg_der=encode_mac_algorithm(PBM)))
    read = cmp.decode_message(unprotected(draft))
    assert (read.header.protection_alg_der, read.protection) == (None, None)
    assert read.header == HEADER


def test_kinds_are_told_apart() -> None:
    """cmp.md C46."""
    assert mac_of(message("ir-mac-q1")).kind is ProtectionKind.PBM
    assert signature_of(message("cr-signed-q1")).kind is ProtectionKind.SIGNATURE
    assert read_mac_algorithm(encode_mac_algorithm(PBMAC1), LIMITS) == PBMAC1
