"""The CMP front end on the real path: real policy, real SQLite, the embedded CA, and devices.

Messages come from ``cmp_wire`` and ``cmp_bodies``, answers are read by pyasn1.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.authn.sealing import seal
from gateway.authn.shared_secrets import SharedSecrets
from gateway.cmp.plugin import CmpFrontEnd
from gateway.enrolment.approval import approve
from gateway.enrolment.crl import CrlPublisher
from gateway.enrolment.issued import IssuedCertificates
from gateway.errors import GatewayError
from gateway.frontend import EndpointView, MessageIdentity
from gateway.http.message import HttpRequest, HttpResponse
from gateway.model.evidence import CMP_SECRET
from gateway.model.ids import EndpointName, ProtocolName, new_id
from gateway.pki.keyfile import FileSigner
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.support import cmp_bodies, cmp_wire, pki, policies
from tests.support.cmp_client import Reply
from tests.support.cmp_wire import Pbm, Protection, Signed, octets
from tests.unit.enrolment.house import SERVER_KEY, ForeignCa, House, SetClock

CMP = "cmp"
PATH = "/.well-known/cmp"
IMPLICIT = cmp_wire.infos(cmp_wire.info(cmp_wire.IMPLICIT_CONFIRM, cmp_wire.NULL))
MAC = Pbm("line-4", b"the secret of the line")
VENDOR = pki.Authority("Vendor Root")
_KEYS: Any = {"keys": {**policies.ALL_KEYS, "reuse": "allow"}}
_CN: Any = {"source": "csr", "allow": {"suffix": policies.NAMES}}
_FEWER: Any = {
    "subject": {"CN": _CN, "O": {"source": "drop"}},
    "dns": {"suffix": policies.NAMES},
    "cn_in_san": False,
}
_ASKED: Any = {"default": "90d", "max": "90d", "client_may_request": True}


def _of_cmp(*documents: policies.Document) -> tuple[policies.Document, ...]:
    for one in documents:
        (one if one["kind"] == "Endpoint" else one["match"])["protocol"] = CMP
    return documents


def _revocations(name: str, endpoint: str, priority: int, authenticate: Any) -> policies.Document:
    match = {"protocol": CMP, "endpoint": [endpoint], "operation": "revoke"}
    return policies.document("Policy", name, priority=priority, match=match, authenticate=authenticate)


def cmp_documents(**options: Any) -> tuple[policies.Document, ...]:
    """Endpoints ``default`` (with these options), ``manual`` (approval), ``far`` (a CA elsewhere), ``wishes``
    (drops an organisation, takes a shorter life) and ``ra`` (whoever has a certificate of the vendor is a
    registration authority)."""
    slow: Any = {"approval": {"required": 1, "expires": "1h", "retry_after": "5s"}}
    mac: Any = {"authenticate": {"mac": {}}, **_KEYS}
    own: Any = {"authenticate": {"signature": {"trust": "own", "names": "own"}}, **_KEYS}
    authority: Any = {"signature": {"trust": "vendor", "ra": True}}
    return (
        policies.trust_store("vendor", VENDOR.certificate_pem),
        *_of_cmp(
            policies.endpoint("default", **options),
            policies.enroll_policy("first", "default", priority=410, **mac),
            policies.enroll_policy("more", "default", priority=411, **own),
            policies.renew_policy("again", "default", priority=412, **_KEYS),
            policies.endpoint("manual"),
            policies.enroll_policy("by-hand", "manual", priority=430, **mac, **slow),
            policies.endpoint("far", backend="foreign"),
            policies.enroll_policy("by-far", "far", priority=440, **mac, issue=[{"backend": "foreign"}]),
            policies.endpoint("wishes"),
            policies.enroll_policy("wishes", "wishes", priority=445, **mac, names=_FEWER, validity=_ASKED),
            policies.endpoint("ra"),
            policies.enroll_policy("for-others", "ra", priority=450, authenticate=authority, **_KEYS),
        ),
        _revocations("own-revocation", "default", 420, {"signature": {"trust": "own"}}),
        _revocations("ra-revocation", "ra", 460, authority),
    )


class CmpHouse(House):
    """House and ``frontend.Services`` in one."""

    def __init__(
        self, directory: Path, store: Store, clock: SetClock, foreign: ForeignCa, **options: Any
    ) -> None:
        super().__init__(directory, store, clock, foreign, *cmp_documents(**options))
        self.enrolments = self.service
        self.certificates = IssuedCertificates(store, clock)
        self.shared_secrets = SharedSecrets(store, SERVER_KEY, lambda: clock.now().timestamp())
        self.ca_information = self
        self.crls = CrlPublisher(store, self.backends, clock, lambda: clock.now().timestamp())
        self.signer = VENDOR.issue(cn="CMP ENDPOINT")
        self.identity = MessageIdentity(
            self.signer.certificate.public_bytes(Encoding.DER),
            (VENDOR.certificate.public_bytes(Encoding.DER),),
            FileSigner(self.signer.private_key, "signer"),
        )
        self.identity_fault: GatewayError | None = None
        self.routes = CmpFrontEnd().mount(self).routes

    # -- frontend.Services --

    def shared_key(self, purpose: str) -> bytes:
        return purpose.encode().ljust(32, b"-")[:32]

    def endpoint(self, protocol: ProtocolName, name: str) -> EndpointView | None:
        compiled = self.service._bundle.current.endpoints.get((protocol, name))
        return None if compiled is None else EndpointView(EndpointName(compiled.name), compiled.options)

    async def ca_certificates(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[bytes, ...]:
        return await self.backends.chain("embedded", None)

    async def crl(self, protocol: ProtocolName, endpoint: EndpointName) -> bytes:
        return (await self.crls.crl(self.backends.authority("embedded", None).name)).crl_der

    async def identities(self, protocol: ProtocolName, endpoint: EndpointName) -> tuple[MessageIdentity, ...]:
        if self.identity_fault is not None:
            raise self.identity_fault
        return (self.identity,)

    # -- people --

    async def secret(self, mac: Pbm = MAC, **changes: Any) -> CredentialRow:
        """A reference with its secret, as the command line adds it."""
        credential_id = new_id()
        values: dict[str, Any] = {
            "id": credential_id,
            "kind": CMP_SECRET,
            "name": mac.reference,
            "created_at": self.clock.now(),
            "sealed": seal(SERVER_KEY, credential_id, mac.secret),
        }
        row = CredentialRow(**(values | changes))
        unit = Unit()
        credentials.insert(unit, row)
        await self.store.recorder.commit(unit)
        return row

    def approve(self, request_id: str) -> None:
        approve(self.store, request_id, "cli:anna", clock=self.clock)

    # -- devices --

    async def http(
        self,
        body: bytes = b"",
        method: str = "POST",
        path: str = PATH,
        headers: dict[str, str] | None = None,
        address: str = "192.0.2.9",
    ) -> HttpResponse:
        """Give one request to the route that takes it, as the edge does."""
        parts = [body]

        async def receive_body() -> bytes:
            return parts.pop() if parts else b""

        headers = {"content-type": "application/pkixcmp"} if headers is None else headers
        request = HttpRequest(
            method=method,
            path=path,
            raw_path=path.encode(),
            query=b"",
            http_version="1.1",
            headers=tuple((k.encode(), v.encode()) for k, v in headers.items()),
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

    def talk(self, protection: Protection = MAC, endpoint: str = "default") -> Talk:
        return Talk(self, protection, PATH if endpoint == "default" else f"{PATH}/p/{endpoint}")

    async def device(self, host: str = "dev.test", **more: Any) -> Signed:
        """A device with a certificate, by implicit confirmation; the secret must be there."""
        private_key = pki.key()
        reply = await self.talk(**more).send("ir", ir(private_key, host), generalInfo=IMPLICIT)
        return Signed(pki.Identity(reply.certificate, private_key))


@dataclass(slots=True)
class Talk:
    """One transaction, with nonces as a well-behaved client has them, unless told otherwise."""

    house: CmpHouse
    protection: Protection
    path: str
    transaction_id: bytes = field(default_factory=lambda: os.urandom(16))
    last: Reply | None = None
    sent: bytes = b""

    def message(
        self, name: str, content: bytes, protection: Protection | None = None, **changes: bytes | None
    ) -> bytes:
        """One message; ``changes`` overrule header fields by the RFC's names."""
        protection = protection or self.protection
        fields = cmp_wire.usual_header()
        fields["messageTime"] = cmp_wire.generalized_time(self.house.clock.now())
        fields["transactionID"] = octets(self.transaction_id)
        nonce = self.last.octets("senderNonce") if self.last is not None else None
        if nonce is not None:
            fields["recipNonce"] = octets(nonce)
        body = cmp_wire.body(cmp_bodies.TAGS[name], content)
        return cmp_wire.build({**fields, **protection.header, **changes}, body, protection)

    async def send(
        self, name: str, content: bytes, protection: Protection | None = None, **changes: bytes | None
    ) -> Reply:
        return await self.post(self.message(name, content, protection, **changes))

    async def post(self, message: bytes) -> Reply:
        """These octets; what comes is what the next message answers."""
        self.sent = message
        response = await self.house.http(message, path=self.path)
        headers = {"content-type": response.content_type}
        reply = Reply(response.status, headers, response.body)
        if reply.is_message:
            self.last = reply
        return reply

    async def confirm(
        self, certificate: x509.Certificate, *, cert_req_id: int = 0, status: bytes | None = None, **more: Any
    ) -> Reply:
        """certConf for this certificate; ``status`` is its statusInfo."""
        one = cmp_bodies.cert_status(
            cmp_bodies.cert_hash(certificate), cert_req_id=cert_req_id, status_info=status
        )
        return await self.send("certConf", pki.tlv(0x30, one), **more)


def ir(private_key: pki.PrivateKey, host: str = "dev.test", **more: Any) -> bytes:
    """The body of an ir, cr or kur for one certificate."""
    return cmp_bodies.requests(cmp_bodies.request(private_key, host, **more))
