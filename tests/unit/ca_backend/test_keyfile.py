"""Key files: what is written, what is read, what is refused; judged by OpenSSL's command line."""

from __future__ import annotations

import pickle
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from gateway.errors import ConfigurationError, Conflict, MalformedMessage, SecretUnavailable
from gateway.model.evidence import SecretBytes
from gateway.pki.keyfile import (
    KeyKind,
    create_key,
    load_signer,
    new_key,
    private_key_for_tls,
    signer_from_pem,
    signer_of,
)
from gateway.pki.keys import load

PASSPHRASE = b"a passphrase"
FAST_KINDS = (KeyKind.RSA_2048, KeyKind.EC_P256, KeyKind.ED25519)
# RSA-4096 takes seconds to make and is RSA-2048 in everything else
KINDS = [kind for kind in KeyKind if kind is not KeyKind.RSA_4096]


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)


def verify(spki_der: bytes, signature: bytes, message: bytes) -> None:
    """By the algorithm that this kind of key signs with. Raises InvalidSignature."""
    public: Any = load(spki_der)
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(public, ec.EllipticCurvePublicKey):
        hash_ = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[public.key_size]
        public.verify(signature, message, ec.ECDSA(hash_))
    else:
        public.verify(signature, message)


@pytest.mark.parametrize("kind", KINDS)
def test_loaded_key_is_the_created_one_and_signs_for_its_algorithm(kind: KeyKind, tmp_path: Path) -> None:
    created = create_key(kind, tmp_path / "key.pem", PASSPHRASE)
    signer = load_signer(tmp_path / "key.pem", PASSPHRASE)
    assert signer.public_key == created.public_key
    verify(signer.public_key.spki_der, signer.sign(b"message"), b"message")


@pytest.mark.parametrize("kind", KINDS)
def test_algorithm_identifier_is_the_one_that_a_certificate_builder_writes(
    kind: KeyKind, tmp_path: Path
) -> None:
    signer = create_key(kind, tmp_path / "key.pem", PASSPHRASE)
    private_key = private_key_for_tls(tmp_path / "key.pem", PASSPHRASE)
    hash_: Any = {"P-256": hashes.SHA256(), "P-384": hashes.SHA384(), "P-521": hashes.SHA512()}.get(
        signer.public_key.curve or "", hashes.SHA256() if kind.startswith("rsa") else None
    )
    csr = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(private_key, hash_)
    encoded = csr.public_bytes(serialization.Encoding.DER)
    assert encoded.count(csr.tbs_certrequest_bytes + signer.algorithm_der + b"\x03") == 1


@pytest.mark.parametrize("kind", [KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.RSA_2048, KeyKind.ED25519])
def test_signing_again_gives_the_same_signature(kind: KeyKind, tmp_path: Path) -> None:
    signer = create_key(kind, tmp_path / "key.pem", PASSPHRASE)
    assert signer.sign(b"message") == signer.sign(b"message")


def test_only_fast_kinds_are_signed_with_in_the_event_loop(tmp_path: Path) -> None:
    slow = {kind: create_key(kind, tmp_path / f"{kind}.pem", PASSPHRASE).slow for kind in KINDS}
    assert [kind for kind in KINDS if not slow[kind]] == list(FAST_KINDS)


