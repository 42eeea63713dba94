"""OpenSSL's CMP client takes what our encoders write: answers by secret and by signature, over loopback."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from gateway.asn1 import cmp, cmp_bodies, cmp_revocation, cmp_support, crmf
from gateway.asn1.cmp import BodyType, InfoTypeAndValue, PkiMessage
from gateway.asn1.cmp_bodies import CertRepMessage, CertResponse, PollAnswer
from gateway.asn1.cmp_status import PkiFailureInfo, PkiStatus, PkiStatusInfo
from gateway.asn1.crmf import CertId
from gateway.cmp.nonces import FollowUp, Nonces
from gateway.cmp.protection import (
    Draft,
    MacProtection,
    mac_is_right,
    protect_with_secret,
    protect_with_signer,
    read_protection,
    signature_is_right,
)
from gateway.model.evidence import SecretBytes
from gateway.pki.crmf_request import read_request, verify_possession
from gateway.pki.keyfile import FileSigner
from gateway.pki.mac_keys import MacKeys
from gateway.pki.message_mac import MacLimits
from tests.support import cmp_vectors, pki

SECRET = SecretBytes(b"loop-secret")
ANSWERS = {BodyType.IR: BodyType.IP, BodyType.CR: BodyType.CP, BodyType.KUR: BodyType.KUP}
ACCEPTED = PkiStatusInfo(PkiStatus.ACCEPTED)


@dataclass(slots=True)
class Responder:
    """Just enough of a CMP server: every request is granted by an authority of the tests."""

    authority: pki.Authority = field(default_factory=lambda: pki.Authority(cn="CMP CA"))
    polls: int = 0
    keys: MacKeys = field(default_factory=MacKeys)
    nonces: Nonces = field(default_factory=lambda: Nonces(bytes(32)))
    seen: list[BodyType] = field(default_factory=list)
    confirmed: list[bytes] = field(default_factory=list)
    pending: bytes = b""
    signer: pki.Identity = field(init=False)

    def __post_init__(self) -> None:
        self.signer = self.authority.issue(cn="CMP server", extended_key_usage=None)

    @property
    def ca_der(self) -> bytes:
        return self.authority.certificate.public_bytes(Encoding.DER)

    async def answer(self, octets: bytes) -> bytes:
        request = cmp.decode_message(octets)
        protection = read_protection(request, MacLimits())
        header = request.header
        assert header.transaction_id is not None
        if self.seen:
            judged = self.nonces.check(header.transaction_id, header.recip_nonce, header.sender_nonce)
            assert judged is FollowUp.RIGHT
        self.seen.append(request.body_type)
        body_type, body_der = await self.body(request)
        draft = Draft(
            replace(
                header,
                sender_der=pki.tlv(0xA4, self.signer.certificate.subject.public_bytes()),
                recipient_der=header.sender_der,
                message_time=datetime.now(UTC),
                sender_nonce=self.nonces.make(header.transaction_id, header.sender_nonce),
                recip_nonce=header.sender_nonce,
            ),
            body_type,
            body_der,
            (self.signer.certificate_der, self.ca_der),
        )
        if isinstance(protection, MacProtection):
            assert await mac_is_right(protection, SECRET, self.keys)
            return await protect_with_secret(draft, protection.parameters, SECRET, self.keys)
        assert protection is not None
        assert signature_is_right(protection, cmp_vectors.spki_of(request.extra_certs[0]))
        draft = replace(draft, header=replace(draft.header, sender_kid=None))
        return await protect_with_signer(draft, FileSigner(self.signer.private_key, "test"))

    async def body(self, request: PkiMessage) -> tuple[BodyType, bytes]:
        match request.body_type:
            case BodyType.IR | BodyType.CR | BodyType.KUR:
                return await self.enrol(request)
            case BodyType.POLLREQ:
                self.polls -= 1
                if self.polls:
                    return BodyType.POLLREP, cmp_bodies.encode_poll_rep([PollAnswer(0, 1, ("soon",))])
                response = CertResponse(0, ACCEPTED, self.pending)
                return BodyType.IP, cmp_bodies.encode_cert_rep(CertRepMessage((response,)))
            case BodyType.CERTCONF:
                statuses = cmp_bodies.decode_cert_confirm(request.body_der)
                self.confirmed += [status.cert_hash for status in statuses]
                return BodyType.PKICONF, cmp_bodies.PKI_CONFIRM_DER
            case BodyType.RR:
                (details,) = cmp_revocation.decode_rev_req(request.body_der)
                template = details.template
                assert template.serial_number is not None
                assert template.issuer_der is not None
                cert_id = CertId(pki.tlv(0xA4, template.issuer_der), template.serial_number)
                answer = cmp_revocation.RevRepContent((ACCEPTED,), (cert_id,))
                return BodyType.RP, cmp_revocation.encode_rev_rep(answer)
            case BodyType.GENM:
                info = InfoTypeAndValue(cmp_support.CA_CERTS, pki.tlv(0x30, self.ca_der))
                return BodyType.GENP, cmp_support.encode_gen_msg([info])
        raise AssertionError(request.body_type)

    async def enrol(self, request: PkiMessage) -> tuple[BodyType, bytes]:
        (message,) = crmf.decode_cert_req_messages(request.body_der)
        asked = read_request(message)
        await verify_possession(asked, sender_der=None, secret=None, keys=self.keys, limits=MacLimits())
        assert asked.public_key is not None
        if str(asked.identity.subject) == "CN=refused":
            refused = PkiStatusInfo(
                PkiStatus.REJECTION, ("not on the list",), PkiFailureInfo.BAD_CERT_TEMPLATE
            )
            response = CertResponse(0, refused)
        else:
            self.pending = self.certificate(asked.public_key.spki_der)
            waiting = CertResponse(0, PkiStatusInfo(PkiStatus.WAITING))
            response = waiting if self.polls else CertResponse(0, ACCEPTED, self.pending)
        ca_pubs = (self.ca_der,) if request.body_type is BodyType.IR else ()
        body_der = cmp_bodies.encode_cert_rep(CertRepMessage((response,), ca_pubs))
        return ANSWERS[request.body_type], body_der

    def certificate(self, spki_der: bytes) -> bytes:
        now = datetime.now(UTC)
        public_key = load_der_public_key(spki_der)
        builder = x509.CertificateBuilder(
            self.authority.name,
            pki.name("device-1"),
            public_key,  # type: ignore[arg-type]  # kinds that the tests use
            x509.random_serial_number(),
            now - timedelta(minutes=1),
            now + timedelta(days=1),
        )
        signed = builder.sign(self.authority.private_key, hashes.SHA256())
        return signed.public_bytes(Encoding.DER)


@contextmanager
def serving(responder: Responder) -> Iterator[int]:
    """The responder behind HTTP on a port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            octets = self.rfile.read(int(self.headers["Content-Length"]))
            answer = asyncio.run(responder.answer(octets))
            self.send_response(200)
            self.send_header("Content-Type", "application/pkixcmp")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing on the tests' output."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def client(responder: Responder, directory: Path, *options: str, status: int = 0) -> str:
    """Run OpenSSL's client and give what it said; fails unless it ends with this exit status."""
    (directory / "ca.pem").write_bytes(responder.authority.certificate_pem)
    (directory / "new.pem").write_bytes(pki.key_pem(pki.shared_key("P-256")))
    with serving(responder) as port:
        command = ["openssl", "cmp", "-config", "", "-server", f"127.0.0.1:{port}/", "-no_proxy", "127.0.0.1"]
        command += ["-msg_timeout", "60", "-trusted", "ca.pem", *options]
        ended = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, check=False, timeout=120
        )
    said = ended.stdout + ended.stderr
    assert ended.returncode == status, said
    return said


