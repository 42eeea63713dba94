"""Takes other policies while a worker runs: the files at SIGHUP, what another worker took from them, or the
bundle that the database names since somebody activated it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from ca_backend.api import CaBackend
from gateway.clock import Clock
from gateway.composition.parts import BackendOpener
from gateway.composition.policies import Policies, PolicyFiles
from gateway.composition.stored_policies import (
    activation,
    failure_setting,
    reload_failed,
    reload_mended,
    stored_policies,
)
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.errors import Conflict, GatewayError
from gateway.policy.rules import Bundle, CompiledBackend
from gateway.store import bundles, settings
from gateway.store.bundles import Activation
from gateway.store.store import Store

LOG = logging.getLogger(__name__)
FOLLOW_S = 1.0
CLOSE_AFTER_S = 120.0  # longer than any call to a CA takes
RETRY_S = 30.0  # a stored bundle that could not be taken here may lack only a file or a secret


Take = Callable[[], None]
# Checks a bundle with its backends; gives what to do in the moment when they are taken. Raises
# ConfigurationError.
Check = Callable[[Bundle, BackendSet], Awaitable[Take]]


def both_checks(one: Check, other: Check) -> Check:
    """Both must agree; what is to be done then is done in their order."""

    async def check(bundle: Bundle, backends: BackendSet) -> Take:
        takes = (await one(bundle, backends), await other(bundle, backends))

        def take() -> None:
            for each in takes:
                each()

        return take

    return check


class PolicyReload:
    """Holds the policies of this worker; ``bundle`` and ``backends`` change together between two requests."""

    def __init__(
        self,
        files: PolicyFiles,
        opener: BackendOpener,
        store: Store,
        clock: Clock,
        at_start: Policies,
        instance: str = "",
    ):
        """``check`` may be set to what must agree with other policies before they are taken, ``failed`` to
        what counts failures. ``instance`` names this gateway among those on the same database."""
        self._files = files
        self._opener = opener
        self._store = store
        self._clock = clock
        self._mark = files.mark()
        self._policies = files.active(at_start)
        self.bundle = ActiveBundle(self._policies.bundle)
        self.backends: BackendSet = opener.open(self._policies.bundle)
        self._opened: dict[str, CompiledBackend] = dict(self._policies.bundle.backends)
        self.check: Check = _agree
        self.failed: Callable[[], None] = _count_nothing
        self._instance = instance
        self._asked = asyncio.Event()
        self._unrecorded: Policies | None = None
        # What the database named at the last look; at first what the start has left there. While another
        # worker has not yet recorded what both took from the files, it is the old one: no reason to go back.
        self._seen = self._policies.bundle.sha256
        self._retry_at = math.inf
        self._untold: str | None = None  # a failure that the audit log may not know yet
        self._mended = False
        self._replaced: list[tuple[float, CaBackend]] = []  # when to close it

    def ask(self) -> None:
        """Read the policy files anew, soon."""
        self._asked.set()

    async def run(self) -> None:
        """Take what is asked for or was activated elsewhere, for ever."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), FOLLOW_S)
            if self._asked.is_set():
                self._asked.clear()
                if self._files.automatic:
                    await self._take_files()
                else:
                    self._retry_at = 0.0
            elif self._files.mark() != self._mark:
                await self._follow()
            if self._unrecorded is not None:
                await self._record(self._unrecorded)
            else:
                await self._follow_stored()
            await self._tell()
            await self._close_replaced(asyncio.get_running_loop().time())

    async def aclose(self) -> None:
        """Close every backend that was ever opened."""
        await self._close_replaced(math.inf)
        await self.backends.aclose()

    async def _take_files(self) -> None:
        opened: dict[str, CaBackend] = {}
        try:
            policies = await asyncio.to_thread(self._read_and_initialise)
            await self._open_changed(policies.bundle, opened)
            take = await self.check(policies.bundle, self.backends.with_opened(opened))
            # Only what could be opened is activated: a worker that is started next must be able to open it.
            if await asyncio.to_thread(self._files.activate, policies):
                self._unrecorded = policies
            await asyncio.to_thread(self._files.note_files, policies)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the old policies go on deciding
            await self._failed(error, opened)
        else:
            self._swap(policies, opened, take)

    async def _follow(self) -> None:
        """Take what another worker of this gateway has activated."""
        opened: dict[str, CaBackend] = {}
        self._mark = self._files.mark()
        try:
            policies = await asyncio.to_thread(self._files.active, self._policies)
            if policies.kept == self._policies.kept:
                return
            await self._open_changed(policies.bundle, opened)
            take = await self.check(policies.bundle, self.backends.with_opened(opened))
        except Exception as error:  # noqa: BLE001 - as above; tried again when it changes again
            await self._failed(error, opened)
        else:
            self._swap(policies, opened, take)

    async def _follow_stored(self) -> None:
        """Take the bundle that the database names, if that is another one than when it was looked at last."""
        opened: dict[str, CaBackend] = {}
        try:
            stored = await self._store.reader.read(bundles.active)
        except GatewayError:
            return  # /readyz tells of a lost database
        now = asyncio.get_running_loop().time()
        if stored is None or (stored == self._seen and now < self._retry_at):
            return
        again = stored == self._seen
        self._seen, self._retry_at = stored, math.inf
        if stored == self.bundle.current.sha256:
            if not again:  # back from one that could not be taken
                self.bundle.problem = ""
            return
        try:
            row = await self._store.reader.read(lambda connection: bundles.get(connection, stored))
            policies = await asyncio.to_thread(
                self._initialised, lambda: stored_policies(self._files, row, stored)
            )
            await self._open_changed(policies.bundle, opened)
            take = await self.check(policies.bundle, self.backends.with_opened(opened))
            await asyncio.to_thread(self._files.activate, policies)
        except Exception as error:  # noqa: BLE001 - as above; tried again, since a file may be what is missing
            self._retry_at = now + RETRY_S
            await self._failed(error, opened, again=again)
        else:
            self._swap(policies, opened, take)

    def _read_and_initialise(self) -> Policies:
        return self._initialised(self._files.drafts)

    def _initialised(self, read: Callable[[], Policies]) -> Policies:
        with self._files.alone():
            policies = read()
            self._opener.initialise(policies.bundle)
            return policies

    async def _open_changed(self, bundle: Bundle, opened: dict[str, CaBackend]) -> None:
        """Open into ``opened`` what is new or other than before."""
        for name, compiled in bundle.backends.items():
            if self._opened.get(name) != compiled:
                opened[name] = await asyncio.to_thread(self._opener.open_one, compiled)

    def _swap(self, policies: Policies, opened: dict[str, CaBackend], take: Take) -> None:
        """Without a pause in between, so that no request sees new rules with an old CA."""
        for name, backend in opened.items():
            if name in self.backends:
                close_at = asyncio.get_running_loop().time() + CLOSE_AFTER_S
                self._replaced.append((close_at, self.backends.get(name)))
            self.backends.replace(name, backend)
            self._opened[name] = policies.bundle.backends[name]
        self._policies = policies
        self.bundle.activate(policies.bundle)
        take()
        self._untold, self._mended = None, True
        LOG.info("policy.reloaded %s", policies.bundle.sha256)

    async def _close_replaced(self, now: float) -> None:
        due = [backend for close_at, backend in self._replaced if close_at <= now]
        self._replaced = [(close_at, backend) for close_at, backend in self._replaced if close_at > now]
        for backend in due:
            await backend.aclose()

    async def _failed(
        self, error: Exception, opened: Mapping[str, CaBackend], *, again: bool = False
    ) -> None:
        expected = isinstance(error, GatewayError)
        problem = str(error) if expected else f"{type(error).__name__}: {error}"
        self.failed()
        if not again or problem != self.bundle.problem:  # tried by itself once more: no news
            LOG.error("policy.reload-failed %s", problem, exc_info=None if expected else error)
        self.bundle.problem = self._untold = problem
        for backend in opened.values():
            await backend.aclose()

    async def _record(self, policies: Policies) -> None:
        sha256 = policies.bundle.sha256
        try:
            active = await self._store.reader.read(bundles.active)
            unit = activation(active, policies, Activation(sha256, self._clock.now()))
            if unit.operations:
                await self._store.recorder.commit(unit)
        except GatewayError as error:
            LOG.warning("policy.unrecorded %s: %s; tried again", sha256, error.detail or error)
        else:
            self._unrecorded, self._seen = None, sha256

    async def _tell(self) -> None:
        """Write a failure down, and later that it is over; of the workers that share it one does."""
        problem, now = self._untold, self._clock.now()
        if problem is None and not self._mended:
            return
        try:
            name = failure_setting(self._instance)
            before = await self._store.reader.read(lambda connection: settings.get(connection, name))
            if problem is None:
                unit = reload_mended(before, self._instance, now)
            else:
                unit = reload_failed(before, self._instance, problem, now)
            if unit is not None:
                await self._store.recorder.commit(unit)
        except Conflict:
            pass  # another worker has told it
        except GatewayError:
            return  # tried again
        self._untold, self._mended = None, False


async def _agree(_bundle: Bundle, _backends: BackendSet) -> Take:
    return lambda: None


def _count_nothing() -> None:
    pass