def test_file_holds_an_encrypted_key_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    create_key(KeyKind.EC_P256, path, PASSPHRASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["key.pem"]
    shown = openssl("asn1parse", "-in", path).stdout
    assert "PBES2" in shown
    assert "1.3.6.1.4.1.11591.4.11" in shown or "scrypt" in shown
    assert "aes-256-cbc" in shown


def test_openssl_reads_the_file_with_the_passphrase_alone(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    signer = create_key(KeyKind.EC_P256, path, PASSPHRASE)
    right = openssl("pkey", "-in", path, "-passin", f"pass:{PASSPHRASE.decode()}", "-pubout")
    assert right.returncode == 0, right.stderr
    assert load(signer.public_key.spki_der) == serialization.load_pem_public_key(right.stdout.encode())
    assert openssl("pkey", "-in", path, "-passin", "pass:other", "-noout").returncode != 0


def test_two_files_of_the_same_passphrase_differ_in_salt_and_iv(tmp_path: Path) -> None:
    texts = []
    for name in ("a.pem", "b.pem"):
        create_key(KeyKind.ED25519, tmp_path / name, PASSPHRASE)
        shown = openssl("asn1parse", "-in", tmp_path / name).stdout
        texts.append([line for line in shown.splitlines() if "OCTET STRING" in line])
    assert not set(texts[0]) & set(texts[1])


def test_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    create_key(KeyKind.EC_P256, path, PASSPHRASE)
    before = path.read_bytes()
    with pytest.raises(Conflict, match="exists already"):
        create_key(KeyKind.EC_P256, path, PASSPHRASE)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["key.pem"]


def test_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'dsa-1024'.*rsa-3072"):
        create_key("dsa-1024", tmp_path / "key.pem", PASSPHRASE)


def test_key_without_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretUnavailable, match="empty passphrase"):
        create_key(KeyKind.EC_P256, tmp_path / "key.pem", b"")
    assert not list(tmp_path.iterdir())


def test_wrong_passphrase_is_named_as_the_likely_cause(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    create_key(KeyKind.EC_P256, path, PASSPHRASE)
    with pytest.raises(SecretUnavailable, match=f"{path}.*passphrase"):
        load_signer(path, b"another")


def test_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretUnavailable, match=r"key\.pem: the key file is missing"):
        load_signer(tmp_path / "key.pem", PASSPHRASE)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_key_that_others_may_read_is_refused_with_the_command_that_helps(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    create_key(KeyKind.EC_P256, path, PASSPHRASE)
    path.chmod(mode)
    with pytest.raises(SecretUnavailable, match=f"mode {mode:04o}.*chmod 600"):
        load_signer(path, PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"junk", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"])
def test_damaged_key_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(SecretUnavailable, match=r"key\.pem"):
        load_signer(path, PASSPHRASE)


def test_key_in_clear_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.touch(0o600)
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(SecretUnavailable, match="no encrypted PKCS#8 key"):
        load_signer(path, PASSPHRASE)


def test_encrypted_key_of_another_curve_is_refused_with_the_known_kinds(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_bytes(
        ec.generate_private_key(ec.SECP256K1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSPHRASE),
        )
    )
    with pytest.raises(SecretUnavailable, match=r"not supported.*ec-p256"):
        load_signer(path, PASSPHRASE)


def test_rsa_key_decrypts_what_its_public_key_encrypted(tmp_path: Path) -> None:
    signer = create_key(KeyKind.RSA_2048, tmp_path / "key.pem", PASSPHRASE)
    public = load(signer.public_key.spki_der)
    assert isinstance(public, rsa.RSAPublicKey)
    assert signer.decrypt(public.encrypt(b"content key", padding.PKCS1v15())) == b"content key"


def test_wrong_padding_gives_the_same_unrelated_bytes_and_no_error(tmp_path: Path) -> None:
    signer = create_key(KeyKind.RSA_2048, tmp_path / "key.pem", PASSPHRASE)
    public = load(signer.public_key.spki_der)
    assert isinstance(public, rsa.RSAPublicKey)
    # RSA-OAEP of the same key is a valid number with a padding that PKCS#1 v1.5 cannot have
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    ciphertext = public.encrypt(b"content key", oaep)
    first = signer.decrypt(ciphertext)  # RFC 8017 section 7.2.2 note: nothing may be told about the padding
    assert first != b"content key"
    assert signer.decrypt(ciphertext) == first


def test_ciphertext_of_wrong_length_is_malformed(tmp_path: Path) -> None:
    signer = create_key(KeyKind.RSA_2048, tmp_path / "key.pem", PASSPHRASE)
    with pytest.raises(MalformedMessage, match="length"):
        signer.decrypt(b"\x01" * 255)


def test_ec_key_cannot_decrypt(tmp_path: Path) -> None:
    signer = create_key(KeyKind.EC_P256, tmp_path / "key.pem", PASSPHRASE)
    with pytest.raises(ConfigurationError, match="only an RSA key"):
        signer.decrypt(b"\x01" * 256)


def test_signer_shows_neither_key_nor_passphrase_and_is_never_pickled(tmp_path: Path) -> None:
    signer = create_key(KeyKind.EC_P256, tmp_path / "key.pem", PASSPHRASE)
    assert repr(signer) == f"FileSigner(EC P-256, '{tmp_path / 'key.pem'}')"
    with pytest.raises(TypeError):
        pickle.dumps(signer)


@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.EC_P256])
def test_signature_with_a_chosen_hash_is_verified_by_openssl(
    kind: KeyKind, hash_name: str, tmp_path: Path
) -> None:
    """RFC 8894 section 3.5.2: a peer may know no other digest than SHA-1."""
    signer = create_key(kind, tmp_path / "key.pem", PASSPHRASE)
    (tmp_path / "spki").write_bytes(signer.public_key.spki_der)
    (tmp_path / "message").write_bytes(b"message")
    (tmp_path / "signature").write_bytes(signer.sign_with_hash(b"message", hash_name))
    said = openssl(
        *("dgst", f"-{hash_name}", "-verify", tmp_path / "spki", "-keyform", "DER"),
        *("-signature", tmp_path / "signature", tmp_path / "message"),
    )
    assert said.stdout.strip() == "Verified OK", said


@pytest.mark.parametrize(("kind", "hash_name"), [(KeyKind.ED25519, "sha256"), (KeyKind.RSA_2048, "md5")])
def test_hash_that_the_key_cannot_sign_with_is_refused(kind: KeyKind, hash_name: str, tmp_path: Path) -> None:
    signer = create_key(kind, tmp_path / "key.pem", PASSPHRASE)
    with pytest.raises(ConfigurationError, match=f"does not sign with {hash_name}"):
        signer.sign_with_hash(b"message", hash_name)


@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.EC_P256, KeyKind.ED25519])
def test_new_key_signs_for_the_public_key_that_it_shows(kind: KeyKind) -> None:
    signer = signer_of(new_key(kind), "the test")
    verify(signer.public_key.spki_der, signer.sign(b"message"), b"message")


def test_bytes_that_are_no_key_are_refused_with_their_origin() -> None:
    with pytest.raises(SecretUnavailable, match="the setting a: holds no private key"):
        signer_of(SecretBytes(b"nothing"), "the setting a")


@pytest.mark.parametrize(
    ("encryption", "passphrase", "said"),
    [
        (serialization.NoEncryption(), b"word", "is not encrypted"),
        (serialization.BestAvailableEncryption(b"word"), None, "is encrypted; say which passphrase opens it"),
        (serialization.BestAvailableEncryption(b"word"), b"other", "or its passphrase is another"),
    ],
)
def test_key_of_an_administrator_with_a_wrong_passphrase_is_refused(
    encryption: serialization.KeySerializationEncryption, passphrase: bytes | None, said: str
) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    with pytest.raises(SecretUnavailable, match=f"file:ra.key: .*{said}"):
        signer_from_pem(pem, passphrase, "file:ra.key")
    right = None if isinstance(encryption, serialization.NoEncryption) else b"word"
    assert signer_from_pem(pem, right, "file:ra.key").sign(b"message")
