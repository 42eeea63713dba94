"""The front ends of one worker, mounted: their routes, jobs and what they want to be asked."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from gateway.frontend import AccountKeys, JobHandler, Mounted, Recheck, Services
from gateway.http.message import PathRoute
from gateway.jobs.runner import Handler
from gateway.model.ids import ProtocolName
from gateway.plugins import Plugins
from gateway.store.jobs import Job

LOG = logging.getLogger(__name__)
Work = Callable[[], Awaitable[None]]


class MountedFrontEnds:
    """Every front end that is installed, mounted over the same services."""

    def __init__(
        self,
        plugins: Plugins,
        services: Services,
        rechecks: dict[ProtocolName, Recheck],
        account_keys: dict[ProtocolName, AccountKeys],
    ) -> None:
        """Fills ``rechecks`` and ``account_keys``, which the enrolment service holds already."""
        self._mounted: dict[str, Mounted] = {}
        for name, frontend in plugins.frontends.items():
            mounted = self._mounted[name] = frontend.mount(services)
            if mounted.recheck is not None:
                rechecks[ProtocolName(name)] = mounted.recheck
            if mounted.account_keys is not None:
                account_keys[ProtocolName(name)] = mounted.account_keys

    def routes(self) -> tuple[PathRoute, ...]:
        return tuple(route for mounted in self._mounted.values() for route in mounted.routes)

    def handlers(self) -> dict[str, Handler]:
        """Job handlers by kind. Raises ValueError for a kind that does not begin with its protocol's name."""
        found: dict[str, Handler] = {}
        for name, mounted in self._mounted.items():
            for kind, handler in mounted.jobs.items():
                if not kind.startswith(f"{name}-"):
                    raise ValueError(f"the job kind {kind!r} of the front end {name!r} is not its own")
                found[kind] = _by_arguments(handler)
        return found

    async def start(self) -> None:
        """Let each begin; one that fails holds up no other."""
        await self._all("start", [(name, mounted.start) for name, mounted in self._mounted.items()])

    async def keep_house(self) -> None:
        """Let each tidy up; one that fails holds up no other."""
        work = [(name, mounted.housekeeping) for name, mounted in self._mounted.items()]
        await self._all("housekeeping", work)

    async def aclose(self) -> None:
        """Let each end; one that fails holds up no other."""
        await self._all("end", [(name, mounted.aclose) for name, mounted in self._mounted.items()])

    async def _all(self, what: str, work: Sequence[tuple[str, Work | None]]) -> None:
        for name, do in work:
            if do is not None:
                try:
                    await do()
                except Exception:  # a plug-in may fail with anything
                    LOG.exception("front-end.%s-failed %s", what, name)


def _by_arguments(handler: JobHandler) -> Handler:
    async def handle(job: Job) -> datetime | None:
        args: Mapping[str, object] = job.args
        return await handler(args)

    return handle
