"""TLS at the edge: versions, client certificates, channel bindings, alerts, close (RFC 8446, 5929, 9266)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from gateway.http.listener import ClientCertificateMode, HttpLimits
from gateway.http.listeners import ListenerServer
from tests.unit.http.conftest import Pki, Running, client_context, exchange, make, running

GET = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
REQUEST = ClientCertificateMode.REQUEST
REQUIRE = ClientCertificateMode.REQUIRE
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [None, "client", "expired", "self_signed"])
async def test_any_client_certificate_reaches_the_route(
    pki: Pki, version: ssl.TLSVersion, name: str | None
) -> None:
    async with running(pki, mode=REQUEST) as up:
        answer = await exchange(up.port, GET, context=client_context(pki, name, version))
    assert answer.startswith(b"HTTP/1.1 200 ")
    peer = up.requests[0].tls
    assert peer is not None
    assert (peer.version, peer.server_name, peer.source) == (f"TLSv1.{version.name[-1]}", "localhost", "tls")
    assert peer.cipher
    expected = () if name is None else (getattr(pki, name).certificate, *getattr(pki, name).issuers)
    assert peer.chain_der == tuple(certificate.public_bytes(Encoding.DER) for certificate in expected)


async def test_mode_none_asks_for_no_certificate(pki: Pki) -> None:
    async with running(pki) as up:
        await exchange(up.port, GET, context=client_context(pki, "client"))
    assert up.requests[0].tls is not None
    assert up.requests[0].tls.chain_der == ()


async def test_tls_unique_is_equal_on_both_ends(pki: Pki) -> None:
    async with running(pki) as up:
        context = client_context(pki, version=ssl.TLSVersion.TLSv1_2)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", up.port, ssl=context, server_hostname="localhost"
        )
        writer.write(GET.replace(b"Connection: close\r\n", b""))
        await reader.readuntil(b"/echo")
        ours = writer.get_extra_info("ssl_object").get_channel_binding("tls-unique")
        peer = up.requests[0].tls
        assert peer is not None
        assert len(ours) == 12
        assert peer.binding("tls-unique") == ours
        assert peer.binding("tls-exporter") is None
        assert peer.binding("tls-server-end-point") is None
        writer.close()
        await writer.wait_closed()


async def test_tls_exporter_is_equal_on_both_ends(pki: Pki) -> None:
    def ask(port: int) -> bytes:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        with socket.create_connection(("127.0.0.1", port)) as sock:
            connection = SSL.Connection(context, sock)
            connection.set_connect_state()
            connection.do_handshake()
            connection.sendall(GET.replace(b"Connection: close\r\n", b""))
            while not connection.recv(4096).endswith(b"/echo"):
                pass
            bindings.append(up.requests[0].tls.binding("tls-exporter"))
            value = connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
            connection.shutdown()
            return value

    bindings: list[bytes | None] = []
    async with running(pki) as up:
        ours = await asyncio.to_thread(ask, up.port)
    assert len(ours) == 32
    assert bindings == [ours]
    assert up.requests[0].tls is not None


def openssl(port: int, *options: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-msg", *options],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return (done.stdout + done.stderr).decode("latin-1")


async def test_tls_1_1_gets_the_protocol_version_alert(pki: Pki) -> None:
    async with running(pki) as up:
        seen = await asyncio.to_thread(openssl, up.port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "alert number 70" in seen


@pytest.mark.parametrize("version", VERSIONS)
async def test_resumption_is_declined_and_the_client_chain_stays_whole(
    pki: Pki, version: ssl.TLSVersion
) -> None:
    context = client_context(pki, "client", version)

    def ask(port: int, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        sock = socket.create_connection(("127.0.0.1", port))
        with context.wrap_socket(sock, server_hostname="localhost", session=session) as tls:
            tls.sendall(GET)
            while tls.recv(4096):  # TLS 1.3 tickets come after the handshake
                pass
            return tls.session, tls.session_reused

    async with running(pki, mode=REQUEST) as up:
        session, _ = await asyncio.to_thread(ask, up.port, None)
        _, reused = await asyncio.to_thread(ask, up.port, session)
    assert reused is False
    assert [len(request.tls.chain_der) for request in up.requests] == [2, 2]


async def test_openssl_client_gets_close_notify(pki: Pki) -> None:
    async with running(pki) as up:
        seen = await asyncio.to_thread(openssl, up.port, "-ign_eof", stdin=GET)
    assert "/echo" in seen
    assert "close_notify" in seen
    assert "unexpected eof" not in seen


@pytest.mark.parametrize(
    ("name", "alert"), [("expired", "CERTIFICATE_EXPIRED"), ("self_signed", "UNKNOWN_CA"), (None, "REQUIRED")]
)
async def test_strict_listener_refuses_with_the_right_alert(pki: Pki, name: str | None, alert: str) -> None:
    root = pki.root.certificate.public_bytes(Encoding.DER)
    async with running(pki, mode=REQUIRE, roots=(root,)) as up:
        with pytest.raises(ssl.SSLError, match=alert):
            await exchange(up.port, GET, context=client_context(pki, name, ssl.TLSVersion.TLSv1_3))
        good = await exchange(up.port, GET, context=client_context(pki, "client"))
    assert good.startswith(b"HTTP/1.1 200 ")


async def test_required_certificate_of_any_issuer_reaches_the_route(pki: Pki) -> None:
    async with running(pki, mode=REQUIRE) as up:
        answer = await exchange(up.port, GET, context=client_context(pki, "self_signed"))
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_slow_handshake_is_closed_in_time(pki: Pki) -> None:
    async with running(pki, limits=HttpLimits(handshake_s=0.4)) as up:
        for start in (b"", b"\x16\x03\x01"):
            began = time.monotonic()
            with contextlib.suppress(ConnectionResetError):
                assert await exchange(up.port, start) == b""
            assert time.monotonic() - began < 9  # 10 s are the default


@pytest.mark.parametrize("version", VERSIONS)
async def test_large_bodies_pass_both_ways(pki: Pki, version: ssl.TLSVersion) -> None:
    body = os.urandom(90_000)
    wire = (
        b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    async with running(pki) as up:
        answer = await exchange(up.port, wire, context=client_context(pki, version=version))
    assert answer.partition(b"\r\n\r\n")[2] == body


async def test_head_and_body_leave_in_one_record(pki: Pki) -> None:
    async with running(pki) as up:
        seen = await asyncio.to_thread(openssl, up.port, "-tls1_2", "-ign_eof", "-debug", stdin=GET)
    answer = seen[seen.index("HTTP/1.1 200") :]
    assert answer.index("/echo") < answer.index("<<<")  # no further record between status line and body


async def test_refused_body_does_not_reset_the_answer_away(pki: Pki) -> None:
    wire = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n" + b"a" * 5_000_000

    def ask(port: int) -> bytes:
        sock = socket.create_connection(("127.0.0.1", port))
        with client_context(pki).wrap_socket(sock, server_hostname="localhost") as tls:
            with contextlib.suppress(OSError):
                tls.sendall(wire[:300_000])
            return tls.recv(4096)

    async with running(pki) as up:
        answer = await asyncio.to_thread(ask, up.port)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_slow_reader_of_a_large_answer_pauses_the_writer(pki: Pki) -> None:
    sizes: list[int] = []

    async def flood(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for sent in range(200):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sizes.append(sent)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def read_late(port: int) -> int:
        sock = socket.create_connection(("127.0.0.1", port))
        with client_context(pki).wrap_socket(sock, server_hostname="localhost") as tls:
            tls.sendall(b"GET /api/flood HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            time.sleep(0.5)
            seen.append(len(sizes))
            total = 0
            while part := tls.recv(65536):
                total += len(part)
            return total

    seen: list[int] = []
    async with running(pki, app=flood) as up:
        received = await asyncio.to_thread(read_late, up.port)
    assert seen[0] < 200  # it waited for the reader
    assert received > 200 * 65536


async def test_reload_changes_new_connections_and_keeps_the_old(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[ListenerServer] = []
    original = ListenerServer.startup

    async def remember(self: ListenerServer, sockets: object = None) -> None:
        servers.append(self)
        await original(self)

    monkeypatch.setattr(ListenerServer, "startup", remember)
    async with running(pki) as up:
        before = pki.server
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", up.port, ssl=client_context(pki), server_hostname="localhost"
        )
        try:
            object.__setattr__(pki, "server", make("localhost", pki.root))
            servers[0].reload()
            new = await _served_certificate(up, pki)
            writer.write(GET)
            kept = await reader.read()
            object.__setattr__(
                pki, "server", make("localhost", pki.root).__class__(before.certificate, pki.root.key)
            )
            servers[0].reload()  # key and certificate do not fit
            after_error = await _served_certificate(up, pki)
        finally:
            object.__setattr__(pki, "server", before)
            writer.close()
            await writer.wait_closed()
    assert kept.startswith(b"HTTP/1.1 200 ")
    assert new != before.certificate.public_bytes(Encoding.DER)
    assert after_error == new


async def _served_certificate(up: Running, pki: Pki) -> bytes:
    _, writer = await asyncio.open_connection(
        "127.0.0.1", up.port, ssl=client_context(pki), server_hostname="localhost"
    )
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return found


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_thousand_parallel_handshakes_leak_no_file_descriptor(pki: Pki) -> None:
    context = client_context(pki)

    async def shake(port: int) -> bytes:
        return await exchange(port, GET, context=context)

    patient = HttpLimits(handshake_s=200, head_s=200)  # client and server share one core of a busy machine
    async with running(pki, limits=patient) as up:
        await shake(up.port)
        before = open_files()
        answers = []
        for _ in range(4):
            answers += await asyncio.gather(*(shake(up.port) for _ in range(250)))
        for _ in range(3000):
            await asyncio.sleep(0.02)
            if open_files() <= before:
                break
        after = open_files()
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    assert after <= before


async def test_curl_is_answered_with_and_without_a_certificate(pki: Pki) -> None:
    def curl(port: int, *options: str) -> subprocess.CompletedProcess[bytes]:
        url = f"https://localhost:{port}/echo"
        return subprocess.run(
            ["curl", "-sS", "--noproxy", "*", "--cacert", str(pki.root_pem), *options, url],
            capture_output=True,
            timeout=60,
            check=False,
        )

    async with running(pki, mode=REQUEST) as up:
        plain = await asyncio.to_thread(curl, up.port)
        mutual = await asyncio.to_thread(
            curl, up.port, "--cert", str(pki.folder / "client.pem"), "--key", str(pki.folder / "client.key")
        )
        old = await asyncio.to_thread(curl, up.port, "--tls-max", "1.1")
    assert plain.stdout == mutual.stdout == b"/echo"
    assert len(up.requests[1].tls.chain_der) == 2
    assert old.returncode != 0


async def test_plain_http_on_a_tls_port_is_told_in_plain_text_that_it_speaks_https(pki: Pki) -> None:
    def curl(port: int) -> str:
        url = f"http://127.0.0.1:{port}/echo"
        done = subprocess.run(["curl", "-sS", "-i", "--noproxy", "*", url], capture_output=True, timeout=60)
        return (done.stdout + done.stderr).decode()

    async with running(pki) as up:
        seen = await asyncio.to_thread(curl, up.port)
    assert seen.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert "Connection: close\r\n" in seen
    assert seen.endswith(
        f"port {up.port} speaks https only, and this request came without TLS; "
        "begin its address with https://\n"
    )
    assert not up.requests


async def test_plain_http_with_a_large_body_still_gets_its_answer_and_is_closed_in_time(pki: Pki) -> None:
    async with running(pki) as up:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
        began = time.monotonic()
        writer.write(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n" + bytes(3_000_000))
        answer = await asyncio.wait_for(reader.read(), 60)
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 60:  # the sender never ends by himself
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        closed_s = time.monotonic() - began
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert closed_s < 30


@pytest.mark.parametrize(
    "wire", [b"SSH-2.0-x\r\n", b"GETAWAY", b"\x00\x01\x02\x03\x04\x05", b"get / HTTP/1.1\r\n"]
)
async def test_other_bytes_on_a_tls_port_get_no_http_answer(pki: Pki, wire: bytes) -> None:
    async with running(pki) as up:
        answer = await exchange(up.port, wire, eof=True)
    assert not answer.startswith(b"HTTP")
