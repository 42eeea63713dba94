"""TLS and HTTP under EST (est.md C1, C2, C19, C22, C29, C30, C42, C56, C58 to C60; RFC 7030 section 3)."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import pki
from tests.support.answers import issued, refused
from tests.support.devices import device_name, enroll_device
from tests.support.est_client import GO, LIBEST, PKCS10, PLAIN, Answer, EstClient
from tests.support.gateway import Gateway


def _body(host: str) -> bytes:
    return pki.base64_lines(pki.device_csr(pki.key(), host))


def test_plain_http_is_refused_with_words(client: EstClient, gateway: Gateway) -> None:
    """est.md C1: the plain listener does not serve EST."""
    plain = client.having(url=gateway.quickstart["http"])
    for method in ("GET", "POST"):
        answer = plain.request(method, "/.well-known/est/cacerts")
        assert answer.status == 403, answer.text
        assert "https" in answer.text
    answer = plain.simple_enroll(pki.device_csr(pki.key(), device_name()))
    assert answer.status == 403
    assert b"MII" not in answer.body


def test_plain_http_on_the_tls_port_is_not_processed(client: EstClient) -> None:
    """est.md C1"""
    plain = client.having(url=client.url.replace("https://", "http://"))
    try:
        answer = plain.cacerts()
    except (ConnectionError, OSError):
        return
    assert answer.status >= 400


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_tls_is_refused_with_an_alert(client: EstClient, version: str) -> None:
    """est.md C2: alert 70, protocol_version."""
    old = client.having(style=replace(PLAIN, tls=version))
    with pytest.raises(ssl.SSLError) as caught:
        old.cacerts()
    assert "PROTOCOL_VERSION" in str(caught.value).upper()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls_of_today_is_served(client: EstClient, version: str) -> None:
    """est.md C2"""
    assert client.having(style=replace(PLAIN, tls=version)).cacerts().status == 200


def test_tls_session_is_never_resumed(client: EstClient) -> None:
    """est.md C19, 0.7: no ticket is given, so that no intermediate gets lost by resumption."""
    context = ssl.create_default_context(cafile=str(client.root_pem))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", client.port), timeout=60) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        session = tls.session
        assert session is None or not session.has_ticket
    with (
        socket.create_connection(("127.0.0.1", client.port), timeout=60) as sock,
        context.wrap_socket(sock, server_hostname="localhost", session=session) as tls,
    ):
        assert not tls.session_reused


@pytest.mark.parametrize(
    "header",
    ["Client-Cert", "X-SSL-Cert", "X-Forwarded-Client-Cert", "X-SSL-Client-DER"],
)
def test_client_certificate_header_of_a_stranger_counts_for_nothing(client: EstClient, header: str) -> None:
    """est.md C22: re-enrolment on a forged header is refused as one without certificate."""
    device = enroll_device(client)
    csr_der = pki.device_csr(device.private_key, "forged.test")
    value = ":" + pki.base64_lines(device.certificate_der, None, b"").decode() + ":"
    answer = client.having(user=None).simple_reenroll(csr_der, headers=[(header, value)])
    refused(answer, 403, "auth.missing")


def test_forwarded_address_of_a_stranger_is_not_believed(client: EstClient, gateway: Gateway) -> None:
    """est.md C22, B: the address in the record is the real TCP peer's."""
    answer = client.request("GET", client.path("cacerts"), headers=[("X-Forwarded-For", "203.0.113.77")])
    assert answer.status == 200
    request_id = answer.header("X-Request-Id") or "none"
    (line,) = (line for line in gateway.log_with(request_id).splitlines() if request_id in line)
    assert "203.0.113.77" not in line


def test_body_over_the_bound_by_content_length_is_413(client: EstClient) -> None:
    """est.md C29: refused before the body is sent."""
    with client.connection() as connection:
        head = connection.head(
            "POST", client.path("simpleenroll"), b"", client.basic, PKCS10, [("Content-Length", "70000")]
        )
        connection.channel.sendall(head)
        refused(connection.read_answer(), 413, "http.too-large")


def test_body_over_the_bound_in_chunks_is_413(client: EstClient) -> None:
    """est.md C29: while reading."""
    chunked = client.having(style=replace(GO, unauthenticated_first=False))
    answer = chunked.simple_enroll(b"", body=b"A" * 70_000)
    refused(answer, 413, "http.too-large")


def test_expect_continue_of_a_body_over_the_bound_gets_no_100(client: EstClient) -> None:
    """est.md C29"""
    expecting = client.having(style=replace(PLAIN, expect_continue=True))
    refused(expecting.simple_enroll(b"", body=b"A" * 70_000), 413, "http.too-large")


def test_expect_continue_of_a_good_body_is_answered(client: EstClient) -> None:
    """est.md C29, the other way round: curl waits for the 100."""
    expecting = client.having(style=replace(PLAIN, expect_continue=True))
    issued(expecting.simple_enroll(pki.device_csr(pki.key(), device_name())))


def test_content_length_larger_than_the_body_ends_by_timeout_or_close(client: EstClient) -> None:
    """est.md C30: the client stops in the middle and closes its side; nothing hangs, nothing is issued."""
    body = _body(device_name())
    with client.connection() as connection:
        length = str(len(body) + 100)
        head = connection.head(
            "POST", client.path("simpleenroll"), body, client.basic, PKCS10, [("Content-Length", length)]
        )
        connection.channel.sendall(head + body)
        connection.channel.close()
    assert client.cacerts().status == 200


