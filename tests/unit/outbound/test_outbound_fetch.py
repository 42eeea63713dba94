"""The fetcher against real sockets: requests, redirects, bounds, and answers that are wrong (acme.md C80)."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvloop

from gateway.outbound.faults import ConnectFault, HttpFault, OutboundFault, TlsFault
from gateway.outbound.http_fetch import MAX_BODY_BYTES, Fetched
from gateway.outbound.network import Network, NetworkSettings
from tests.support.acme_responders import validation_certificate
from tests.support.dns_server import dns_server
from tests.unit.outbound.listener import Listener, listening, ok, redirect

LAB = ("test",)


def network_to(listener: Listener, tls_port: int = 443) -> Network:
    return Network(NetworkSettings((), listener.port, tls_port, allow_loopback=True, loopback_suffixes=LAB))


async def fetch(listener: Listener, url: str = "http://a.test/x", timeout_s: float = 3) -> Fetched:
    return await network_to(listener).fetch(url, allowed=(), timeout_s=timeout_s)


async def test_request_is_what_http_wants_and_no_more() -> None:
    """acme.md C80: path exact, Host as given."""
    with listening() as listener:
        fetched = await fetch(listener, "http://a.test/.well-known/acme-challenge/tok_en-1?q=1")
        assert (fetched.status, fetched.body, fetched.whole) == (200, b"hello", True)
    lines = listener.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /.well-known/acme-challenge/tok_en-1?q=1 HTTP/1.1"
    assert sorted(line.partition(":")[0].lower() for line in lines[1:] if line) == [
        "accept",
        "connection",
        "host",
        "user-agent",
    ]
    assert "Host: a.test" in lines
    assert "Connection: close" in lines
    assert fetched.hops[0].peer == f"127.0.0.1:{listener.port}"


async def test_ipv6_literal_stands_in_brackets_in_host() -> None:
    """acme.md B8, C80."""
    with listening() as listener:
        await fetch(listener, "http://[::1]/x")
        assert b"\r\nHost: [::1]\r\n" in listener.requests[0]
        assert listener.hits == ["::1"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed(status: int) -> None:
    """acme.md C80."""

    def answer(_request: bytes, number: int) -> bytes:
        return redirect(b"http://b.test/elsewhere?x=1#part", status) if number == 0 else ok()

    with listening(answer) as listener:
        fetched = await fetch(listener)
    assert [hop.url for hop in fetched.hops] == ["http://a.test/x", "http://b.test/elsewhere?x=1"]
    assert b"GET /elsewhere?x=1 HTTP/1.1\r\nHost: b.test\r\n" in listener.requests[1]


@pytest.mark.parametrize("status", [300, 304, 305, 306])
async def test_other_3xx_are_final_answers(status: int) -> None:
    with listening(lambda _request, _number: redirect(b"http://b.test/", status)) as listener:
        assert (await fetch(listener)).status == status
    assert len(listener.hits) == 1


async def test_relative_location_is_taken_from_the_url_of_the_hop() -> None:
    def answer(_request: bytes, number: int) -> bytes:
        return redirect(b"../y?z") if number == 0 else ok()

    with listening(answer) as listener:
        fetched = await fetch(listener, "http://a.test/p/q/x")
    assert fetched.hops[-1].url == "http://a.test/p/y?z"


@pytest.mark.parametrize("length", [10, 11])
async def test_ten_redirects_are_followed_and_no_more(length: int) -> None:
    """acme.md C80."""

    def answer(_request: bytes, number: int) -> bytes:
        return redirect(b"/%d" % number) if number < length else ok()

    with listening(answer) as listener:
        if length == 10:
            assert (await fetch(listener)).status == 200
        else:
            with pytest.raises(HttpFault, match="more than 10 redirects"):
                await fetch(listener)
    assert len(listener.hits) == 11


async def test_redirect_in_a_circle_is_given_up() -> None:
    def answer(request: bytes, _number: int) -> bytes:
        return redirect(b"/y" if b"GET /x " in request else b"/x")

    with listening(answer) as listener, pytest.raises(HttpFault, match="circle"):
        await fetch(listener)
    assert len(listener.hits) == 2


@pytest.mark.parametrize(
    "location",
    [
        *(b"http://a.test:8080/", b"https://a.test:22/", b"ftp://a.test/", b"file:///etc/passwd"),
        *(b"gopher://a.test/", b"javascript:1", b"http://user:pw@a.test/", b"http:///x", b"http://"),
        *(b"http://a.test:99999/", b"http://a.test:/x:1", b"http://a.test/\\x", b"http://a.test/ x"),
        *(b"", b"http://a.test/\xc3\xa4", b"http://[::1/", b"http://" + b"a" * 3000 + b".test/"),
    ],
)
async def test_redirect_to_another_port_scheme_or_no_url_is_refused(location: bytes) -> None:
    """acme.md C80: http and https on 80 and 443 only."""
    with listening(lambda _request, _number: redirect(location)) as listener:
        with pytest.raises(HttpFault) as caught:
            await fetch(listener)
        assert not caught.value.passing
    assert len(listener.hits) == 1


async def test_redirect_without_location_is_refused() -> None:
    with (
        listening(lambda _request, _number: b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n") as listener,
        pytest.raises(HttpFault, match="without saying where"),
    ):
        await fetch(listener)


async def test_long_body_is_read_in_part_only() -> None:
    """acme.md C80: a body without end does not keep the validator."""
    with listening(lambda _request, _number: ok(b"x" * 5_000_000)) as listener:
        fetched = await fetch(listener)
    assert (len(fetched.body), fetched.whole) == (MAX_BODY_BYTES, False)


async def test_chunked_body_is_put_together() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with listening(lambda _request, _number: answer) as listener:
        assert (await fetch(listener)).body == b"abcde"


async def test_body_that_ends_with_the_connection_is_whole() -> None:
    with listening(lambda _request, _number: b"HTTP/1.0 200 OK\r\n\r\nabc") as listener:
        assert (await fetch(listener)).body == b"abc"


async def test_interim_answers_are_passed_over() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok(b"abc")
    with listening(lambda _request, _number: answer) as listener:
        assert (await fetch(listener)).body == b"abc"


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
        *(b"\x00" * 2000, b"HTTP/1.1 200 OK\r\n" + b"X: %s\r\n" % (b"y" * 100_000) + b"\r\n"),
        *(
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        ),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    ],
)
async def test_answer_that_is_no_http_is_a_fault_that_does_not_show_it(answer: bytes) -> None:
    """acme.md E1: the text never holds what came back."""
    with listening(lambda _request, _number: answer) as listener:
        with pytest.raises(HttpFault) as caught:
            await fetch(listener)
        assert "SSH" not in str(caught.value)
        assert "abc" not in str(caught.value)


async def test_nobody_there_is_a_connection_fault_that_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    network = Network(NetworkSettings((), port, 443, allow_loopback=True))
    with pytest.raises(ConnectFault, match=f"127.0.0.1:{port}: connection refused") as caught:
        await network.fetch("http://127.0.0.1/", allowed=(), timeout_s=30)
    assert caught.value.passing


async def test_silent_server_is_left_at_the_deadline() -> None:
    hold = threading.Event()

    def answer(_request: bytes, _number: int) -> bytes:
        hold.wait(60)
        return ok()

    with listening(answer) as listener:
        begun = time.monotonic()
        with pytest.raises(ConnectFault, match="in time"):
            await fetch(listener, timeout_s=0.3)
        assert time.monotonic() - begun < 20
        hold.set()


async def test_server_that_drips_is_left_at_the_deadline() -> None:
    """acme.md C80: the time is for all hops together."""

    def answer(_request: bytes, number: int) -> bytes:
        time.sleep(0.2)
        return redirect(b"/%d" % number)

    with listening(answer) as listener:
        with pytest.raises(ConnectFault, match="in time"):
            await fetch(listener, timeout_s=0.5)
        assert len(listener.hits) <= 3


async def test_address_that_refuses_is_followed_by_the_next() -> None:
    with listening(ipv4_only=True) as listener, dns_server() as server:
        server.put("both.example", "A", "127.0.0.1")
        server.put("both.example", "AAAA", "::1")
        network = Network(NetworkSettings((server.address,), listener.port, 443, allow_loopback=True))
        fetched = await network.fetch("http://both.example/", allowed=(), timeout_s=30)
    assert fetched.hops[0].peer == f"127.0.0.1:{listener.port}"


async def test_address_that_never_answers_leaves_time_for_the_next() -> None:
    """The first one's queue of connections is full: the kernel drops what comes."""
    with listening(ipv4_only=True) as listener, dns_server() as server, ExitStack() as full:
        deaf = full.enter_context(
            socket.create_server(("::1", listener.port), family=socket.AF_INET6, backlog=0)
        )
        for _ in range(4):
            filler = full.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname()[:2])
        server.put("both.example", "A", "127.0.0.1")
        server.put("both.example", "AAAA", "::1")
        network = Network(NetworkSettings((server.address,), listener.port, 443, allow_loopback=True))
        fetched = await network.fetch("http://both.example/", allowed=(), timeout_s=6)
    assert fetched.hops[0].peer == f"127.0.0.1:{listener.port}"


