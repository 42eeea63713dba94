"""Validations outlive the workers that do them (acme.md E13)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.jobs.runner import LEASE_S
from tests.support import acme_policies
from tests.support.acme_lab import endpoint, new_name, running_lab

PATIENCE_S = 60  # generous, and yet less than the lease of a worker that nobody knows to be dead


@pytest.mark.timeout(6 * PATIENCE_S)
def test_validation_goes_on_at_once_when_the_workers_that_do_it_are_killed(tmp_path: Path) -> None:
    """acme.md E13: what takes a dead worker's place knows that it is dead, and waits for no lease"""
    assert PATIENCE_S < LEASE_S
    docs = [
        endpoint("default", validation_timeout="30s", validation_attempts=10),
        acme_policies.acme_policy("default", priority=10),
    ]
    with running_lab(tmp_path, docs=docs) as lab:
        client = lab.account()
        order = client.ordered([new_name()])
        offered, gate = order.challenge(), threading.Event()
        lab.http.answer(offered["token"], client.key, gate=gate)
        client.post(offered["url"], {}).ok()

        def kill_worker() -> None:
            (pid,) = lab.gateway.worker_pids
            os.kill(pid, signal.SIGKILL)

        def kill_tree() -> None:
            lab.gateway.kill()
            lab.gateway.start()

        def looked(times: int) -> None:
            deadline = time.monotonic() + PATIENCE_S
            while lab.http.times_asked(offered["token"]) < times:
                assert time.monotonic() < deadline, f"look {times}: {lab.gateway.log[-3000:]}"
                time.sleep(0.05)

        # First the worker that took the answer looks, then one job after the other that nobody finishes.
        ends: tuple[Callable[[], None], ...] = (kill_worker, kill_worker, kill_tree)
        for times, end in enumerate(ends, 1):
            looked(times)
            end()
        looked(len(ends) + 1)
        gate.set()
        lab.close()
        client.nonce = None
        assert client.wait(order.document["authorizations"][0], seconds=PATIENCE_S)["status"] == "valid"
