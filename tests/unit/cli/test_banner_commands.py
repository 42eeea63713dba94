"""The commands of the banner, run by the real clients; what they send is opened with the identities of a
gateway, so that reference, secret, challenge, key and names are seen to arrive."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway import quickstart
from gateway.asn1 import cmp
from gateway.banner import banner, cmp_command, scep_command
from gateway.cmp.protection import MacProtection, mac_is_right, read_protection
from gateway.model.evidence import SecretBytes
from gateway.model.names import ATTRIBUTE_OIDS, CN_OID, AttributeTypeAndValue, DistinguishedName
from gateway.pki.certificate import parse_certificate
from gateway.pki.cms import certs_only
from gateway.pki.mac_keys import MacKeys
from gateway.pki.message_mac import MacLimits
from gateway.pki.names import decode_name
from gateway.quickstart import CmpAccess, QuickStart, ScepAccess, openssl_name
from gateway.scep.message import MessageRules, open_pki_message, read_csr, read_pki_message
from gateway.store.migrate import migrate
from tests.unit.composition import identity_house
from tests.unit.composition.identity_house import CMP, SCEP, House

SECRET, CHALLENGE = "planted-Secret_0123456789", "planted-Challenge_0123456"
RULES = MessageRules(("sha256", "sha384", "sha512"), ("aes-128-cbc", "aes-256-cbc"))


@dataclass(slots=True)
class Received:
    """What a loopback server answers to GET, by a word in the URL, and what was posted to it."""

    answers: dict[str, bytes]
    posted: list[bytes] = field(default_factory=list)


@contextmanager
def _listening(received: Received) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, next(body for word, body in received.answers.items() if word in self.path))

        def do_POST(self) -> None:
            received.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(503, b"")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-x509-ca-ra-cert")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    url = f"sqlite:///{tmp_path / 'test.sqlite3'}"
    migrate(url)
    with identity_house.house(tmp_path / "a b'c", url) as opened:
        yield opened


def _quick_start(house: House, **access: object) -> tuple[QuickStart, Path]:
    """Written to a path with a blank and a quote in it."""
    root = house.data.path / "root.pem"
    told = QuickStart(None, None, root, {"subject": "CN=pkigate issuing"}, None, **access)  # type: ignore[arg-type]
    quickstart.write(house.data.quickstart_file, told)
    return told, house.data.quickstart_file


def _run(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=directory, capture_output=True, text=True, timeout=120, check=False
    )


async def test_scep_command_checks_the_ra_and_sends_challenge_and_name(house: House, tmp_path: Path) -> None:
    """strongSwan's pki; RFC 8894 sections 3.3.1 and 4.2"""
    identities = await house.identities.of(*SCEP)
    *_, root_der = chain = await house.backends.chain("embedded", "scep")
    received = Received(
        {
            "GetCACert": certs_only((identities[0].certificate_der, *chain)),
            "GetCACaps": b"AES\nPOSTPKIOperation\nSHA-256\nSHA-384\nSCEPStandard\n",
        }
    )
    with _listening(received) as url:
        told, file = _quick_start(house, scep=ScepAccess(f"{url}/scep", CHALLENGE))
        told.root_pem.write_bytes(x509.load_der_x509_certificate(root_der).public_bytes(Encoding.PEM))
        said = _run(scep_command(told, quickstart_file=file), tmp_path)
    assert "scep-ra.pem: OK" in said.stdout
    (message,) = received.posted
    opened = open_pki_message(read_pki_message(message), identities, RULES)
    csr, _ = read_csr(opened, RULES)
    assert csr.challenge_password == CHALLENGE.encode()
    assert str(csr.identity.subject) == "CN=device-2.test"
    assert [str(name) for name in csr.identity.sans] == ["dns:device-2.test"]


