"""What /readyz tells: the state of every part, "ok", "degraded: why" or "down: why"."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from ca_backend.api import CanHealth
from gateway.composition.background import Background
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.errors import GatewayError
from gateway.store import audit
from gateway.store.store import Store

LOG = logging.getLogger(__name__)
BACKEND_HEALTH_S = 2.0


class Readiness:
    """Asks the parts of one worker. Only a lost database is "down": no CA serves all endpoints."""

    def __init__(
        self,
        store: Store,
        bundle: ActiveBundle,
        backends: BackendSet,
        background: Background,
        queue: int,
        identities: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """``queue`` is the most units that may wait for the database; ``identities`` gives the states of
        message identities by their name."""
        self._store = store
        self._bundle = bundle
        self._backends = backends
        self._background = background
        self._queue = queue
        self._identities = identities

    async def components(self) -> dict[str, str]:
        found = {"recorder": "ok", "policy": "ok", "background": "ok"}
        if self._store.recorder.depth > self._queue // 2:
            found["recorder"] = "degraded: its queue is more than half full"
        if self._bundle.problem:
            found["policy"] = f"degraded: {self._bundle.problem.splitlines()[0]}"
        failing = self._background.problems()
        if failing:
            found["background"] = "degraded: " + "; ".join(
                f"{name}: {words}" for name, words in sorted(failing.items())
            )
        found.update(self._identities())
        names = sorted(self._bundle.current.backends)
        found["database"], *states = await asyncio.gather(
            self._database(), *(backend_state(self._backends, name) for name in names)
        )
        found.update({f"ca {name}": state for name, state in zip(names, states, strict=True)})
        return found

    async def _database(self) -> str:
        try:
            await self._store.reader.read(audit.read_head)
        except GatewayError as error:
            return f"down: {error}"
        return "ok"


async def backend_state(backends: BackendSet, name: str) -> str:
    """The state of one CA, as it tells it within ``BACKEND_HEALTH_S``."""
    try:
        backend = backends.get(name)
        if not isinstance(backend, CanHealth):
            return "ok"
        async with asyncio.timeout(BACKEND_HEALTH_S):
            health: Mapping[str, str] = await backend.health()
    except TimeoutError:
        return f"degraded: it did not answer within {BACKEND_HEALTH_S:g} s"
    except Exception as error:  # noqa: BLE001 - a backend may fail with anything; here it is news, not a fault
        return f"degraded: {error if isinstance(error, GatewayError) else type(error).__name__}"
    wrong = [f"{part}: {state}" for part, state in sorted(health.items()) if state != "ok"]
    return "degraded: " + "; ".join(wrong) if wrong else "ok"


async def warn_at_start(identities: Mapping[str, str], backends: BackendSet) -> None:
    """Log which certificates of the gateway's own end soon: its message identities (by their states) and
    those of the CAs in this process. Others are not waited for."""
    states = dict(identities)
    for name in sorted(backends.names()):
        if backends.get(name).signs_in_process:
            states[f"ca {name}"] = await backend_state(backends, name)
    for name, state in states.items():
        if state != "ok":
            LOG.warning("start.%s: %s", name, state)
