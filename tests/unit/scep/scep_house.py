"""The SCEP front end on the real path: real policy, real SQLite, the embedded CA, and devices."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from gateway.authn.secrets import machine_verifier
from gateway.enrolment.approval import approve
from gateway.enrolment.crl import CrlPublisher
from gateway.enrolment.issued import IssuedCertificates
from gateway.errors import GatewayError
from gateway.frontend import Compatibility, EndpointView, MessageIdentity
from gateway.http.message import HttpRequest, HttpResponse
from gateway.model.evidence import SCEP_CHALLENGE
from gateway.model.ids import EndpointName, ProtocolName
from gateway.pki.certificate import parse_certificate
from gateway.pki.keyfile import FileSigner
from gateway.scep.client_message import CertReply, ClientIdentity, SentMessage, read_reply
from gateway.scep.message import MessageRules
from gateway.scep.plugin import ScepFrontEnd
from gateway.store.credentials import CredentialRow
from gateway.store.store import Store
from tests.support import pki, policies
from tests.support.authority import Identity
from tests.support.scep_wire import PkiMessage, envelope, self_signed
from tests.unit.enrolment.house import SERVER_KEY, ForeignCa, House, SetClock

SCEP = "scep"
CHALLENGE = "the secret of the line"
ALL_DIGESTS = ("sha256", "sha384", "sha512", "sha1")
ALL_CIPHERS = ("aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des-ede3-cbc", "des-cbc")
VENDOR = pki.Authority("Vendor Root")
_RENEWALS: Any = {"operations": ["renew", "rekey"], "keys": {"rsa": {}, "reuse": "allow"}}
_KEYS: Any = {"keys": {"rsa": {}, "reuse": "allow"}}


@functools.cache
def rsa_key(label: str) -> pki.PrivateKey:
    """One RSA-2048 key of this name for the whole test process."""
    return pki.key("RSA-2048")


def _of_scep(*documents: policies.Document) -> tuple[policies.Document, ...]:
    for one in documents:
        (one if one["kind"] == "Endpoint" else one["match"])["protocol"] = SCEP
    return documents


def scep_documents(**options: Any) -> tuple[policies.Document, ...]:
    """Endpoints ``default`` (with these options), ``manual`` (approval), ``far`` (a CA elsewhere) and
    ``behalf`` (whoever has a certificate of the vendor may ask for others)."""
    by_challenge: Any = {"authenticate": {"challenge": {}}, **_KEYS}
    slow: Any = {"approval": {"required": 1, "expires": "1h", "retry_after": "5s"}}
    signature: Any = {"signature": {"trust": "vendor"}}
    vendor = policies.trust_store("vendor", VENDOR.certificate_pem)
    return (
        vendor,
        *_of_scep(
            policies.endpoint("default", **options),
            policies.enroll_policy("first", "default", priority=310, **by_challenge),
            policies.renew_policy("again", "default", priority=320, **_RENEWALS),
            policies.endpoint("manual"),
            policies.enroll_policy("by-hand", "manual", priority=330, **by_challenge, **slow),
            policies.endpoint("far", backend="foreign"),
            policies.enroll_policy(
                "by-far", "far", priority=340, **by_challenge, issue=[{"backend": "foreign"}]
            ),
            policies.endpoint("behalf"),
            policies.enroll_policy("for-others", "behalf", priority=350, authenticate=signature, **_KEYS),
        ),
    )


def _backend(endpoint: str) -> str:
    return "foreign" if endpoint == "far" else "embedded"


@dataclass(slots=True)
class Device:
    """A client with one key, and its certificate once it has one. ``signer`` is self-signed at first."""

    cn: str = "dev.test"
    private_key: pki.PrivateKey = field(default_factory=lambda: rsa_key("device"))
    transaction_id: str = field(default_factory=lambda: secrets.token_hex(16))
    signer: Identity = field(init=False)

    def __post_init__(self) -> None:
        self.signer = self_signed(self.private_key, "whatever stands here")

    def csr(
        self,
        challenge: str | bytes | None = CHALLENGE,
        *,
        private_key: pki.PrivateKey = None,
        cn: str | None = None,
        tag: int = 0x0C,
        more: Sequence[bytes] = (),
    ) -> bytes:
        attributes = list(more)
        if challenge is not None:
            octets = challenge.encode() if isinstance(challenge, str) else challenge
            attributes.append(pki.attribute(pki.CHALLENGE_PASSWORD, pki.tlv(tag, octets)))
        return pki.raw_csr(
            private_key or self.private_key,
            subject_der=pki.name(cn or self.cn).public_bytes(),
            attributes=attributes,
        )

    def with_certificate(self, certificate_der: bytes, private_key: pki.PrivateKey = None) -> Device:
        """The same device, which signs with this certificate from now on."""
        later = Device(self.cn, private_key or self.private_key, self.transaction_id)
        later.signer = Identity(x509.load_der_x509_certificate(certificate_der), later.private_key)
        return later


@dataclass(slots=True)
class Exchanged:
    """An HTTP answer, and the CertRep in it where there is one."""

    response: HttpResponse
    sent: SentMessage
    device: Device
    house: ScepHouse

    @property
    def reply(self) -> CertReply:
        assert self.response.status == 200, self.response.body
        assert self.response.content_type == "application/x-pki-message"
        signer = self.device.signer
        return read_reply(
            self.response.body,
            self.sent,
            identity=ClientIdentity(signer.certificate_der, FileSigner(signer.private_key, "device")),
            responders=[parse_certificate(one.certificate_der) for one in self.house.identities_],
            rules=MessageRules(ALL_DIGESTS, ALL_CIPHERS),
        )

    @property
    def certificate_der(self) -> bytes:
        """The first certificate of a SUCCESS."""
        reply = self.reply
        assert reply.status == 0, reply
        return reply.certificates_der[0]


class ScepHouse(House):
    """House and ``frontend.Services`` in one."""

    def __init__(
        self, directory: Path, store: Store, clock: SetClock, foreign: ForeignCa, **options: Any
    ) -> None:
        super().__init__(directory, store, clock, foreign, *scep_documents(**options))
        self.enrolments = self.service
        self.certificates = IssuedCertificates(store, clock)
        self.ca_information = self
        self.crls = CrlPublisher(store, self.backends, clock, lambda: clock.now().timestamp())
        self.ra = self_signed(rsa_key("ra"), "SCEP RA")
        self.identities_: list[MessageIdentity] = [
            MessageIdentity(self.ra.certificate_der, (), FileSigner(self.ra.private_key, "ra"))
        ]
        self.compat: tuple[Compatibility, ...] = ()
        self.ca_fault: GatewayError | None = None
        self.routes = ScepFrontEnd().mount(self).routes

    # -- frontend.Services --

    def endpoint(self, protocol: ProtocolName, name: str) -> EndpointView | None:
        compiled = self.service._bundle.current.endpoints.get((protocol, name))
        return None if compiled is None else EndpointView(EndpointName(compiled.name), compiled.options)

    def compatibility(self, protocol: ProtocolName) -> tuple[Compatibility, ...]:
        return self.compat

    async def ca_certificates(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[bytes, ...]:
        if self.ca_fault is not None:
            raise self.ca_fault
        return await self.backends.chain(_backend(endpoint), None)

    async def crl(self, protocol: ProtocolName, endpoint: EndpointName) -> bytes:
        return (await self.crls.crl(self.backends.authority(_backend(endpoint), None).name)).crl_der

    async def identities(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[MessageIdentity, ...]:
        return tuple(self.identities_)

    # -- people --

    async def challenge(self, secret: str = CHALLENGE, **changes: Any) -> CredentialRow:
        verifier = machine_verifier(SERVER_KEY, secret)
        return await self.credential("line 4", kind=SCEP_CHALLENGE, verifier=verifier, **changes)

    def approve(self, request_id: str) -> None:
        approve(self.store, request_id, "cli:anna", clock=self.clock)

    # -- devices --

    async def http(
        self,
        method: str = "GET",
        path: str = "/scep",
        query: bytes = b"",
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        address: str = "192.0.2.9",
    ) -> HttpResponse:
        """Give one request to the route that takes it, as the edge does."""
        parts = [body]

        async def receive_body() -> bytes:
            return parts.pop() if parts else b""

        request = HttpRequest(
            method=method,
            path=path,
            raw_path=path.encode(),
            query=query,
            http_version="1.1",
            headers=tuple((k.encode(), v.encode()) for k, v in (headers or {}).items()),
            client_address=address,
            listener="http",
            scheme="http",
            tls=None,
            request_id="0192-request",
            receive_body=receive_body,
        )
        self.log = request.log
        fitting = [
            route
            for route in self.routes
            if path == route.prefix or (route.prefix.endswith("/") and path.startswith(route.prefix))
        ]
        assert fitting, f"no route takes {path}"
        return await max(fitting, key=lambda route: len(route.prefix)).handler(request)

    async def send(
        self,
        device: Device,
        payload_der: bytes | None = None,
        *,
        path: str = "/scep",
        message_type: str | None = "19",
        content: bytes | None = None,
        cipher: str = "aes-128-cbc",
        recipient: x509.Certificate | None = None,
        address: str = "192.0.2.9",
        headers: dict[str, str] | None = None,
        **parts: Any,
    ) -> Exchanged:
        """One pkiMessage of this device by POST; ``parts`` are those of ``PkiMessage``."""
        payload_der = device.csr() if payload_der is None else payload_der
        content = content or envelope(payload_der, [recipient or self.ra.certificate], cipher=cipher)
        nonce = secrets.token_bytes(16)
        message = PkiMessage(
            device.signer,
            content,
            message_type=message_type,
            transaction_id=device.transaction_id,
            **{"sender_nonce": nonce, **parts},
        ).build()
        return await self.post(device, message, nonce, path=path, address=address, headers=headers)

    async def post(
        self, device: Device, message: bytes, nonce: bytes, *, path: str = "/scep", **more: Any
    ) -> Exchanged:
        response = await self.http("POST", path, b"operation=PKIOperation", message, **more)
        return Exchanged(response, SentMessage(message, device.transaction_id, nonce), device, self)

    async def enrolled(self, device: Device | None = None, **more: Any) -> Device:
        """A device with a certificate."""
        device = device or Device()
        await self.challenge()
        exchanged = await self.send(device, **more)
        return device.with_certificate(exchanged.certificate_der)


def issuer_and_subject(issuer: x509.Name, subject: x509.Name) -> bytes:
    return pki.tlv(0x30, issuer.public_bytes(), subject.public_bytes())


def issuer_and_serial(issuer: x509.Name, serial: int) -> bytes:
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return pki.tlv(0x30, issuer.public_bytes(), pki.tlv(0x02, octets))
