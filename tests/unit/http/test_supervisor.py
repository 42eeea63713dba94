"""The supervisor with real processes: restarts, signals, drain, giving up."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.http.listener import ListenerSpec
from gateway.http.listeners import bind
from tests.unit.http.conftest import Pki, client_context, make

SCRIPT = Path(__file__).with_name("served.py")
ROOT = Path(__file__).parents[3]
GET = b"GET /pid HTTP/1.1\r\nHost: a\r\n\r\n"
HANG_S = 60  # how long /hang of ``served.py`` holds the event loop


class Service:
    """The process of ``served.py``."""

    def __init__(self, folder: Path, mode: str, workers: int, *tls: Path) -> None:
        self.out = folder / "port"
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "error",
                    str(SCRIPT),
                    mode,
                    str(workers),
                    str(self.out),
                    *map(str, tls),
                ],
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONASYNCIODEBUG": "1"},
            )

    def port(self) -> int:
        wait_until(self.out.exists)
        return int(self.out.read_text())

    def events(self) -> list[str]:
        return [
            json.loads(line)["event"] for line in self.log.read_text().splitlines() if line.startswith("{")
        ]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def service(folder: Path, mode: str = "good", workers: int = 2, *tls: Path) -> Iterator[Service]:
    started = Service(folder, mode, workers, *tls)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait()


def wait_until(condition: object, timeout_s: float = 60) -> None:
    ends_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_at, "waited in vain"
        time.sleep(0.005)


def ask(port: int, path: bytes = b"/pid") -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts).partition(b"\r\n\r\n")[2]


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_killed_worker_is_replaced_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with service(tmp_path, workers=1) as up:
        port = up.port()
        times = []
        for _ in range(8):  # more often than a worker that cannot start is tried
            old = int(ask(port))
            began = time.monotonic()
            os.kill(old, signal.SIGKILL)
            wait_until(lambda old=old: not alive(old))
            assert int(ask(port)) != old  # the kernel's queue holds the connection meanwhile
            times.append(time.monotonic() - began)
        assert up.stop() == 0
    assert up.events().count("worker.ended") == 8
    with capsys.disabled():
        print(f"\n  killed worker answered for again after {1000 * sorted(times)[4]:.0f} ms (median of 8)")


def test_terminated_service_exits_with_zero_and_frees_its_port(tmp_path: Path) -> None:
    with service(tmp_path) as up:
        port = up.port()
        workers = {int(ask(port)) for _ in range(30)}
        assert up.stop() == 0
    assert not any(alive(pid) for pid in workers)
    bind(ListenerSpec("main", "127.0.0.1", port, frozenset())).close()


def test_drain_under_load_loses_no_request(tmp_path: Path) -> None:
    failures: list[str] = []
    answered = [0]

    def hammer(port: int) -> None:
        while True:
            try:
                sock = socket.create_connection(("127.0.0.1", port), timeout=60)
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                continue
            with sock:
                if not _talk(sock):
                    return

    def _talk(sock: socket.socket) -> bool:
        sent = 0
        try:
            while True:
                sock.sendall(GET)
                sent += 1
                answer = b""
                while b"\r\n\r\n" not in answer or answer.endswith(b"\r\n\r\n"):
                    part = sock.recv(65536)
                    if not part:
                        failures.append(f"closed without an answer to request {sent}")
                        return True
                    answer += part
                answered[0] += 1
                if b"Connection: close" in answer:
                    return True
        except OSError as error:
            failures.append(f"{error} at request {sent}")
            return True

    with service(tmp_path) as up:
        port = up.port()
        threads = [threading.Thread(target=hammer, args=(port,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: answered[0] > 100)
        assert up.stop() == 0
        for thread in threads:
            thread.join(60)
    assert failures == []


def test_drain_waits_for_the_slow_request(tmp_path: Path) -> None:
    with service(tmp_path, workers=1) as up:
        port = up.port()
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda: answers.append(ask(port, b"/slow")))
        asking.start()
        wait_until(lambda: "slow.begun" in up.events())
        assert up.stop() == 0
        asking.join()
    assert answers == [b"slow"]


def test_second_signal_ends_the_drain(tmp_path: Path) -> None:
    with service(tmp_path, workers=1) as up:
        port = up.port()
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"POST /pid HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
            time.sleep(0.2)
            up.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert up.process.poll() is None
            began = time.monotonic()
            assert up.stop(signal.SIGINT) == 0
            assert time.monotonic() - began < 8  # and not when the body is given up, after ten


def test_workers_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    with service(tmp_path) as up:
        port = up.port()
        workers = {int(ask(port)) for _ in range(30)}
        up.process.kill()
        up.process.wait()
        wait_until(lambda: not any(alive(pid) for pid in workers))


def test_workers_that_cannot_start_end_the_service_with_the_reason(tmp_path: Path) -> None:
    with service(tmp_path, "broken", 1) as up:
        assert up.process.wait(60) == 1
    assert not up.out.exists()
    assert up.events().count("worker.cannot-start") == 1
    assert "pkigate.yaml:3:1: no such thing; write another" in up.log.read_text()
    assert "Traceback" not in up.log.read_text()


def test_workers_that_die_soon_after_being_ready_are_not_restarted_for_ever(tmp_path: Path) -> None:
    with service(tmp_path, "dying", 1) as up:
        began = time.monotonic()
        time.sleep(1.5)
        up.process.terminate()
        up.process.wait(60)
        lived_s = time.monotonic() - began
    assert up.events().count("worker.ended") <= 5 + lived_s


def hang(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.sendall(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
    return sock


def test_worker_whose_event_loop_hangs_is_killed_told_of_and_replaced(tmp_path: Path) -> None:
    with service(tmp_path, "watched", 1) as up:
        port = up.port()
        old = int(ask(port))
        time.sleep(4)  # an idle worker is not a silent one
        assert int(ask(port)) == old
        began = time.monotonic()
        with hang(port):
            wait_until(lambda: not alive(old))
            assert 1 < time.monotonic() - began < HANG_S
            assert int(ask(port)) != old
        assert up.stop() == 0
    assert up.events().count("worker.silent") == 1
    assert "its event loop did not turn for" in up.log.read_text()
    assert "served.py" in up.log.read_text()  # the stack says where it hung
    assert "in hang" in up.log.read_text()


def test_worker_that_hangs_while_stopping_does_not_hold_the_service_up(tmp_path: Path) -> None:
    with service(tmp_path, "watched", 1) as up, hang(up.port()):
        time.sleep(0.3)
        began = time.monotonic()
        assert up.stop() == 0
        assert time.monotonic() - began < HANG_S


def test_draining_worker_is_not_taken_for_a_silent_one(tmp_path: Path) -> None:
    with service(tmp_path, "watched", 1) as up:
        with socket.create_connection(("127.0.0.1", up.port())) as sock:
            sock.sendall(b"POST /pid HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
            time.sleep(0.2)
            up.process.send_signal(signal.SIGTERM)
            time.sleep(4)
            sock.sendall(b"b")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert up.process.wait(60) == 0
    assert "worker.silent" not in up.events()


def test_service_that_was_paused_as_a_whole_keeps_its_workers(tmp_path: Path) -> None:
    with service(tmp_path, "watched", 1) as up:
        port = up.port()
        worker = int(ask(port))
        processes = (up.process.pid, worker)
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(4)
        os.kill(up.process.pid, signal.SIGCONT)  # the supervisor looks before the worker can beat
        time.sleep(0.3)
        os.kill(worker, signal.SIGCONT)
        time.sleep(1)
        assert int(ask(port)) == worker
        assert up.stop() == 0
    assert "worker.silent" not in up.events()


def test_hangup_reloads_the_certificate_and_keeps_connections(tmp_path: Path, pki: Pki) -> None:
    certificate, key = pki.server.write(tmp_path, "tls")
    with service(tmp_path, "good", 1, certificate, key) as up:
        port = up.port()
        context = client_context(pki)
        kept = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
        before = kept.getpeercert(binary_form=True)
        make("localhost", pki.root).write(tmp_path, "new")
        shutil.copy(tmp_path / "new.key", key)
        shutil.copy(tmp_path / "new.pem", certificate)
        up.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "tls.reloaded" in up.events())
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", port)), server_hostname="localhost"
        ) as new:
            assert new.getpeercert(binary_form=True) != before
        kept.sendall(GET)
        assert kept.recv(4096).startswith(b"HTTP/1.1 200 ")
        kept.close()
        certificate.write_text("rubbish")
        up.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "tls.reload-failed" in up.events())
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", port)), server_hostname="localhost"
        ) as still:
            assert isinstance(still, ssl.SSLSocket)
        assert up.stop() == 0


def test_port_in_use_is_said_in_words_with_the_option() -> None:
    spec = ListenerSpec("https", "127.0.0.1", 0, frozenset(), flag="--https-port")
    with bind(spec) as sock:
        port = sock.getsockname()[1]
        taken = ListenerSpec("https", "127.0.0.1", port, frozenset(), flag="--https-port")
        with pytest.raises(ConfigurationError) as caught:
            bind(taken)
    assert str(caught.value) == f"port {port} is in use by another program; choose another with --https-port"


def test_foreign_address_is_said_in_words() -> None:
    with pytest.raises(ConfigurationError, match=r"no address 203\.0\.113\.1"):
        bind(ListenerSpec("https", "203.0.113.1", 0, frozenset()))
