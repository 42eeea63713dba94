"""HTTP/1.1 on the wire: framing, bounds, deadlines, keep-alive (RFC 9110, RFC 9112)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import pytest

from gateway.http.listener import HttpLimits
from tests.unit.http.conftest import exchange, running

GET = b"GET /echo HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
CLOSE = b"Connection: close\r\n\r\n"


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer[9:12])


async def test_response_has_title_case_names_length_and_request_id() -> None:
    async with running() as up:
        answer = await exchange(up.port, b"GET /careless HTTP/1.1\r\nHost: a\r\n" + CLOSE)
    head = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
    names = [line.partition(b":")[0] for line in head[1:]]
    assert names == [
        b"Date",
        b"WWW-Authenticate",
        b"Content-Type",
        b"X-Request-Id",
        b"Content-Length",
        b"Connection",
    ]


async def test_application_response_gets_length_title_case_and_request_id() -> None:
    async with running() as up:
        answer = await exchange(up.port, b"GET /api/x HTTP/1.1\r\nHost: a\r\n" + CLOSE)
    assert b"\r\nContent-Type: text/plain\r\n" in answer
    assert b"\r\nContent-Length: 6\r\n" in answer
    assert b"\r\nX-Request-Id: " in answer
    assert answer.endswith(b"\r\n\r\n/api/x")


async def test_streamed_application_response_is_chunked() -> None:
    async with running() as up:
        answer = await exchange(up.port, b"GET /api/stream HTTP/1.1\r\nHost: a\r\n" + CLOSE)
    assert b"\r\nTransfer-Encoding: chunked\r\n" in answer
    assert answer.endswith(b"\r\n\r\n" + b"4\r\npart\r\n" * 3 + b"0\r\n\r\n")


async def test_streamed_response_to_http_1_0_ends_with_the_connection() -> None:
    async with running() as up:
        answer = await exchange(up.port, b"GET /api/stream HTTP/1.0\r\n\r\n")
    assert b"chunked" not in answer
    assert answer.endswith(b"\r\n\r\npartpartpart")


async def test_head_has_length_and_no_body() -> None:
    async with running() as up:
        answer = await exchange(up.port, b"HEAD /echo HTTP/1.1\r\nHost: a\r\n" + CLOSE)
    assert b"\r\nContent-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_pipelined_requests_are_answered_in_order() -> None:
    wire = b"".join(b"GET /tree/%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(20))
    async with running() as up:
        answer = await exchange(up.port, wire + GET + CLOSE)
    bodies = [part.partition(b"HTTP/1.1")[0] for part in answer.split(b"\r\n\r\n")[1:]]
    assert bodies == [b"/tree/%d" % n for n in range(20)] + [b"/echo"]


async def test_more_pipelined_requests_than_the_bound_are_refused() -> None:
    async with running() as up:
        answer = await exchange(up.port, (GET + b"\r\n") * 100)
    assert answer.count(b"HTTP/1.1 200") == 33
    assert answer.count(b"HTTP/1.1 400") == 1


async def test_malformed_request_after_a_good_one_is_answered_after_it() -> None:
    async with running() as up:
        answer = await exchange(up.port, GET + b"\r\nNONSENSE\r\n\r\n")
    assert answer.index(b"HTTP/1.1 200") < answer.index(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", b"Content-Length"),
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"Transfer-Encoding"),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", b"Transfer-Encoding"),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n", b"Transfer-Encoding"),
        (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", b"Transfer-Encoding"),
        (POST + b"Content-Length: +3\r\n\r\nabc", b"Content-Length"),
        (POST + b"X-A: b\r\n folded\r\nContent-Length: 0\r\n\r\n", b"whitespace"),
        (POST + b"X-A : b\r\nContent-Length: 0\r\n\r\n", b"header token"),
        (b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"HTTP/1.0"),
        (b"GET /echo HTTP/1.1\r\n\r\n", b"Host"),
        (b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"Host"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"target"),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.1 request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HTTP/1.1 request"),
    ],
)
async def test_ambiguous_or_malformed_request_is_refused_in_words(wire: bytes, words: bytes) -> None:
    async with running() as up:
        answer = await exchange(up.port, wire)
    assert status(answer) == 400
    assert words in answer.partition(b"\r\n\r\n")[2]
    assert b"Traceback" not in answer
    assert answer.count(b"HTTP/1.1") == 1 or b"HTTP/1.1 request" in answer
    assert not up.requests


async def test_malformed_chunk_is_refused_in_words() -> None:
    async with running() as up:
        answer = await exchange(up.port, POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert status(answer) == 400
    assert b"chunk size" in answer


async def test_smuggled_second_request_is_never_served() -> None:
    wire = POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET + b"\r\n"
    async with running() as up:
        answer = await exchange(up.port, wire)
    assert answer.count(b"HTTP/1.1 ") == 2  # one status line, and the words of the refusal
    assert not up.requests


async def test_trailer_fields_do_not_become_header_fields() -> None:
    wire = (
        POST
        + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nClient-Cert: :AA:\r\n\r\n"
    )
    async with running() as up:
        assert status(await exchange(up.port, wire)) == 200
    assert up.requests[0].header(b"client-cert") is None


@pytest.mark.parametrize("pieces", [1, 40])
async def test_header_over_the_cap_is_431(pieces: int) -> None:
    filler = b"".join(b"X-%d: %b\r\n" % (n, b"a" * 1000) for n in range(40))
    wire = GET + filler + CLOSE
    async with running() as up:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
        size = len(wire) // pieces + 1
        for start in range(0, len(wire), size):
            writer.write(wire[start : start + size])
            await asyncio.sleep(0)
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        await writer.wait_closed()
    assert status(answer) == 431


async def test_too_many_header_fields_are_431_and_a_long_target_414() -> None:
    async with running() as up:
        assert status(await exchange(up.port, GET + b"A: b\r\n" * 200 + CLOSE)) == 431
        assert status(await exchange(up.port, b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 9000))) == 414


async def test_declared_body_over_the_cap_is_413_before_it_is_read() -> None:
    async with running() as up:
        answer = await exchange(up.port, POST + b"Content-Length: 99999999\r\n\r\nabc")
    assert status(answer) == 413
    assert b"99999999" in answer
    assert b"Connection: close" in answer


async def test_chunked_body_over_the_cap_is_413_while_it_still_comes() -> None:
    chunk = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"
    async with running() as up:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            writer.write(chunk)
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert status(answer) == 413


async def test_chunked_body_of_mostly_framing_is_refused() -> None:
    extension = b"1;" + b"x" * 8000 + b"\r\na\r\n"
    async with running() as up:
        answer = await exchange(up.port, POST + b"Transfer-Encoding: chunked\r\n\r\n" + extension * 30)
    assert status(answer) == 400


async def test_expect_continue_is_answered_only_when_the_body_is_read() -> None:
    async with running() as up:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
        writer.write(POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert b" 200 " in await reader.readuntil(b"abc")
        writer.write(POST + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        await writer.wait_closed()
    assert status(answer) == 413
    assert b"100 Continue" not in answer


async def test_connection_is_kept_after_an_answer_that_did_not_want_the_body() -> None:
    async with running() as up:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
        writer.write(b"POST /careless HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"abc")
        assert b" 401 " in await reader.readuntil(b"\r\n\r\nno")
        writer.write(GET + CLOSE)
        assert status(await asyncio.wait_for(reader.read(), 60)) == 200
        writer.close()
        await writer.wait_closed()


async def test_half_closed_client_still_gets_its_answer() -> None:
    async with running() as up:
        asyncio.get_running_loop().call_later(0.2, up.gate.set)
        answer = await exchange(up.port, b"GET /gated HTTP/1.1\r\nHost: a\r\n\r\n", eof=True)
    assert answer.endswith(b"through")


async def test_client_that_leaves_in_mid_body_leaves_one_record_and_no_traceback() -> None:
    async with running() as up:
        _, writer = await asyncio.open_connection("127.0.0.1", up.port)
        writer.write(POST + b"Content-Length: 10\r\n\r\nabc")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.1)
    records = [json.loads(line) for line in up.log.getvalue().splitlines()]
    assert [(record["status"], record["code"]) for record in records] == [(499, "client-gone")]


# Each is 10 s or more by default.
FAST = HttpLimits(head_s=0.4, body_s=0.8, body_gap_s=0.4, keep_alive_s=0.5, linger_s=0.3)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"", None),
        (b"GET /echo HTTP/1.1\r\nHost:", 408),
        (POST + b"Content-Length: 10\r\n\r\nabc", 408),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab", 408),
    ],
)
async def test_silent_client_is_closed_in_time(start: bytes, expected: int | None) -> None:
    async with running(limits=FAST) as up:
        began = time.monotonic()
        answer = await exchange(up.port, start)
        took_s = time.monotonic() - began
    assert (status(answer) if answer else None) == expected
    assert took_s < 9


async def test_dripping_header_and_body_are_closed_in_time() -> None:
    async with running(limits=FAST) as up:
        for start in (b"GET /echo HTTP/1.1\r\nX: ", POST + b"Content-Length: 1000\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
            writer.write(start)
            reading = asyncio.create_task(reader.read())
            began = time.monotonic()
            while not reading.done() and time.monotonic() - began < 60:
                writer.write(b"a")
                await asyncio.sleep(0.05)
            assert status(await reading) == 408
            assert time.monotonic() - began < 9
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_idle_connection_is_closed_after_the_keep_alive_time() -> None:
    async with running(limits=FAST) as up:
        began = time.monotonic()
        answer = await exchange(up.port, GET + b"\r\n")
    assert answer.endswith(b"/echo")
    assert 0.4 < time.monotonic() - began < 60  # 75 s are the default


async def test_reader_who_takes_nothing_is_given_up() -> None:
    async def flood(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(400):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with running(limits=HttpLimits(write_s=0.5), app=flood) as up:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.port, limit=1024)
        writer.write(b"GET /api/flood HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(up.log.getvalue)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(400 * 65536)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_connections_over_the_cap_get_503() -> None:
    async with running(limits=HttpLimits(connections=3)) as up:
        kept = [await asyncio.open_connection("127.0.0.1", up.port) for _ in range(3)]
        await asyncio.sleep(0.05)
        answer = await exchange(up.port, GET + b"\r\n")
        for _, writer in kept:
            writer.close()
            await writer.wait_closed()
    assert status(answer) == 503
    assert b"\r\nRetry-After: 5\r\n" in answer


async def test_fault_of_ours_is_a_blank_500_with_the_request_id() -> None:
    async with running() as up:
        answer = await exchange(up.port, b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status(answer) == 500
    assert b"secret" not in answer
    assert b"Traceback" not in answer
    record = json.loads(up.log.getvalue())
    assert record["request_id"].encode() in answer.partition(b"\r\n\r\n")[2]


async def test_drain_answers_the_next_request_of_a_kept_connection_and_closes_it() -> None:
    async with running(limits=HttpLimits(drain_idle_s=60)) as up:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
        writer.write(GET + b"\r\n")
        assert b"Connection: close" not in await reader.readuntil(b"\r\n\r\n/echo")
        up.stop.set()
        await asyncio.sleep(0.3)
        writer.write(GET + b"\r\n")
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        await writer.wait_closed()
        await asyncio.wait_for(up.task, 60)
    assert status(answer) == 200
    assert b"Connection: close" in answer


async def test_drain_waits_for_the_request_under_way() -> None:
    async with running() as up:
        asking = asyncio.create_task(exchange(up.port, b"GET /gated HTTP/1.1\r\nHost: a\r\n\r\n"))
        await until(lambda: up.requests)
        up.stop.set()
        await asyncio.sleep(0.3)
        assert not up.task.done()
        up.gate.set()
        assert (await asking).endswith(b"through")
        await asyncio.wait_for(up.task, 60)


async def test_drain_that_takes_too_long_is_cut() -> None:
    async with running(drain_s=0.3) as up:
        asking = asyncio.create_task(exchange(up.port, b"GET /gated HTTP/1.1\r\nHost: a\r\n\r\n"))
        await until(lambda: up.requests)
        up.stop.set()
        await asyncio.wait_for(up.task, 60)
        await asyncio.gather(asking, return_exceptions=True)


async def test_connection_in_the_kernel_queue_is_served_while_draining() -> None:
    async with running() as up:
        # Connected and written within one turn of the loop, so that the server has not accepted it yet.
        import socket as sockets

        late = sockets.create_connection(("127.0.0.1", up.port))
        late.sendall(GET + b"\r\n")
        up.stop.set()
        answer = await asyncio.to_thread(_read_all, late)
    assert status(answer) == 200


def _read_all(sock: object) -> bytes:
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    sock.close()
    return b"".join(parts)
