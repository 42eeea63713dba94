"""CAs of the tests, the certificates that they issue, and impostors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.keys import PrivateKey, default_hash, general_name, key, key_pem, name


@dataclass(slots=True)
class Identity:
    """A certificate with its key and what a client sends with it."""

    certificate: x509.Certificate
    private_key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def certificate_der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def chain_pem(self) -> bytes:
        """Leaf first, then what the client sends along."""
        return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (self.certificate, *self.chain))

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.private_key)


@dataclass(slots=True)
class Authority:
    """A CA of the tests, self-signed unless made by ``sub``."""

    cn: str = "Test Root"
    kind: str = "P-256"
    subject: x509.Name | None = None
    private_key: PrivateKey = None
    certificate: x509.Certificate = field(init=False)
    issuer: Authority | None = None

    def __post_init__(self) -> None:
        self.private_key = self.private_key or key(self.kind)
        subject = self.subject if self.subject is not None else name(self.cn)
        signer, issuer_name = (self, subject) if self.issuer is None else (self.issuer, self.issuer.name)
        now = datetime.now(UTC)
        public_key = self.private_key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )
        if self.issuer is not None:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.private_key.public_key()),
                critical=False,
            )
        self.certificate = builder.sign(signer.private_key, default_hash(signer.private_key))

    @property
    def name(self) -> x509.Name:
        return self.certificate.subject

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def sub(self, cn: str) -> Authority:
        return Authority(cn=cn, issuer=self)

    def certify(
        self,
        ca: x509.Certificate,
        *,
        path_length: int | None = None,
        is_ca: bool = True,
        starts: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=365),
        private_key: PrivateKey = None,
        key_identifier: bytes | None = None,
    ) -> x509.Certificate:
        """A cross-certificate: subject and key of another CA, signed by this one; or with what is given."""
        public_key = ca.public_key() if private_key is None else private_key.public_key()
        identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        if key_identifier is not None:
            identifier = x509.SubjectKeyIdentifier(key_identifier)
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(ca.subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length), critical=True)
            .add_extension(_key_usage(key_cert_sign=is_ca, digital_signature=True), critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(_authority_key(self.private_key), critical=False)
        )
        return builder.sign(self.private_key, default_hash(self.private_key))

    def issue(
        self,
        *,
        cn: str = "device-1",
        sans: Sequence[str] = (),
        private_key: PrivateKey = None,
        starts: timedelta = timedelta(hours=-1),
        ends: timedelta = timedelta(days=1),
        extended_key_usage: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        send_chain: bool = True,
    ) -> Identity:
        """A leaf; times count from now. ``extended_key_usage`` None leaves the extension out."""
        private_key = private_key or key()
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(cn))
            .issuer_name(self.name)
            .public_key(private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.private_key.public_key()),
                critical=False,
            )
        )
        if sans:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([general_name(text) for text in sans]), critical=False
            )
        if extended_key_usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(extended_key_usage)), critical=False)
        signed = builder.sign(self.private_key, default_hash(self.private_key))
        chain = (self.certificate,) if send_chain and self.issuer is not None else ()
        return Identity(signed, private_key, chain)


def impostor(real_certificate_der: bytes) -> Authority:
    """A CA with the same name as a real one and another key."""
    return Authority(subject=x509.load_der_x509_certificate(real_certificate_der).subject)


def _authority_key(private_key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(private_key.public_key())


def _key_usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{bit: on.get(bit, False) for bit in names})


def key_usage(*bits: str) -> x509.KeyUsage:
    """``key_usage("key_cert_sign")``"""
    return _key_usage(**dict.fromkeys(bits, True))