def test_content_length_smaller_than_the_body_is_refused(client: EstClient) -> None:
    """est.md C30: the CSR is cut, and the rest is no request."""
    body = _body(device_name())
    with client.connection() as connection:
        head = connection.head(
            "POST", client.path("simpleenroll"), body, client.basic, PKCS10, [("Content-Length", "99")]
        )
        connection.channel.sendall(head + body)
        answer = connection.read_answer()
    assert answer.status == 400


def test_body_that_comes_too_slowly_is_408(client: EstClient) -> None:
    """est.md C30: a sender that stalls is answered and closed within the body deadline."""
    with client.having(timeout_s=200).connection() as connection:
        head = connection.head("POST", client.path("simpleenroll"), _body("a.test"), client.basic, PKCS10, [])
        connection.channel.sendall(head + b"M")
        began = time.monotonic()
        answer = connection.read_answer()
        assert answer.status == 408, answer.text
        assert time.monotonic() - began < 120  # the deadlines: 10 s without a byte, 30 s for all


def test_body_in_small_pieces_is_accepted(client: EstClient) -> None:
    """est.md C30, the other way round: slow, but moving."""
    answer = client.simple_enroll(pki.device_csr(pki.key(), device_name()), pause_s=0.05)
    issued(answer)


def test_silent_connection_is_closed(client: EstClient) -> None:
    """est.md C60: a handshake that never comes."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=200) as sock:
        began = time.monotonic()
        sock.sendall(b"\x16\x03\x01")
        while sock.recv(1024):
            continue
        assert time.monotonic() - began < 120  # the deadline: 10 s


def test_many_handshakes_at_once_are_answered_and_leak_nothing(client: EstClient, gateway: Gateway) -> None:
    """est.md C60: descriptors return to where they were."""
    client.cacerts()
    (pid,) = gateway.worker_pids
    before = _descriptors(pid)
    failures: list[Exception] = []

    def knock() -> None:
        for _ in range(10):
            try:
                assert client.having(timeout_s=120).cacerts().status == 200
            except (OSError, AssertionError) as exc:
                failures.append(exc)

    threads = [threading.Thread(target=knock) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    deadline = time.monotonic() + 60
    while _descriptors(pid) > before + 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _descriptors(pid) <= before + 5


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def test_http_1_0_is_answered(client: EstClient) -> None:
    """est.md C59"""
    old = client.having(style=replace(PLAIN, http_version="1.0"))
    assert old.cacerts().status == 200
    issued(old.simple_enroll(pki.device_csr(pki.key(), device_name())))


def test_response_headers_are_in_title_case_and_short(client: EstClient) -> None:
    """est.md 0.4, B: libest compares by case, strongSwan reads 1,024 bytes of header."""
    answer = client.having(style=LIBEST).simple_enroll(pki.device_csr(pki.key(), device_name()))
    names = [name for name, _ in answer.headers]
    assert {"Content-Type", "Content-Length"} <= set(names)
    assert all(part[:1].isupper() for name in names for part in name.split("-"))
    assert len(answer.head) < 1024


def test_every_answer_has_a_content_length(client: EstClient) -> None:
    """est.md B: strongSwan gives up without one."""
    answers: list[Answer] = [
        client.cacerts(),
        client.request("GET", client.path("nothing")),
        client.having(user=None).simple_enroll(pki.device_csr(pki.key(), "x.test")),
    ]
    for answer in answers:
        assert answer.header("Content-Length") == str(len(answer.body))


def test_error_is_short_plain_text_with_a_correlation_id(client: EstClient) -> None:
    """est.md C42"""
    answer = client.simple_enroll(b"", body=b"!")
    refused(answer, 400, "message.base64")
    assert client.password is not None
    assert client.password not in answer.text


def test_reload_keeps_open_connections(client: EstClient, gateway: Gateway) -> None:
    """est.md C56"""
    assert gateway.process is not None
    with client.connection() as connection:
        assert connection.request("GET", client.path("cacerts")).status == 200
        before = gateway.log.count("policy.reloaded")
        os.kill(gateway.process.pid, signal.SIGHUP)
        deadline = time.monotonic() + 60
        while gateway.log.count("policy.reloaded") == before:
            assert time.monotonic() < deadline, "no reload"
            time.sleep(0.05)
        assert connection.request("GET", client.path("cacerts")).status == 200
    assert client.cacerts().status == 200


_POST = b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: a\r\n"
_MALFORMED = {
    "blank": b"\r\n\r\n\r\n",
    "no-path": b"GET\r\n\r\n",
    "binary": b"\x00\x01\x02\r\n\r\n",
    "length-and-chunked": _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nAAAAAA",
    "negative-length": _POST + b"Content-Length: -1\r\n\r\n",
    "huge-header": _POST + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("octets", _MALFORMED.values(), ids=_MALFORMED)
def test_malformed_http_is_refused_without_harm(client: EstClient, gateway: Gateway, octets: bytes) -> None:
    """est.md C30, issue 2 "Bad input": 4xx or a closed connection, no 500, no trace of a crash."""
    try:
        answer = client.having(timeout_s=120).raw(octets)
        assert 400 <= answer.status < 500
    except (ConnectionError, OSError, ssl.SSLError):
        pass
    assert client.cacerts().status == 200
    assert "Traceback" not in gateway.log
