"""Log lines and metric files."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import structlog

from gateway.http.log import BACKLOG_BYTES, LogWriter, configure_logging, render_console, render_json


async def test_lines_wait_for_the_timer_and_urgent_ones_do_not() -> None:
    out = io.BytesIO()
    writer = LogWriter(out)
    writer.start(asyncio.get_running_loop())
    writer.line("calm")
    assert out.getvalue() == b""
    writer.line("urgent", urgent=True)
    for _ in range(10_000):
        if out.getvalue():
            break
        await asyncio.sleep(0.005)
    assert out.getvalue() == b"calm\nurgent\n"
    writer.line("last")
    writer.stop()
    assert out.getvalue().endswith(b"last\n")


async def test_reader_who_stopped_reading_never_blocks_the_loop_and_lines_are_dropped() -> None:
    read_fd, write_fd = os.pipe()
    with os.fdopen(write_fd, "wb", buffering=0) as pipe:
        writer = LogWriter(pipe)
        began = time.monotonic()
        line = "x" * 100_000
        for _ in range(3 * BACKLOG_BYTES // len(line)):
            writer.line(line, urgent=True)
        assert time.monotonic() - began < 30  # it would be for ever
        assert writer._dropped > 0
        drained = asyncio.create_task(asyncio.to_thread(_drain, read_fd))
        await asyncio.to_thread(writer.stop, 10)
    total = await drained
    assert total < 2 * BACKLOG_BYTES
    os.close(read_fd)


def _drain(fd: int) -> int:
    total = 0
    while part := os.read(fd, 1 << 20):
        total += len(part)
    return total


def test_structlog_and_standard_records_come_out_as_json_lines() -> None:
    out = io.BytesIO()
    writer, _ = configure_logging(style="json", stream=out, threaded=False)
    structlog.get_logger("a").warning("one", text="a\nb\x1b[2J\u2028")
    logging.getLogger("foreign").warning("two %s", "x\ny")
    structlog.get_logger("a").debug("hidden")
    writer.stop()
    lines = out.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["one", "two x\ny"]
    assert all(32 <= octet < 127 for line in lines for octet in line)


def test_exception_is_one_json_line_and_an_indented_block_for_people() -> None:
    out = io.BytesIO()
    configure_logging(style="json", stream=out, threaded=False)
    try:
        raise ValueError("why")
    except ValueError:
        structlog.get_logger("a").exception("fault")
    assert len(out.getvalue().splitlines()) == 1
    fields = json.loads(out.getvalue())
    assert "ValueError: why" in fields["exception"]
    assert "\n    ValueError: why" in render_console(fields)


def test_console_line_escapes_control_characters() -> None:
    line = render_console(
        {"event": "e", "level": "info", "ts": "2026-01-01T00:00:00.000Z", "a": "x\r\n\x1b[0m y"}
    )
    assert line.isprintable()
    assert '"x\\r\\n\\x1b[0m y"' in line


def test_json_renders_whatever_it_is_given() -> None:
    assert json.loads(render_json({"path": Path("/x")})) == {"path": "/x"}


WORKER = """
import sys
from pathlib import Path
from gateway.http.metrics import Metrics
from gateway.store.batch import BatchCounts
metrics = Metrics(Path(sys.argv[1]), int(sys.argv[2]))
metrics.request("est", "POST", 200, 0.01)
metrics.outcome("est", "issued")
counts = BatchCounts(transactions=2, units=8, replays=1)
metrics.recorder(5, counts)
counts.units += 2
counts.failures += 1
metrics.recorder(3, counts)
sys.stdout.write(metrics.exposition().decode())
"""


def test_metrics_of_a_replaced_worker_go_on_in_its_slot_and_slots_are_summed(tmp_path: Path) -> None:
    def work(slot: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", WORKER, str(tmp_path), str(slot)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    work(0)
    files = len(list(tmp_path.iterdir()))
    work(0)
    assert len(list(tmp_path.iterdir())) == files
    seen = work(1)
    assert 'pkigate_requests_total{method="POST",service="est",status="2xx"} 3.0' in seen
    assert 'pkigate_outcomes_total{code="",outcome="issued",protocol="est"} 3.0' in seen
    assert "pkigate_recorder_queue 6.0" in seen
    for total in ("units_total 30.0", "transactions_total 6.0", "replays_total 3.0", "failures_total 3.0"):
        assert f"pkigate_recorder_{total}\n" in seen
