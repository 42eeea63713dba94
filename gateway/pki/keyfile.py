"""Private keys in encrypted files: PKCS#8 with PBES2, scrypt and AES-256-CBC (RFC 5958, RFC 8018, RFC 7914).

The only module that touches a private key of ours. Does NOT hold keys of clients and does not do PKCS#11.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

from gateway.errors import ConfigurationError, Conflict, MalformedMessage, SecretUnavailable
from gateway.model.evidence import SecretBytes
from gateway.model.keys import PublicKey
from gateway.pki import der
from gateway.pki.keys import public_key

# scrypt's cost: 16 MiB and about 40 ms for each loading; OpenSSL's own limit of 32 MiB admits it (RFC 7914).
_SCRYPT_COST, _SCRYPT_BLOCK, _SCRYPT_PARALLEL = 1 << 14, 8, 1
_PEM_LINE = 64

_PBES2, _SCRYPT, _AES256_CBC = "1.2.840.113549.1.5.13", "1.3.6.1.4.1.11591.4.11", "2.16.840.1.101.3.4.1.42"

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)


class KeyKind(StrEnum):
    """What ``create_key`` can make."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    EC_P521 = "ec-p521"
    ED25519 = "ed25519"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"


_GENERATORS: dict[KeyKind, Callable[[], PrivateKey]] = {
    KeyKind.RSA_2048: lambda: rsa.generate_private_key(65537, 2048),
    KeyKind.RSA_3072: lambda: rsa.generate_private_key(65537, 3072),
    KeyKind.RSA_4096: lambda: rsa.generate_private_key(65537, 4096),
    KeyKind.EC_P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyKind.EC_P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyKind.EC_P521: lambda: ec.generate_private_key(ec.SECP521R1()),
    KeyKind.ED25519: ed25519.Ed25519PrivateKey.generate,
    KeyKind.ML_DSA_44: mldsa.MLDSA44PrivateKey.generate,
    KeyKind.ML_DSA_65: mldsa.MLDSA65PrivateKey.generate,
    KeyKind.ML_DSA_87: mldsa.MLDSA87PrivateKey.generate,
}


class FileSigner:
    """A ``Signer`` (``gateway.pki.signer``) over a key that was read from a file.

    ECDSA is deterministic (RFC 6979), RSA is PKCS#1 v1.5 with SHA-256 and Ed25519 has no choice: signing the
    same bytes again gives the same signature. ML-DSA signatures are hedged and differ each time.
    """

    __slots__ = ("_origin", "_private_key", "_sign", "algorithm_der", "public_key", "slow")

    def __init__(self, private_key: PrivateKey, origin: str) -> None:
        self._private_key = private_key
        self._origin = origin
        self.public_key: PublicKey = public_key(_spki_der(private_key))
        self._sign, self.algorithm_der, self.slow = _signing(private_key)

    def __repr__(self) -> str:
        return f"FileSigner({self.public_key}, {self._origin!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a private key is never pickled")

    def sign(self, message: bytes) -> bytes:
        """Sign the message (not a digest), in the form that X.509 signatureValue holds."""
        return self._sign(message)

    def sign_with_hash(self, message: bytes, hash_name: str) -> bytes:
        """Sign by RSA PKCS#1 v1.5 or ECDSA with this hash: "sha1", "sha256", "sha384" or "sha512".

        Raises ConfigurationError for another hash, and for a key whose algorithm has no such choice.
        """
        hash_ = _HASHES.get(hash_name)
        match self._private_key:
            case rsa.RSAPrivateKey() as key if hash_ is not None:
                return key.sign(message, padding.PKCS1v15(), hash_)
            case ec.EllipticCurvePrivateKey() as key if hash_ is not None:
                return key.sign(message, ec.ECDSA(hash_, deterministic_signing=True))
            case _:
                raise ConfigurationError(
                    f"{self._origin}: a key of the kind {self.public_key} does not sign with {hash_name}"
                )

    def decrypt(self, ciphertext: bytes) -> bytes:
        """RSA PKCS#1 v1.5 decryption with implicit rejection (RFC 8017 section 7.2.2).

        A wrong padding gives random bytes, never an error, so that nothing is told about it. Raises
        MalformedMessage for a wrong length or a number that is no less than the modulus (RFC 8017 section
        5.1.2), which anybody can see; ConfigurationError if this is no RSA key.
        """
        if not isinstance(self._private_key, rsa.RSAPrivateKey):
            raise ConfigurationError(
                f"{self._origin}: this key is {self.public_key}; only an RSA key can decrypt"
            )
        try:
            return self._private_key.decrypt(ciphertext, padding.PKCS1v15())
        except ValueError as error:
            raise MalformedMessage(
                "the encrypted key has another length than the recipient's modulus, or is no less than it"
            ) from error


