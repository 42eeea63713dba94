"""Logging: structured lines on standard error, as JSON or for people (a terminal).

Lines are collected and handed to a writer thread every 100 ms, so that neither a request nor the event loop
ever waits for whoever reads our standard error. Control characters never reach a line unescaped.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, BinaryIO

import structlog

from gateway.json_writer import json_writer

FLUSH_S = 0.1
BACKLOG_BYTES = 8 * 1024 * 1024  # beyond that lines are dropped and counted
_URGENT = frozenset(("warning", "error", "critical"))

_ENCODE = json_writer(default=str)


class LogWriter:
    """Takes whole lines from any thread and writes them from a thread of its own."""

    def __init__(self, stream: BinaryIO, *, threaded: bool = True) -> None:
        self._stream = stream
        self._threaded = threaded
        self._lines: list[bytes] = []
        self._queued_bytes = 0
        self._dropped = 0
        self._chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None

    def line(self, text: str, *, urgent: bool = False) -> None:
        """Take one line without its newline. Urgent lines go out at once, the others with the next flush."""
        self._lines.append(text.encode("utf-8", "backslashreplace") + b"\n")
        if urgent or self._timer is None:
            self.flush()

    def flush(self) -> None:
        """Hand what is collected to the writer thread; waits for nothing."""
        with self._lock:
            lines, self._lines = self._lines, []
            if not lines:
                return
            if self._queued_bytes > BACKLOG_BYTES:
                self._dropped += len(lines)
                return
            chunk = b"".join(lines)
            if not self._threaded:
                self._put_out(chunk)
                return
            if self._dropped:
                chunk += json.dumps({"event": "log.dropped", "lines": self._dropped}).encode() + b"\n"
                self._dropped = 0
            self._queued_bytes += len(chunk)
            self._chunks.put(chunk)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
                self._thread.start()

    def _write(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._put_out(chunk)
            with self._lock:
                self._queued_bytes -= len(chunk)

    def _put_out(self, chunk: bytes) -> None:
        with suppress(OSError, ValueError):  # nobody reads our standard error any more: nothing to be done
            self._stream.write(chunk)
            self._stream.flush()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Collect lines from now on and flush them on this loop's timer."""
        self._timer = loop.call_later(FLUSH_S, self.start, loop)
        self.flush()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Write what is left; gives up after ``timeout_s`` if nobody reads."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()
        thread, self._thread = self._thread, None
        if thread is not None:
            self._chunks.put(None)
            thread.join(timeout_s)


Renderer = Callable[[MutableMapping[str, Any]], str]


def render_json(fields: MutableMapping[str, Any]) -> str:
    """One JSON object; everything outside printable ASCII is escaped."""
    return _ENCODE(fields)


def render_console(fields: MutableMapping[str, Any]) -> str:
    """A line for people: time, level, event, then ``key=value``."""
    moment = str(fields.pop("ts", ""))[11:23]
    level = str(fields.pop("level", "info"))
    event = printable(str(fields.pop("event", "")))
    trace = fields.pop("exception", None)
    pairs = " ".join(
        f"{key}={_console_value(value)}" for key, value in fields.items() if value not in ("", None)
    )
    line = f"{moment} {level:<7} {event:<28} {pairs}".rstrip()
    if trace:
        line += "".join("\n    " + printable(part) for part in str(trace).splitlines())
    return line


def _console_value(value: object) -> str:
    text = printable(str(value))
    return f'"{text}"' if " " in text else text


def printable(text: str) -> str:
    """The text with every character that is not printable escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class RequestLog:
    """Writes the one record of each request, past structlog's processors for speed."""

    def __init__(self, writer: LogWriter, render: Renderer) -> None:
        self._writer = writer
        self._render = render

    def record(self, fields: dict[str, Any]) -> None:
        fields["ts"] = timestamp(time.time())
        self._writer.line(self._render(fields))


def timestamp(epoch_s: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    second_s, rest_us = divmod(round(epoch_s * 1_000_000), 1_000_000)
    return f"{_second(second_s)}.{rest_us // 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(epoch_s: int) -> str:
    """Kept: a second has many lines."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat()[:19]


def configure_logging(
    *, level: str = "info", style: str = "auto", stream: BinaryIO | None = None, threaded: bool = True
) -> tuple[LogWriter, RequestLog]:
    """Send structlog's and the standard library's records to one writer. ``style``: json, console or auto.

    Called once per process, in workers after the fork; the supervisor, which must have no thread, says
    ``threaded=False``. Auto means console if standard error is a terminal.
    """
    target = stream if stream is not None else sys.stderr.buffer
    if style == "auto":
        style = "console" if target.isatty() else "json"
    render = render_console if style == "console" else render_json
    writer = LogWriter(target, threaded=threaded)

    def emit(_logger: Any, method: str, fields: MutableMapping[str, Any]) -> str:
        fields["ts"] = timestamp(time.time())
        fields["level"] = method
        writer.line(render(fields), urgent=method in _URGENT)
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info, emit],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _capture_standard_logging(writer, render, level)
    return writer, RequestLog(writer, render)


class _StandardHandler(logging.Handler):
    def __init__(self, writer: LogWriter, render: Renderer) -> None:
        super().__init__()
        self._writer = writer
        self._render = render

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {
            "event": record.getMessage(),
            "logger": record.name,
            "level": record.levelname.lower(),
            "ts": timestamp(record.created),
        }
        if record.exc_info:
            fields["exception"] = logging.Formatter().formatException(record.exc_info)
        self._writer.line(self._render(fields), urgent=fields["level"] in _URGENT)


def _capture_standard_logging(writer: LogWriter, render: Renderer, level: str) -> None:
    root = logging.getLogger()
    root.handlers = [_StandardHandler(writer, render)]
    root.setLevel(max(logging.getLevelName(level.upper()), logging.INFO))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(logging.WARNING)  # its start and stop lines say nothing that ours do not
