"""``pkigate`` with one thing broken on purpose: the recorder answers before COMMIT.

The kill harness runs it as a control: a judge that does not find this out is worth nothing. This is no
switch of the product; the class is replaced in this process only, before the gateway is started.
"""

from __future__ import annotations

import asyncio

from gateway.cli.main import main
from gateway.store.recorder import Recorder
from gateway.store.unit import Unit

_commit_after_the_disk = Recorder.commit
_running: set[asyncio.Task[None]] = set()


async def _answer_at_once(self: Recorder, unit: Unit) -> None:
    task = asyncio.create_task(_commit_after_the_disk(self, unit))
    _running.add(task)
    task.add_done_callback(_forget)
    await asyncio.sleep(0)


def _forget(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()


if __name__ == "__main__":
    Recorder.commit = _answer_at_once  # type: ignore[method-assign]  # the sabotage
    main()
