"""A lean SCEP client for load (RFC 8894): PKCSReq and CertPoll as octets of HTTP, CertReps opened.

It writes and reads with the client side of the gateway's own codec, which is fast; what the codec does is
judged elsewhere, by other people's clients.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bench.est_stream import EstStream, only_certificate
from bench.spki import spki_of
from gateway.asn1 import der
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.keyfile import FileSigner
from gateway.scep.client_message import CertReply, ClientIdentity, SentMessage, read_reply, write_request
from gateway.scep.message import MessageRules, MessageType

RULES = MessageRules(("sha256",), ("aes-128-cbc",))
_CHALLENGE_PASSWORD = x509.ObjectIdentifier("1.2.840.113549.1.9.7")
_TARGET = "?operation=PKIOperation"


@dataclass(frozen=True, slots=True)
class ScepServer:
    """Where to send, what for, and the RA's certificate that messages are encrypted to."""

    url: str
    challenge: str
    ra: ParsedCertificate

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    def post(self, message: bytes) -> bytes:
        """A whole POST of a pkiMessage, as octets (section 4.3)."""
        head = (
            f"POST {urlsplit(self.url).path}{_TARGET} HTTP/1.1\r\nHost: {self.host}\r\n"
            "User-Agent: pkigate-load\r\nContent-Type: application/x-pki-message\r\n"
            f"Content-Length: {len(message)}\r\n\r\n"
        )
        return head.encode() + message


@dataclass(frozen=True, slots=True)
class Transaction:
    """One client's enrolment for one key; ``message`` is its PKCSReq."""

    identity: ClientIdentity
    subject_der: bytes
    spki_der: bytes
    message: SentMessage


async def find_server(access: dict[str, Any]) -> ScepServer:
    """The server of ``quickstart.json``; the first certificate of GetCACert is the RA's (section 4.2)."""
    split = urlsplit(access["url"])
    stream = EstStream("localhost", split.port or 80, None)
    await stream.open()
    try:
        head = f"GET {split.path}?operation=GetCACert HTTP/1.1\r\nHost: {split.netloc}\r\n\r\n"
        answer = await stream.exchange(head.encode())
    finally:
        await stream.close()
    ra = parse_certificate(only_certificate(answer.body))
    return ScepServer(access["url"], access["challenge"], ra)


def begin(private_key: rsa.RSAPrivateKey, cn: str, server: ScepServer) -> Transaction:
    """A PKCSReq for ``cn``, also as the one DNS name, signed by a self-signed certificate (section 2.3)."""
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_name(cn))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(cn)]), critical=False)
        .add_attribute(_CHALLENGE_PASSWORD, server.challenge.encode())
        .sign(private_key, hashes.SHA256())
    )
    identity = ClientIdentity(_self_signed(private_key, cn), FileSigner(private_key, cn))
    message = write_request(
        MessageType.PKCS_REQ,
        csr.public_bytes(Encoding.DER),
        secrets.token_hex(16),
        identity=identity,
        recipient=server.ra,
    )
    return Transaction(identity, _name(cn).public_bytes(), spki_of(private_key), message)


def poll(transaction: Transaction, server: ScepServer) -> SentMessage:
    """A CertPoll for a request that waits (section 3.3.3)."""
    return write_request(
        MessageType.CERT_POLL,
        der.tlv(der.SEQUENCE, server.ra.issuer_der + transaction.subject_der),
        transaction.message.transaction_id,
        identity=transaction.identity,
        recipient=server.ra,
    )


def open_reply(
    octets: bytes, sent: SentMessage, identity: ClientIdentity, ra: ParsedCertificate
) -> CertReply:
    """Verify and decrypt a CertRep. Raises MalformedMessage."""
    return read_reply(octets, sent, identity=identity, responders=(ra,), rules=RULES)


def _name(cn: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def _self_signed(private_key: rsa.RSAPrivateKey, cn: str) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(cn))
        .issuer_name(_name(cn))
        .serial_number(x509.random_serial_number())
        .public_key(private_key.public_key())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
    return builder.sign(private_key, hashes.SHA256()).public_bytes(Encoding.DER)