BY_SECRET = ("-ref", "ref-1", "-secret", "pass:loop-secret", "-recipient", "/CN=CMP CA")
NEW_KEY = ("-newkey", "new.pem", "-certout", "out.pem", "-out_trusted", "ca.pem")


def by_signature(responder: Responder, directory: Path) -> tuple[str, ...]:
    device = responder.authority.issue(cn="device-1")
    (directory / "device.pem").write_bytes(device.chain_pem)
    (directory / "device.key").write_bytes(device.key_pem)
    return ("-cert", "device.pem", "-key", "device.key")


def issued(directory: Path) -> bytes:
    certificate = x509.load_pem_x509_certificate((directory / "out.pem").read_bytes())
    return certificate.public_bytes(Encoding.DER)


def test_openssl_enrols_by_secret_and_confirms(tmp_path: Path) -> None:
    responder = Responder()
    options = (*BY_SECRET, *NEW_KEY, "-subject", "/CN=device-1", "-cacertsout", "ca-pubs.pem")
    client(responder, tmp_path, "-cmd", "ir", *options)
    assert responder.seen == [BodyType.IR, BodyType.CERTCONF]
    assert issued(tmp_path) == responder.pending
    digest = hashes.Hash(hashes.SHA256())
    digest.update(responder.pending)
    assert responder.confirmed == [digest.finalize()]
    ca_pubs = x509.load_pem_x509_certificate((tmp_path / "ca-pubs.pem").read_bytes())
    assert ca_pubs == responder.authority.certificate


def test_openssl_polls_until_the_certificate_is_there(tmp_path: Path) -> None:
    """cmp.md C73."""
    responder = Responder(polls=2)
    client(responder, tmp_path, "-cmd", "ir", *BY_SECRET, *NEW_KEY, "-subject", "/CN=device-1")
    assert responder.seen == [BodyType.IR, BodyType.POLLREQ, BodyType.POLLREQ, BodyType.CERTCONF]
    assert issued(tmp_path) == responder.pending


def test_openssl_enrols_renews_and_revokes_by_signature(tmp_path: Path) -> None:
    """cmp.md C47, C48: our signed answers with their chain in extraCerts are verified."""
    for command, answered in (("cr", BodyType.CR), ("kur", BodyType.KUR)):
        responder = Responder()
        own = by_signature(responder, tmp_path)
        client(responder, tmp_path, "-cmd", command, *own, *NEW_KEY, "-subject", "/CN=device-1")
        assert responder.seen == [answered, BodyType.CERTCONF]
        assert issued(tmp_path) == responder.pending
    responder = Responder()
    own = by_signature(responder, tmp_path)
    client(responder, tmp_path, "-cmd", "rr", *own, "-oldcert", "device.pem", "-revreason", "1")
    assert responder.seen == [BodyType.RR]


def test_openssl_reads_general_information(tmp_path: Path) -> None:
    responder = Responder()
    client(responder, tmp_path, "-cmd", "genm", *BY_SECRET, "-infotype", "signKeyPairTypes")
    assert responder.seen == [BodyType.GENM]


def test_openssl_tells_why_it_was_refused(tmp_path: Path) -> None:
    """cmp.md C51, C62: text and bit of the refusal reach the operator."""
    options = ("-cmd", "ir", *BY_SECRET, *NEW_KEY, "-subject", "/CN=refused")
    said = client(Responder(), tmp_path, *options, status=1)
    assert 'PKIStatus: rejection; PKIFailureInfo: badCertTemplate; StatusString: "not on the list"' in said
