"""``gateway.scep.message``: pkiMessages to an RA of the tests, opened and answered."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from gateway.errors import MalformedMessage
from gateway.frontend import MessageIdentity
from gateway.pki.cms_enveloped import CIPHERS
from gateway.pki.keyfile import FileSigner
from gateway.scep.message import (
    MessageRules,
    addressed_identity,
    open_pki_message,
    read_csr,
    read_issuer_and_serial,
    read_pki_message,
)
from gateway.scep.reply import Failure, can_be_answered, write_reply

_VECTORS = Path(__file__).resolve().parents[1] / "tests" / "unit" / "scep" / "vectors"
RULES = MessageRules(("sha256", "sha1", "sha384", "sha512"), tuple(CIPHERS))


def _identity() -> MessageIdentity:
    certificate = x509.load_pem_x509_certificate((_VECTORS / "ra.pem").read_bytes())
    key = serialization.load_pem_private_key((_VECTORS / "ra.key.pem").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return MessageIdentity(certificate.public_bytes(serialization.Encoding.DER), (), FileSigner(key, "fuzz"))


IDENTITY = _identity()


def one_input(octets: bytes) -> None:
    with suppress(MalformedMessage):
        message = read_pki_message(octets)
        can_be_answered(message)
        try:
            request = open_pki_message(message, [IDENTITY], RULES)
        except MalformedMessage as fault:
            # Whatever was read can be refused in a CertRep
            identity = addressed_identity(message, [IDENTITY])
            read_back = write_reply(message, identity, Failure(2, str(fault)), RULES)
            assert read_back[0] == 0x30
            return
        with suppress(MalformedMessage):
            read_issuer_and_serial(request)
        read_csr(request, RULES)
