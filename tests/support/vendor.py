"""A maker of devices and the IDevID certificates in them (IEEE 802.1AR): without end, below CAs that end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.support import pki

FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280 section 4.1.2.5
HARDWARE_TYPE = "1.3.6.1.4.1.55555.7"
_HARDWARE_MODULE_NAME = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4")
_DAY = timedelta(days=1)


def hardware_module(serial: bytes, hw_type: str = HARDWARE_TYPE) -> x509.OtherName:
    """HardwareModuleName of RFC 4108 section 5."""
    value = pki.tlv(0x30, pki.oid(hw_type), pki.tlv(0x04, serial))
    return x509.OtherName(_HARDWARE_MODULE_NAME, value)


@dataclass(slots=True)
class Maker:
    """A root and a line that ended yesterday, as those of old devices do."""

    root: pki.Authority = field(default_factory=lambda: pki.Authority("ACME Devices Root"))
    line_key: pki.PrivateKey = field(default_factory=pki.key)

    def line(self, cn: str = "ACME Devices IDevID CA 7", *, ends: timedelta = -_DAY) -> x509.Certificate:
        """The certificate of a CA below the root; all lines have the same key."""
        now = datetime.now(UTC)
        public_key = self.line_key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(pki.name(cn))
            .issuer_name(self.root.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 20 * _DAY)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(pki.key_usage("key_cert_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .sign(self.root.private_key, hashes.SHA256())
        )

    def device(
        self, serial: str, *, line: x509.Certificate | None = None, module: bytes | None = b"GW200-0017"
    ) -> pki.Identity:
        """A device with ``SN:SERIAL`` in its subject, made ten days ago; it sends its line along."""
        line = line or self.line()
        private_key = pki.key()
        parts = [
            x509.NameAttribute(NameOID.SERIAL_NUMBER, f"SN:{serial}"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ACME Devices"),
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(parts))
            .issuer_name(line.subject)
            .public_key(private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - 10 * _DAY)
            .not_valid_after(FOREVER)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.line_key.public_key()),
                critical=False,
            )
        )
        if module is not None:
            names = x509.SubjectAlternativeName([hardware_module(module)])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.line_key, hashes.SHA256())
        assert b"99991231235959Z" in certificate.public_bytes(Encoding.DER)
        return pki.Identity(certificate, private_key, (line,))
