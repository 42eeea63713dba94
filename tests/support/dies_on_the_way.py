"""``pkigate`` that kills its whole process tree (SIGKILL) once, at the place that ``DIE_AT`` names.

``issue``: the embedded CA has signed, nothing of that is recorded. ``answer``: the CA that the file
``DIE_WHILE`` names has answered, its answer is not recorded. ``commit``: the certificate is recorded, the
answer is not yet written. It happens while that file exists, which goes away with it. This is no switch of
the product; methods are replaced in this process only, before the gateway is started.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from ca_backend.api import CaAnswer
from ca_backend.embedded.backend import EmbeddedBackend
from gateway.cli.main import main
from gateway.enrolment.closing import Closing, Work
from gateway.model.outcome import Outcome
from gateway.store.recorder import Recorder
from gateway.store.unit import Unit

_issue, _close, _commit = EmbeddedBackend.issue, Closing.close, Recorder.commit
_armed = Path(os.environ["DIE_WHILE"])


def _die() -> None:
    """Kill everybody at once, as a power failure does."""
    _armed.unlink()
    os.killpg(os.getpgid(0), signal.SIGKILL)


async def _issue_and_die(self: EmbeddedBackend, *arguments: Any, **named: Any) -> Any:
    issued = await _issue(self, *arguments, **named)
    if _armed.exists():
        _die()
    return issued


async def _die_and_close(self: Closing, work: Work, answer: CaAnswer) -> Outcome:
    if _armed.exists() and _armed.read_text() == work.backend:
        _die()
    return await _close(self, work, answer)


async def _commit_and_die(self: Recorder, unit: Unit) -> None:
    await _commit(self, unit)
    if _armed.exists():
        _die()


if __name__ == "__main__":
    if os.environ["DIE_AT"] == "issue":
        EmbeddedBackend.issue = _issue_and_die  # type: ignore[method-assign]  # the sabotage
    elif os.environ["DIE_AT"] == "answer":
        Closing.close = _die_and_close  # type: ignore[method-assign]  # the sabotage
    else:
        Recorder.commit = _commit_and_die  # type: ignore[method-assign]  # the sabotage
    main()
