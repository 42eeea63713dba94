"""A gateway ends in time, and goes on where it was, whatever it validates (acme.md E11, E13)."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.support import acme_policies
from tests.support.acme_lab import endpoint, new_name, running_lab

DRAIN_S = 20  # less than what a look may take


def test_validation_by_a_job_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """acme.md E13: SIGTERM while a job looks at a tarpit; after the start the look is done again"""
    docs = [
        endpoint("default", validation_timeout="30s"),
        acme_policies.acme_policy("default", priority=10),
    ]
    with running_lab(tmp_path, docs=docs, config={"drain_timeout": DRAIN_S}) as lab:
        client = lab.account()
        order = client.ordered([new_name()])
        offered, gate = order.challenge(), threading.Event()
        lab.http.answer(offered["token"], client.key, gate=gate)
        client.post(offered["url"], {}).ok()
        # Killed, so that it is a job that looks in the next run.
        for times, end in enumerate((lab.gateway.kill, lab.gateway.stop), 1):
            deadline = time.monotonic() + 100
            while lab.http.times_asked(offered["token"]) < times:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            began = time.monotonic()
            end()
            assert time.monotonic() - began < DRAIN_S
            lab.gateway.start()
        gate.set()
        lab.close()
        client.nonce = None
        assert client.wait(order.document["authorizations"][0])["status"] == "valid"
