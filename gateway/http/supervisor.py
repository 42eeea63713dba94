"""The supervisor: forks workers, restarts them, passes signals on and reaps (decisions: "Processes").

It runs before any thread, event loop or database engine exists and owns nothing but the listening sockets.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from gateway.errors import ConfigurationError, SecretUnavailable
from gateway.http.heartbeat import Heartbeats, show_threads_after

log = structlog.get_logger("gateway.http.supervisor")

RunWorker = Callable[[int, Callable[[], None]], int]

FAILED_STARTS = 5  # in a row, while no worker was ever ready
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
SHORT_LIFE_S = 1.0  # a worker that ends by itself sooner than this after being ready is paused for, too
SILENCE_S = 30.0  # a ready worker from whom nothing was heard for so long hangs, and is killed
LONGEST_CHECK_S = 5.0
EXIT_FAILED = 1
EXIT_WORKER_FAULT = 70
_REASON_BYTES = 2000
_PR_SET_PDEATHSIG = 1
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(slots=True)
class _Worker:
    """One running worker process."""

    slot: int
    pid: int
    ready_fd: int
    started_at: float
    ready_at: float | None = None
    reason: str = ""
    killed: bool = False  # by us


class Supervisor:
    """Runs ``worker_count`` workers until it is told to stop.

    ``run_worker(slot, ready)`` runs in a child and gives its exit code; it calls ``ready`` as soon as it
    accepts connections, and from then on once a second from its event loop, as a sign of life.
    ``on_all_ready`` is called once in the supervisor, when every worker was ready.
    """

    def __init__(
        self,
        worker_count: int,
        run_worker: RunWorker,
        *,
        sockets: Iterable[socket.socket] = (),
        on_all_ready: Callable[[], None] | None = None,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._worker_count = worker_count
        self._run_worker = run_worker
        self._sockets = tuple(sockets)
        self._on_all_ready = on_all_ready
        self._silence_s = silence_s
        self._check_s = min(silence_s / 6, LONGEST_CHECK_S)
        self._checked_at = self._awake_since = time.monotonic()
        self._beats = Heartbeats(worker_count)
        self._workers: dict[int, _Worker] = {}
        self._due: dict[int, float] = {}  # slot -> when it is to be forked
        self._ready_slots: set[int] = set()
        self._failed_starts = 0  # in a row
        self._short_lives = 0  # in a row, whether ready or not
        self._stopping = False
        self._exit_code = 0
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._wake_read, self._wake_write = socket.socketpair()

    def run(self) -> int:
        """Fork, watch, stop. Gives the exit code: 0 after a wanted stop, 1 if no worker can start."""
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        old_handlers = {number: signal.signal(number, _note) for number in (*_PASSED_ON, signal.SIGCHLD)}
        old_wakeup = signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # what exists now is shared by all workers and never worth a collector's visit
        try:
            self._due = dict.fromkeys(range(self._worker_count), 0.0)
            while self._workers or (self._due and not self._stopping):
                self._fork_due()
                self._wait()
                self._kill_silent()
                self._reap()
        finally:
            gc.unfreeze()
            signal.set_wakeup_fd(old_wakeup)
            for number, handler in old_handlers.items():
                signal.signal(number, handler)
            self._wake_read.close()
            self._wake_write.close()
            self._beats.close()
            self._close_sockets()
        return self._exit_code

    # Forking

    def _fork_due(self) -> None:
        now = time.monotonic()
        for slot, due_at in list(self._due.items()):
            if not self._stopping and due_at <= now:
                del self._due[slot]
                self._fork(slot)

    def _fork(self, slot: int) -> None:
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        parent = os.getpid()
        _flush_standard_streams()
        # Signals wait while the child still has our handlers, which would swallow them.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (*_PASSED_ON, signal.SIGCHLD))
        pid = os.fork()
        if pid == 0:
            code = EXIT_WORKER_FAULT
            try:
                os.close(read_fd)
                self._become_worker(parent, blocked)
                code = self._work(slot, write_fd)
            finally:
                _flush_standard_streams()
                os._exit(code)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(write_fd)
        self._workers[pid] = _Worker(slot, pid, read_fd, time.monotonic())

    def _become_worker(self, parent: int, blocked: set[signal.Signals | int]) -> None:
        signal.set_wakeup_fd(-1)
        for number in (*_PASSED_ON, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # A worker must not outlive its supervisor: it would hold the ports against the next one.
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(EXIT_WORKER_FAULT)
        self._wake_read.close()
        self._wake_write.close()
        for worker in self._workers.values():
            os.close(worker.ready_fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _work(self, slot: int, write_fd: int) -> int:
        told = False

        def ready() -> None:
            nonlocal told
            self._beats.beat(slot)
            show_threads_after(self._silence_s * 0.8)
            if not told:
                told = True
                os.write(write_fd, b"\0")

        try:
            code = self._run_worker(slot, ready)
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else EXIT_WORKER_FAULT
        except KeyboardInterrupt:
            return 0
        except (ConfigurationError, SecretUnavailable) as error:
            _tell(write_fd, str(error))
            return EXIT_WORKER_FAULT
        except BaseException as error:  # noqa: BLE001  # the last place of this process: tell, then end
            traceback.print_exc()
            _tell(write_fd, f"{type(error).__name__}: {error}")
            return EXIT_WORKER_FAULT
        os.close(write_fd)
        return code

    # Watching

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        by_fd = {worker.ready_fd: worker for worker in self._workers.values() if worker.ready_fd >= 0}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        for fd, _event in poll.poll(self._timeout_ms()):
            if fd == self._wake_read.fileno():
                self._take_signals()
            else:
                self._read_worker(by_fd[fd])

    def _timeout_ms(self) -> float:
        wait_s = self._check_s
        if self._due and not self._stopping:
            wait_s = min(wait_s, max(0.0, min(self._due.values()) - time.monotonic()))
        return wait_s * 1000 + 1

    def _kill_silent(self) -> None:
        """Kill workers whose event loop does not turn; also while stopping, since they would never drain."""
        now = time.monotonic()
        if now - self._checked_at > 2 * self._check_s + 1:
            self._awake_since = now  # we were stopped ourselves, and with us perhaps the whole machine
        self._checked_at = now
        for worker in self._workers.values():
            if worker.ready_at is None or worker.killed:
                continue
            silent_s = now - max(self._beats.last(worker.slot), worker.ready_at, self._awake_since)
            if silent_s > self._silence_s:
                worker.killed = True
                worker.reason = f"its event loop did not turn for {silent_s:.0f} s"
                log.error("worker.silent", slot=worker.slot, pid=worker.pid, silent_s=round(silent_s, 1))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)

    def _take_signals(self) -> None:
        try:
            numbers = self._wake_read.recv(4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop(signal.SIGKILL if self._stopping else signal.SIGTERM)
            elif number == signal.SIGHUP:
                self._signal_workers(signal.SIGHUP)

    def _stop(self, number: signal.Signals) -> None:
        self._stopping = True
        self._due.clear()
        self._close_sockets()  # the workers take what waits in the kernel's queue before they close theirs
        self._signal_workers(number)

    def _signal_workers(self, number: signal.Signals) -> None:
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _read_worker(self, worker: _Worker) -> None:
        try:
            said = os.read(worker.ready_fd, _REASON_BYTES)
        except BlockingIOError:
            return
        if not said:
            os.close(worker.ready_fd)
            worker.ready_fd = -1
            return
        if said.startswith(b"\0") and worker.ready_at is None:
            worker.ready_at = time.monotonic()
            self._failed_starts = 0
            self._worker_ready(worker)
        worker.reason += said.lstrip(b"\0").decode("utf-8", "replace")

    def _worker_ready(self, worker: _Worker) -> None:
        self._ready_slots.add(worker.slot)
        if len(self._ready_slots) == self._worker_count and self._on_all_ready is not None:
            on_all_ready, self._on_all_ready = self._on_all_ready, None
            on_all_ready()

    # Reaping

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is not None:
                self._ended(worker, status)

    def _ended(self, worker: _Worker, status: int) -> None:
        while worker.ready_fd >= 0:
            before = worker.ready_fd
            self._read_worker(worker)
            if worker.ready_fd == before and not worker.reason:
                os.close(worker.ready_fd)
                worker.ready_fd = -1
        if self._stopping:
            return
        now = time.monotonic()
        # A worker that somebody killed did nothing wrong; one that crashed (SIGSEGV) ended by itself.
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGTERM)
        how = (
            f"signal {os.WTERMSIG(status)}"
            if os.WIFSIGNALED(status)
            else f"exit code {os.waitstatus_to_exitcode(status)}"
        )
        early = worker.ready_at is None or now - worker.ready_at < SHORT_LIFE_S
        log.warning(
            "worker.ended",
            slot=worker.slot,
            pid=worker.pid,
            how=how,
            reason=worker.reason,
            was_ready=worker.ready_at is not None,
        )
        self._short_lives = 0 if killed or not early else self._short_lives + 1
        self._failed_starts += worker.ready_at is None and not killed
        # Once the service ran, its workers are tried for ever: what they miss (a database) may come back.
        if self._failed_starts >= FAILED_STARTS and not self._ready_slots:
            log.error("worker.cannot-start", tries=self._failed_starts, how=how, reason=worker.reason)
            self._exit_code = EXIT_FAILED
            self._stop(signal.SIGTERM)
            return
        pause_s = FIRST_PAUSE_S * 2 ** min(self._short_lives - 1, 10) if self._short_lives else 0.0
        self._due[worker.slot] = now + min(pause_s, LONGEST_PAUSE_S)

    def _close_sockets(self) -> None:
        for listening in self._sockets:
            listening.close()


def _note(_number: int, _frame: object) -> None:
    """Do nothing: the interpreter writes the signal's number into the wake-up socket."""


def _tell(write_fd: int, reason: str) -> None:
    os.write(write_fd, reason.encode()[:_REASON_BYTES])


def _flush_standard_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
