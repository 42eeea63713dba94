"""A lean CMP client for load (RFC 9810, 9811): ir, pollReq and certConf under PBM as octets of HTTP.

It writes and reads with the gateway's own codec, which is fast; what the codec does is judged elsewhere, by
other people's clients. Keys for the MAC are derived here. As with OpenSSL's client, every message has a salt
of its own and 500 iterations.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.spki import spki_of
from gateway.asn1 import cmp, der
from gateway.asn1.cmp import BodyType, PkiHeader, PkiMessage
from gateway.asn1.cmp_bodies import (
    CertResponse,
    CertStatus,
    decode_cert_rep,
    encode_cert_confirm,
    encode_poll_req,
)
from gateway.asn1.crmf import CertTemplate, SigningKeyPop
from gateway.asn1.crmf_encode import encode_cert_req_messages, encode_cert_req_msg, encode_cert_request
from gateway.pki.message_mac import (
    Hmac,
    MacLimits,
    PbmParameters,
    encode_mac_algorithm,
    hmac_with,
    read_mac_algorithm,
)

ITERATIONS = 500
_LIMITS = MacLimits()
_CERT_REQ_ID = 0
_PVNO_CMP2000 = 2
_NULL_DN = der.tlv(0xA4, der.sequence())  # GeneralName directoryName
_ECDSA_SHA256 = der.sequence(der.oid("1.2.840.10045.4.3.2"))


class CmpRefused(Exception):
    """An answer that this client cannot go on with; the text says what it is, alike for all of one sort."""


@dataclass(frozen=True, slots=True)
class CmpServer:
    """Where to send, and the reference with its secret that protects all messages."""

    url: str
    reference: bytes
    secret: bytes = field(repr=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    def post(self, message: bytes) -> bytes:
        """A whole POST of a PKIMessage, as octets (RFC 9811 section 3.3)."""
        head = (
            f"POST {urlsplit(self.url).path} HTTP/1.1\r\nHost: {self.host}\r\n"
            "User-Agent: pkigate-load\r\nContent-Type: application/pkixcmp\r\n"
            f"Content-Length: {len(message)}\r\n\r\n"
        )
        return head.encode() + message


@dataclass(frozen=True, slots=True)
class Transaction:
    """One client's enrolment for one P-256 key; ``request`` is its ir. Holds no private key."""

    transaction_id: bytes
    spki_der: bytes
    request: Sent


@dataclass(frozen=True, slots=True)
class Sent:
    """A message with what its answer must repeat."""

    octets: bytes = field(repr=False)
    sender_nonce: bytes


def find_server(access: dict[str, Any]) -> CmpServer:
    """The server of ``quickstart.json``."""
    return CmpServer(access["url"], access["ref"].encode(), access["secret"].encode())


def begin(private_key: ec.EllipticCurvePrivateKey, cn: str, server: CmpServer) -> Transaction:
    """An ir for ``cn``, also as the one DNS name; possession is proved by a signature over the request."""
    extensions = x509.SubjectAlternativeName([x509.DNSName(cn)]).public_bytes()
    san = der.sequence(der.oid("2.5.29.17"), der.tlv(der.OCTET_STRING, extensions))
    spki_der = spki_of(private_key)
    template = CertTemplate(
        subject_der=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)]).public_bytes(),
        public_key_der=spki_der,
        extensions_der=der.sequence(san),
    )
    cert_request_der = encode_cert_request(_CERT_REQ_ID, template)
    proof = SigningKeyPop(_ECDSA_SHA256, private_key.sign(cert_request_der, ec.ECDSA(hashes.SHA256())))
    body_der = encode_cert_req_messages((encode_cert_req_msg(cert_request_der, proof),))
    transaction_id = secrets.token_bytes(16)
    return Transaction(transaction_id, spki_der, _protected(server, transaction_id, BodyType.IR, body_der))


def confirm(
    server: CmpServer, transaction: Transaction, answered: PkiMessage, certificate_der: bytes
) -> Sent:
    """A certConf that accepts the certificate; it is signed with SHA-256, which certHash goes by."""
    body_der = encode_cert_confirm([CertStatus(hashlib.sha256(certificate_der).digest(), _CERT_REQ_ID)])
    nonce = answered.header.sender_nonce
    return _protected(server, transaction.transaction_id, BodyType.CERTCONF, body_der, nonce)


def poll(server: CmpServer, transaction: Transaction, answered: PkiMessage) -> Sent:
    """A pollReq, after an answer that said to wait."""
    body_der = encode_poll_req([_CERT_REQ_ID])
    nonce = answered.header.sender_nonce
    return _protected(server, transaction.transaction_id, BodyType.POLLREQ, body_der, nonce)


def read(octets: bytes, transaction: Transaction, sent: Sent) -> PkiMessage:
    """The answer to a message of this transaction; its MAC is not verified here. Raises CmpRefused and
    MalformedMessage."""
    message = cmp.decode_message(octets)
    header = message.header
    if header.transaction_id != transaction.transaction_id or header.recip_nonce != sent.sender_nonce:
        raise CmpRefused("an answer to another message")
    return message


def response(message: PkiMessage) -> CertResponse:
    """What an ip says about the one request. Raises CmpRefused for another body."""
    if message.body_type is not BodyType.IP:
        raise CmpRefused(f"{message.body_type.rfc_name} instead of ip")
    (found,) = decode_cert_rep(message.body_der).responses
    return found


def check_mac(message: PkiMessage, server: CmpServer) -> None:
    """Raises CmpRefused."""
    parameters = read_mac_algorithm(message.header.protection_alg_der or b"", _LIMITS)
    if not isinstance(parameters, PbmParameters) or message.protection is None:
        raise CmpRefused("an answer that is not protected as the request was")
    if not hmac.compare_digest(_mac(parameters, server.secret, message.protected_der), message.protection):
        raise CmpRefused("an answer with a wrong MAC")


def _protected(
    server: CmpServer,
    transaction_id: bytes,
    body_type: BodyType,
    body_der: bytes,
    recip_nonce: bytes | None = None,
) -> Sent:
    parameters = PbmParameters(secrets.token_bytes(16), "sha256", ITERATIONS, hmac_with("sha256"))
    sender_nonce = secrets.token_bytes(16)
    header = PkiHeader(
        pvno=_PVNO_CMP2000,
        sender_der=_NULL_DN,
        recipient_der=_NULL_DN,
        message_time=datetime.now(UTC),
        protection_alg_der=encode_mac_algorithm(parameters),
        sender_kid=server.reference,
        transaction_id=transaction_id,
        sender_nonce=sender_nonce,
        recip_nonce=recip_nonce,
    )
    protected_der = cmp.protected_part(header, body_type, body_der)
    return Sent(
        cmp.encode_message(protected_der, _mac(parameters, server.secret, protected_der)), sender_nonce
    )


def _mac(parameters: PbmParameters, secret: bytes, protected_der: bytes) -> bytes:
    """RFC 9810 section 5.1.3.1."""
    assert isinstance(parameters.mac, Hmac)
    key = secret + parameters.salt
    for _ in range(parameters.iterations):
        key = hashlib.sha256(key).digest()
    return hmac.digest(key, protected_der, parameters.mac.hash)
