"""CMP over HTTP (cmp.md C1 to C14, C86; RFC 9811)."""

from __future__ import annotations

import http.client
import random
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import cmp_bodies, cmp_wire, pki
from tests.support.cmp_client import MEDIA_TYPE, CmpClient, Reply
from tests.support.cmp_lab import CmpLab, ask, begun, ir
from tests.support.cmp_wire import Signed
from tests.support.devices import device_name
from tests.support.openssl import run

WELL_KNOWN = "/.well-known/cmp"


def _bad_format(reply: Reply) -> None:
    """A 400, with an unprotected or signed error that says badDataFormat."""
    assert reply.http_status == 400
    assert reply.is_message
    assert reply.body_name == "error"
    assert reply.outcome == "badDataFormat"


def _raw(lab: CmpLab, octets: bytes) -> bytes:
    """Send these octets on a connection of their own and read until the server closes."""
    split = urlsplit(lab.gateway.quickstart["http"])
    with socket.create_connection((split.hostname or "", split.port or 0), timeout=60) as sock:
        sock.sendall(octets)
        received = b""
        while piece := sock.recv(65536):
            received += piece
    return received


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_other_methods_than_post_are_refused_with_allow(client: CmpClient, method: str) -> None:
    """cmp.md C1"""
    reply = client.request(method)
    assert reply.http_status == 405
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("content_type", ["application/pkcs10", "text/plain", "", "application/pkixcmp2"])
def test_other_media_types_are_refused(client: CmpClient, content_type: str) -> None:
    """cmp.md C2"""
    message = client.transaction().message("ir", ir(pki.key(), device_name("cmp")))
    reply = client.request("POST", message, **{"Content-Type": content_type})
    assert reply.http_status == 415
    assert not reply.is_message


@pytest.mark.parametrize(
    "content_type", ["application/pkixcmp; charset=utf-8", "Application/PKIXCMP", "application/pkixcmp;"]
)
def test_parameters_and_case_of_the_media_type_are_no_matter(client: CmpClient, content_type: str) -> None:
    """cmp.md C2"""
    message = client.transaction().message("ir", ir(pki.key(), device_name("cmp")))
    reply = client.request("POST", message, **{"Content-Type": content_type})
    assert reply.http_status == 200
    assert reply.outcome == "accepted"


def test_answer_has_media_type_and_length_and_is_not_stored(client: CmpClient) -> None:
    """cmp.md C3"""
    reply = ask(client)
    assert reply.headers["content-type"] == MEDIA_TYPE
    assert reply.headers["content-length"] == str(len(reply.der))
    assert "no-store" in reply.headers["cache-control"]


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x00", b"\x30\x00", b"hello", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80\x00\x00", bytes(300)],
    ids=["empty", "zero", "empty-sequence", "text", "long-length", "indefinite", "zeros"],
)
def test_what_is_no_pkimessage_is_a_400(client: CmpClient, octets: bytes) -> None:
    """cmp.md C4"""
    _bad_format(client.post(octets))


def test_refused_message_is_a_200_with_a_pkimessage(client: CmpClient) -> None:
    """cmp.md C5"""
    reply = ask(client, host="host.not-allowed.invalid")
    assert reply.http_status == 200
    assert (reply.body_name, reply.outcome) == ("ip", "badCertTemplate")


def test_body_over_the_limit_is_a_413(lab: CmpLab) -> None:
    """cmp.md C6: max_body_bytes 4096."""
    client = lab.client("small")
    assert ask(client).outcome == "accepted"
    reply = client.post(bytes(4097))
    assert reply.http_status == 413
    assert ask(client).outcome == "accepted"


def test_unknown_endpoint_is_a_404(lab: CmpLab) -> None:
    """cmp.md C7"""
    reply = lab.client("nowhere").post(b"\x30\x00")
    assert reply.http_status == 404


@pytest.mark.parametrize(
    "path", ["/p", "/p/", "/q/default", "/p/default/unknown", "/p/default/certification/x"]
)
def test_paths_without_meaning_are_a_404(client: CmpClient, path: str) -> None:
    """cmp.md C8"""
    assert client.post(b"\x30\x00", path=WELL_KNOWN + path).http_status == 404


@pytest.mark.parametrize("path", ["", "/p/default", "/initialization", "/p/default/initialization"])
def test_ir_is_taken_at_every_path_for_it(client: CmpClient, path: str) -> None:
    """cmp.md C8"""
    assert ask(client.having(path=WELL_KNOWN + path)).outcome == "accepted"