@contextmanager
def tls_listener(directory: Path, answer: bytes) -> Iterator[tuple[int, list[str]]]:
    """HTTPS with a certificate that nobody trusts; gives its port and the server names it was asked for."""
    pem = directory / "server.pem"
    pem.write_bytes(b"".join(reversed(validation_certificate("wrong.example", b"", extension=False))))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    names: list[str] = []
    context.sni_callback = lambda _tls, name, _context: names.append(name or "")

    def serve() -> None:
        connection, _ = server.accept()
        with connection, context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], names
        thread.join(60)


async def test_https_hop_is_followed_whatever_its_certificate(tmp_path: Path) -> None:
    """acme.md C80: the certificate of a https hop is not verified (RFC 8555 section 8.3)."""
    with (
        listening(lambda _request, _number: redirect(b"https://a.test/x")) as listener,
        tls_listener(tmp_path, ok(b"proof")) as (port, names),
    ):
        fetched = await network_to(listener, port).fetch("http://a.test/x", allowed=(), timeout_s=30)
    assert (fetched.body, names) == (b"proof", ["a.test"])
    assert fetched.hops[1].peer == f"127.0.0.1:{port}"


async def test_https_hop_to_a_server_without_tls_is_a_tls_fault() -> None:
    with (
        listening(lambda _request, _number: redirect(b"https://a.test/x")) as listener,
        pytest.raises((TlsFault, ConnectFault)),
    ):
        await network_to(listener, listener.port).fetch("http://a.test/x", allowed=(), timeout_s=1)


def test_fetches_run_on_uvloop_too() -> None:
    async def many() -> list[Fetched | OutboundFault | BaseException]:
        with listening() as listener:
            network = network_to(listener)
            return await asyncio.gather(
                *(network.fetch("http://a.test/x", allowed=(), timeout_s=30) for _ in range(20)),
                network.fetch("http://10.0.0.1/", allowed=(), timeout_s=30),
                return_exceptions=True,
            )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(many())
    assert [one.status for one in results if isinstance(one, Fetched)] == [200] * 20
    assert isinstance(results[-1], OutboundFault)
