"""A SCEP client for tests (RFC 8894): requests by ``scep_wire``, CertReps by ``scep_answer``.

Nothing of the gateway's codec is used, so that it is never judged by itself. Whatever a test does not ask for
follows the standard.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from cryptography import x509

from tests.support import keys
from tests.support.authority import Identity
from tests.support.raw_csr import tlv
from tests.support.scep_answer import CertRep, certs_only, issued, read_cert_rep
from tests.support.scep_wire import PkiMessage, envelope, self_signed

PKCS_REQ, RENEWAL_REQ, CERT_POLL, GET_CERT, GET_CRL = "19", "17", "20", "21", "22"
PKI_MESSAGE = "application/x-pki-message"
_serial = itertools.count(1)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One response, with header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


@dataclass(slots=True)
class ScepServer:
    """One endpoint by its URL, over a connection that is kept. ``source`` is the client's own address."""

    url: str
    source: str = "127.0.0.1"
    responders: tuple[x509.Certificate, ...] = ()
    _connection: http.client.HTTPConnection | None = None

    # -- HTTP --

    def request(
        self,
        method: str,
        query: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        path: str | None = None,
    ) -> HttpAnswer:
        """One exchange; the query goes out exactly as it stands here."""
        kept = self._connection is not None
        try:
            return self._exchange(method, query, body, headers or {}, path)
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            self.close()
            if not kept:
                raise
            return self._exchange(method, query, body, headers or {}, path)  # it had been idle for too long
        except BaseException:
            self.close()
            raise

    def _exchange(
        self, method: str, query: str, body: bytes | None, headers: dict[str, str], path: str | None
    ) -> HttpAnswer:
        split = urlsplit(self.url)
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                split.hostname or "", split.port or 80, timeout=90, source_address=(self.source, 0)
            )
        connection = self._connection
        target = (path or split.path) + (f"?{query}" if query else "")
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        answer = HttpAnswer(response.status, found, response.read())
        if response.will_close:
            self.close()
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, query: str, **more: Any) -> HttpAnswer:
        return self.request("GET", query, **more)

    def post(self, octets: bytes, **more: Any) -> HttpAnswer:
        return self.request("POST", "operation=PKIOperation", octets, **more)

    def get_message(self, octets: bytes) -> HttpAnswer:
        """PKIOperation by GET, percent-encoded as RFC 8894 section 4.1 has it."""
        return self.get("operation=PKIOperation&message=" + quote(base64.b64encode(octets), safe=""))

    # -- SCEP --

    def capabilities(self) -> list[str]:
        answer = self.get("operation=GetCACaps")
        assert answer.status == 200, answer.text
        return answer.text.splitlines()

    def ca_certificates(self) -> list[x509.Certificate]:
        """What GetCACert gives, in its order: RA first."""
        answer = self.get("operation=GetCACert")
        assert answer.status == 200, answer.text
        if answer.content_type == "application/x-x509-ca-cert":
            return [x509.load_der_x509_certificate(answer.body)]
        assert answer.content_type == "application/x-x509-ca-ra-cert"
        return certs_only(answer.body)

    def learned(self) -> ScepServer:
        """Itself, with the certificates that CertReps may be signed by."""
        if not self.responders:
            self.responders = tuple(self.ca_certificates())
        return self

    @property
    def ra(self) -> x509.Certificate:
        """The certificate to encrypt to."""
        return self.learned().responders[0]

    def reply(self, answer: HttpAnswer, opener: Identity | None = None) -> CertRep:
        assert answer.status == 200, f"{answer.status}: {answer.text}"
        assert answer.content_type == PKI_MESSAGE
        return read_cert_rep(answer.body, self.learned().responders, opener)


@dataclass(slots=True)
class Device:
    """A client with one key, which signs with ``signer``: self-signed at first (RFC 8894 section 2.3)."""

    server: ScepServer
    private_key: keys.PrivateKey
    cn: str = ""
    transaction_id: str = field(default_factory=lambda: secrets.token_hex(16))
    signer: Identity = field(init=False)

    def __post_init__(self) -> None:
        self.cn = self.cn or f"scep-{next(_serial)}.test"
        self.signer = self_signed(self.private_key, self.cn)

    def signing_with(self, identity: Identity, *, transaction_id: str | None = None) -> Device:
        """The same device with another certificate and key; a new transactionID unless one is given."""
        other = Device(self.server, identity.private_key, self.cn)
        other.transaction_id = transaction_id or other.transaction_id
        other.signer = identity
        return other

    def csr(self, challenge: str | None, **more: Any) -> bytes:
        parts: dict[str, Any] = {"cn": self.cn, "sans": [self.cn], **more}
        private_key = parts.pop("private_key", self.private_key)
        octets = None if challenge is None else challenge.encode()
        return keys.csr(private_key, challenge=octets, **parts)

    def message(
        self,
        payload: bytes,
        message_type: str | None = PKCS_REQ,
        *,
        cipher: str = "aes-128-cbc",
        enveloping: dict[str, Any] | None = None,
        **parts: Any,
    ) -> PkiMessage:
        """A pkiMessage around the payload; ``parts`` are those of PkiMessage, ``enveloping`` of envelope."""
        content = envelope(payload, [self.server.ra], cipher=cipher, **(enveloping or {}))
        known: dict[str, Any] = {"transaction_id": self.transaction_id, "message_type": message_type}
        return PkiMessage(self.signer, **{"content": content, **known, **parts})

    def send(self, message: PkiMessage) -> CertRep:
        """POST it; the CertRep must belong to it."""
        reply = self.server.reply(self.server.post(message.build()), self.signer)
        assert reply.recipient_nonce == message.sender_nonce
        if message.transaction_id is not None:
            assert reply.transaction_id == message.transaction_id.encode()
        return reply

    def enrol(self, challenge: str | None, message_type: str = PKCS_REQ, **parts: Any) -> CertRep:
        """Ask for a certificate for its own key and name."""
        return self.send(self.message(self.csr(challenge), message_type, **parts))

    def enrolled(self, challenge: str | None, **parts: Any) -> Device:
        """Itself with the certificate that it got, in a new transaction."""
        return self.signing_with(Identity(issued(self.enrol(challenge, **parts)), self.private_key))

    def poll(self, issuer: x509.Name | None = None, subject: x509.Name | None = None) -> CertRep:
        return self.send(self.message(self.issuer_and_subject(issuer, subject), CERT_POLL))

    def issuer_and_subject(self, issuer: x509.Name | None = None, subject: x509.Name | None = None) -> bytes:
        ca = self.server.learned().responders[1]
        own = subject if subject is not None else keys.name(self.cn)
        return tlv(0x30, (issuer if issuer is not None else ca.subject).public_bytes(), own.public_bytes())


def issuer_and_serial(issuer: x509.Name, serial: int) -> bytes:
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return tlv(0x30, issuer.public_bytes(), tlv(0x02, octets))