@pytest.mark.parametrize(
    ("operation", "name"), [("certification", "cr"), ("pkcs10", "p10cr"), ("initialization", "ir")]
)
def test_certificate_operations_take_their_own_bodies_only(
    client: CmpClient, operation: str, name: str
) -> None:
    """cmp.md C8, C9"""
    host = device_name("cmp")
    contents = {
        "cr": ir(pki.key(), host),
        "ir": ir(pki.key(), host),
        "p10cr": pki.device_csr(pki.key(), host),
    }
    for body, content in contents.items():
        reply = client.having(path=f"{WELL_KNOWN}/p/default/{operation}").send(body, content)
        assert reply.http_status == 200
        assert reply.outcome == ("accepted" if body == name else "badRequest"), body


@pytest.mark.parametrize(
    "operation", ["keyupdate", "revocation", "getcacerts", "getrootupdate", "getcertreqtemplate", "getcrls"]
)
def test_other_operations_do_not_take_an_ir(lab: CmpLab, operation: str) -> None:
    """cmp.md C9"""
    host = device_name("cmp")
    reply = ask(lab.client().having(path=f"{WELL_KNOWN}/p/default/{operation}"), host=host)
    assert (reply.http_status, reply.body_name, reply.outcome) == (200, "error", "badRequest")
    assert lab.states(host) in ([], ["refused"])


@pytest.mark.parametrize(
    ("operation", "asked", "answered"),
    [("getcacerts", 17, 17), ("getcertreqtemplate", 19, 19), ("getcrls", 22, 23)],
)
def test_support_messages_have_paths_of_their_own(
    client: CmpClient, operation: str, asked: int, answered: int
) -> None:
    """cmp.md C8"""
    value = None
    if operation == "getcrls":
        issuer = pki.tlv(0xA4, ask(client).certificate.issuer.public_bytes())
        value = pki.tlv(0x30, pki.tlv(0x30, pki.tlv(0xA1, pki.tlv(0x30, issuer))))
    oid = "1.3.6.1.5.5.7.4."
    at = client.having(path=f"{WELL_KNOWN}/p/default/{operation}")
    reply = at.send("genm", cmp_wire.infos(cmp_wire.info(f"{oid}{asked}", value)))
    assert reply.body_name == "genp"
    assert list(reply.general) == [f"{oid}{answered}"]


@pytest.mark.parametrize(
    "path", ["/ejbca/publicweb/cmp/default", "/pkix/", "/cmp", "/default/ir", "/.well-known/cmp/p/default/ir"]
)
def test_paths_of_other_products_and_of_coap_are_a_404(lab: CmpLab, path: str) -> None:
    """cmp.md C8, C10: aliases are not built; a message of whoever is set up for one gets nowhere."""
    host = device_name("cmp")
    message = lab.client().transaction().message("ir", ir(pki.key(), host))
    reply = lab.client().post(message, path=path)
    assert (reply.http_status, reply.is_message) == (404, False)
    assert lab.states(host) == []


def test_update_revocation_and_root_update_have_paths_of_their_own(lab: CmpLab) -> None:
    """cmp.md C8"""
    device = lab.device()
    client, old = lab.client(protection=Signed(device)), device.certificate
    named = cmp_bodies.template(issuer=old.issuer, serial=old.serial_number)
    for operation, name, content, answered in (
        ("keyupdate", "kur", ir(pki.key(), None, controls=[cmp_bodies.old_cert_id(old)]), "kup"),
        ("getrootupdate", "genm", cmp_wire.infos(cmp_wire.info("1.3.6.1.5.5.7.4.20")), "genp"),
        ("revocation", "rr", cmp_bodies.revocations(cmp_bodies.revocation(named)), "rp"),
    ):
        reply = client.having(path=f"{WELL_KNOWN}/p/default/{operation}").send(name, content)
        assert reply.body_name == answered, operation
        assert {one.status for one in reply.statuses} <= {"accepted"}, reply.statuses


def test_path_of_nested_messages_takes_nothing(lab: CmpLab) -> None:
    """cmp.md C8, C79: not built."""
    host = device_name("cmp")
    at = lab.client().having(path=f"{WELL_KNOWN}/p/default/nested")
    assert ask(at, host=host).outcome == "badRequest"
    inner = lab.client().transaction().message("ir", ir(pki.key(), host))
    assert at.send("nested", pki.tlv(0x30, inner)).outcome == "badRequest"
    assert "issued" not in lab.states(host)


@pytest.mark.parametrize(
    ("name", "content", "answered"),
    [("pollReq", cmp_bodies.poll_request(0), "pollRep"), ("error", cmp_bodies.error(), "pkiconf")],
)
def test_messages_that_go_on_are_taken_at_every_operation(
    lab: CmpLab, name: str, content: bytes, answered: str
) -> None:
    """cmp.md C9"""
    transaction = lab.client("approval").transaction()
    assert transaction.send("cr", ir(pki.key(), device_name("cmp"))).outcome == "waiting"
    path = f"{WELL_KNOWN}/p/approval/certification"
    assert transaction.send(name, content, path=path).body_name == answered