def create_key(kind: KeyKind | str, path: Path, passphrase: bytes) -> FileSigner:
    """Make a key and write it, encrypted, to ``path`` with mode 0600; durable and whole when this returns.

    Raises Conflict if the file exists (a key is never overwritten), ConfigurationError for an unknown kind.
    """
    private_key = _generator(kind)()
    _write_new(path, _encrypted_pem(private_key, passphrase))
    return FileSigner(private_key, str(path))


def new_key(kind: KeyKind) -> SecretBytes:
    """Make a key that is kept elsewhere than in a file: PKCS#8 as DER, to be sealed at once."""
    return SecretBytes(_plain_der(_generator(kind)()))


def signer_of(key: SecretBytes, origin: str) -> FileSigner:
    """The key that ``new_key`` made, from where its integrity was protected. Raises SecretUnavailable.

    RSA parameters are not checked again, which would take 57 ms: no other bytes open where they were sealed.
    """
    try:
        loaded: Any = serialization.load_der_private_key(
            key.reveal(), None, unsafe_skip_rsa_key_validation=True
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SecretUnavailable(f"{origin}: holds no private key", detail=str(error)) from error
    return FileSigner(_supported(loaded, origin), origin)


def signer_from_pem(key_pem: bytes, passphrase: bytes | None, origin: str) -> FileSigner:
    """A key that an administrator brings, encrypted or not. Raises SecretUnavailable."""
    try:
        loaded: Any = serialization.load_pem_private_key(key_pem, passphrase)
    except TypeError as error:
        wrong = "is encrypted; say which passphrase opens it" if passphrase is None else "is not encrypted"
        raise SecretUnavailable(f"{origin}: the key {wrong}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SecretUnavailable(
            f"{origin}: cannot be read as a private key in PEM; it is damaged, or its passphrase is another",
            detail=str(error),
        ) from error
    return FileSigner(_supported(loaded, origin), origin)


def load_signer(path: Path, passphrase: bytes) -> FileSigner:
    """Read a key file. Raises SecretUnavailable saying what is wrong with file, mode or passphrase."""
    return FileSigner(_load_private_key(path, passphrase), str(path))


def private_key_for_tls(path: Path, passphrase: bytes) -> PrivateKey:
    """The key itself, for OpenSSL's TLS context, which signs on its own. Raises like ``load_signer``."""
    return _load_private_key(path, passphrase)


def _generator(kind: KeyKind | str) -> Callable[[], PrivateKey]:
    try:
        return _GENERATORS[KeyKind(kind)]
    except ValueError as error:
        kinds = ", ".join(KeyKind)
        raise ConfigurationError(f"{kind!r} is no kind of key; one of {kinds} is") from error


def _signing(private_key: PrivateKey) -> tuple[Callable[[bytes], bytes], bytes, bool]:
    """How this key signs, the AlgorithmIdentifier (RFC 4055, 5758, 8410, 9881), and whether it is slow."""
    null = der.tlv(der.NULL, b"")
    match private_key:
        case rsa.RSAPrivateKey():
            scheme, digest = padding.PKCS1v15(), hashes.SHA256()
            identifier = der.sequence(der.oid("1.2.840.113549.1.1.11"), null)  # sha256WithRSAEncryption
            slow = private_key.key_size > _LARGEST_FAST_RSA_BITS
            return lambda message: private_key.sign(message, scheme, digest), identifier, slow
        case ec.EllipticCurvePrivateKey():
            hash_, oid, slow = _ECDSA[private_key.curve.name]
            ecdsa = ec.ECDSA(hash_, deterministic_signing=True)
            return lambda message: private_key.sign(message, ecdsa), der.sequence(der.oid(oid)), slow
        case ed25519.Ed25519PrivateKey():
            return private_key.sign, der.sequence(der.oid("1.3.101.112")), False
        case mldsa.MLDSA44PrivateKey():
            return private_key.sign, der.sequence(der.oid("2.16.840.1.101.3.4.3.17")), True
        case mldsa.MLDSA65PrivateKey():
            return private_key.sign, der.sequence(der.oid("2.16.840.1.101.3.4.3.18")), True
        case mldsa.MLDSA87PrivateKey():
            return private_key.sign, der.sequence(der.oid("2.16.840.1.101.3.4.3.19")), True


# 0.2 to 0.6 ms: switching to a thread and waiting for the interpreter's lock there costs as much.
_LARGEST_FAST_RSA_BITS = 2048
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303  for answers to devices that know nothing better, where allowed
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_ECDSA: dict[str, tuple[hashes.HashAlgorithm, str, bool]] = {
    "secp256r1": (hashes.SHA256(), "1.2.840.10045.4.3.2", False),  # ecdsa-with-SHA256
    "secp384r1": (hashes.SHA384(), "1.2.840.10045.4.3.3", True),  # ecdsa-with-SHA384
    "secp521r1": (hashes.SHA512(), "1.2.840.10045.4.3.4", True),  # ecdsa-with-SHA512
}


def _spki_der(private_key: PrivateKey) -> bytes:
    return private_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _plain_der(private_key: PrivateKey) -> bytes:
    return private_key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _encrypted_pem(private_key: PrivateKey, passphrase: bytes) -> bytes:
    """EncryptedPrivateKeyInfo (RFC 5958 section 3). Written here since `cryptography` offers PBKDF2 only."""
    if not passphrase:
        raise SecretUnavailable("an empty passphrase cannot protect a key")
    plain = _plain_der(private_key)
    salt, iv = secrets.token_bytes(16), secrets.token_bytes(16)
    key = Scrypt(salt, 32, _SCRYPT_COST, _SCRYPT_BLOCK, _SCRYPT_PARALLEL).derive(passphrase)
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    scrypt_parameters = der.sequence(  # RFC 7914 section 7
        der.tlv(der.OCTET_STRING, salt),
        der.integer(_SCRYPT_COST),
        der.integer(_SCRYPT_BLOCK),
        der.integer(_SCRYPT_PARALLEL),
        der.integer(32),
    )
    pbes2 = der.sequence(  # RFC 8018 appendix A.4
        der.sequence(der.oid(_SCRYPT), scrypt_parameters),
        der.sequence(der.oid(_AES256_CBC), der.tlv(der.OCTET_STRING, iv)),
    )
    envelope = der.sequence(
        der.sequence(der.oid(_PBES2), pbes2),
        der.tlv(der.OCTET_STRING, ciphertext),
    )
    text = base64.b64encode(envelope)
    lines = [text[start : start + _PEM_LINE] for start in range(0, len(text), _PEM_LINE)]
    return b"\n".join(
        (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, b"-----END ENCRYPTED PRIVATE KEY-----", b"")
    )


def _load_private_key(path: Path, passphrase: bytes) -> PrivateKey:
    pem = _read_private(path, "the key file")
    if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" not in pem:
        raise SecretUnavailable(f"{path}: holds no encrypted PKCS#8 key in PEM; restore it from the backup")
    try:
        loaded: Any = serialization.load_pem_private_key(pem, passphrase or None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SecretUnavailable(
            f"{path}: the key cannot be decrypted; either the passphrase is not the one that it was "
            f"made with, or the file is damaged",
            detail=str(error),
        ) from error
    return _supported(loaded, str(path))


def _supported(loaded: Any, origin: str) -> PrivateKey:
    supported = isinstance(loaded, PrivateKey)
    if not supported or (isinstance(loaded, ec.EllipticCurvePrivateKey) and loaded.curve.name not in _ECDSA):
        raise SecretUnavailable(
            f"{origin}: keys of this kind are not supported; one of {', '.join(KeyKind)} is"
        )
    return loaded  # type: ignore[no-any-return]  # narrowed by the check above


def _read_private(path: Path, what: str) -> bytes:
    """Read a file that only its owner may see."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & 0o077:
                mode = stat.S_IMODE(status.st_mode)
                raise SecretUnavailable(
                    f"{path}: others may read {what} (mode {mode:04o}); run: chmod 600 {path}"
                )
            return file.read()
    except FileNotFoundError as error:
        raise SecretUnavailable(f"{path}: {what} is missing; restore it from the backup") from error
    except OSError as error:
        raise SecretUnavailable(f"{path}: {what} cannot be read: {error.strerror}") from error


def _write_new(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 that appears whole or not at all. Raises Conflict if it exists."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike rename, a link never replaces what is there
    except FileExistsError as error:
        raise Conflict(f"{path}: exists already and is kept") from error
    finally:
        temporary.unlink()
    fsync_directory(path.parent)


def fsync_directory(directory: Path) -> None:
    """Make a new or renamed entry of a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