async def test_scep_command_stops_at_an_ra_of_another_root(house: House, tmp_path: Path) -> None:
    """SCEP comes over plain HTTP: without this check whoever answers first gets the challenge."""
    identities = await house.identities.of(*SCEP)
    chain = await house.backends.chain("embedded", "scep")
    received = Received({"GetCACert": certs_only((identities[0].certificate_der, *chain))})
    with _listening(received) as url, identity_house.house(tmp_path / "other", house.url) as other:
        told, file = _quick_start(house, scep=ScepAccess(f"{url}/scep", CHALLENGE))
        foreign_root = (await other.backends.chain("embedded"))[-1]
        told.root_pem.write_bytes(x509.load_der_x509_certificate(foreign_root).public_bytes(Encoding.PEM))
        said = _run(scep_command(told, quickstart_file=file), tmp_path)
    assert said.returncode != 0
    assert received.posted == []


async def test_cmp_command_sends_a_message_that_the_secret_protects(house: House, tmp_path: Path) -> None:
    """openssl cmp; RFC 9810 section 5.1.3.1"""
    issuer = parse_certificate((await house.identities.of(*CMP))[0].chain_der[0])
    received = Received({})
    with _listening(received) as url:
        access = CmpAccess(f"{url}/.well-known/cmp", openssl_name(issuer.subject), "demo", SECRET)
        told, file = _quick_start(house, cmp=access)
        _run(cmp_command(told, quickstart_file=file), tmp_path)
    (octets,) = received.posted
    message = cmp.decode_message(octets)
    protection = read_protection(message, MacLimits())
    assert isinstance(protection, MacProtection)
    assert await mac_is_right(protection, SecretBytes(SECRET.encode()), MacKeys())
    assert message.header.sender_kid == b"demo"
    assert message.body_type is cmp.BodyType.IR
    assert message.header.recipient_der.endswith(issuer.subject_der)
    assert b"device-3.test" in message.body_der


@pytest.mark.parametrize("value", ["plain", "a/b", "a+b", "back\\slash", "Ä ö", "a=b"])
def test_name_for_openssl_is_read_back_by_openssl(value: str, tmp_path: Path) -> None:
    name = DistinguishedName(
        (
            (AttributeTypeAndValue(ATTRIBUTE_OIDS["O"], value),),
            (AttributeTypeAndValue(CN_OID, "x"), AttributeTypeAndValue(ATTRIBUTE_OIDS["OU"], value)),
        )
    )
    made = subprocess.run(
        [
            *("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-utf8", "-keyout", str(tmp_path / "key"), "-subj", openssl_name(name), "-multivalue-rdn"),
        ],
        capture_output=True,
        check=True,
    )
    read = decode_name(x509.load_pem_x509_csr(made.stdout).subject.public_bytes())
    assert [{(one.oid, one.value) for one in rdn} for rdn in read.rdns] == [
        {(one.oid, one.value) for one in rdn} for rdn in name.rdns
    ]


def test_banner_shows_scep_and_cmp_and_none_of_their_secrets(tmp_path: Path) -> None:
    scep = ScepAccess("http://localhost:8080/scep", CHALLENGE)
    cmp_ = CmpAccess("http://localhost:8080/.well-known/cmp", "/CN=CA", "demo", SECRET)
    told = QuickStart(None, "http://localhost:8080", tmp_path / "root.pem", {}, None, scep=scep, cmp=cmp_)
    text = banner(
        told, quickstart_file=tmp_path / "quickstart.json", data_directory=tmp_path, version="1.2.3"
    )
    assert "pki --scep --url http://localhost:8080/scep" in text
    assert "openssl cmp -cmd ir -server http://localhost:8080/.well-known/cmp" in text
    for planted in (SECRET, CHALLENGE):
        assert planted not in text
        assert planted not in repr(told)
    document = told.document()
    assert document["scep"] == {"url": "http://localhost:8080/scep", "challenge": CHALLENGE}
    assert document["cmp"] == {"url": cmp_.url, "recipient": "/CN=CA", "ref": "demo", "secret": SECRET}