def test_certconf_is_taken_where_the_transaction_began(client: CmpClient) -> None:
    """cmp.md C9"""
    transaction, certificate = begun(client.having(path=WELL_KNOWN + "/initialization"))
    assert transaction.confirm(certificate).body_name == "pkiconf"


def test_http_1_0_client_gets_its_answer(lab: CmpLab) -> None:
    """cmp.md C11"""
    message = lab.client().transaction().message("ir", ir(pki.key(), device_name("cmp")))
    head = (
        f"POST {WELL_KNOWN} HTTP/1.0\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(message)}\r\n\r\n"
    )
    head_and_body = _raw(lab, head.encode() + message)
    status_line, _, rest = head_and_body.partition(b"\r\n")
    assert b" 200 " in status_line
    assert Reply(200, {}, rest.partition(b"\r\n\r\n")[2]).outcome == "accepted"


def test_chunked_request_is_taken(lab: CmpLab) -> None:
    """cmp.md C11"""
    message = lab.client().transaction().message("ir", ir(pki.key(), device_name("cmp")))
    split = urlsplit(lab.gateway.quickstart["http"])
    connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=60)
    pieces = (message[start : start + 100] for start in range(0, len(message), 100))
    connection.request("POST", WELL_KNOWN, pieces, {"Content-Type": MEDIA_TYPE}, encode_chunked=True)
    answer = connection.getresponse()
    assert Reply(answer.status, {}, answer.read()).outcome == "accepted"
    connection.close()


@pytest.mark.parametrize("name", ["ckuann", "cann", "rann", "crlann"])
def test_announcements_are_refused_with_bad_request(client: CmpClient, name: str) -> None:
    """cmp.md C13"""
    reply = client.send(name, cmp_bodies.announcement(cmp_bodies.TAGS[name]))
    assert (reply.http_status, reply.body_name, reply.outcome) == (200, "error", "badRequest")


def _with_long_length(message: bytes) -> bytes:
    return message[:1] + b"\x84" + (len(message) - 4).to_bytes(4, "big") + message[4:]


def _with_indefinite_length(message: bytes) -> bytes:
    return b"\x30\x80" + message[4:] + b"\x00\x00"


@pytest.mark.parametrize(
    "spoil",
    [lambda m: m + b"\x00", lambda m: m + m, _with_long_length, _with_indefinite_length, lambda m: m[:-1]],
    ids=["trailing-octet", "twice", "long-length", "indefinite-length", "cut"],
)
def test_encoding_that_is_not_der_is_a_400(lab: CmpLab, spoil: Callable[[bytes], bytes]) -> None:
    """cmp.md C14"""
    host = device_name("cmp")
    client = lab.client()
    message = client.transaction().message("ir", ir(pki.key(), host))
    assert message[1] == 0x82, "the length has two octets"
    _bad_format(client.post(spoil(message)))
    assert lab.states(host) == []


def test_tampered_and_random_octets_never_crash_the_server(lab: CmpLab) -> None:
    """cmp.md C86: neither a 5xx nor a certificate, and the server goes on."""
    chance = random.Random(86)
    clients = [lab.client(source=f"127.0.86.{number}", checked=False) for number in range(1, 41)]
    before = lab.certificate_count()
    message = clients[0].transaction().message("ir", ir(pki.key(), device_name("cmp")))
    for number in range(300):
        spoilt = bytearray(message)
        for _ in range(chance.randint(1, 4)):
            spoilt[chance.randrange(len(spoilt))] ^= chance.randrange(1, 256)
        octets = bytes(spoilt) if chance.random() < 0.8 else chance.randbytes(chance.randint(0, 2000))
        reply = clients[number % 40].post(octets)
        assert reply.http_status in (200, 400)
        assert reply.is_message
        assert reply.outcome not in ("accepted", "systemFailure")
    assert lab.certificate_count() == before
    assert ask(lab.client()).outcome == "accepted"


def test_openssl_reads_the_answer_to_octets_that_are_no_message(lab: CmpLab, tmp_path: Path) -> None:
    """cmp.md C4: the error of a 400 is a PKIMessage for others too."""
    (tmp_path / "answer.der").write_bytes(lab.client().post(b"hello").der)
    shown = run("openssl", "asn1parse", "-inform", "DER", "-in", "answer.der", cwd=tmp_path)
    assert b"cont [ 23 ]" in shown
