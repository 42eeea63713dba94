"""Takes other policies while a worker runs: the files at SIGHUP, or what another worker took from them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from ca_backend.api import CaBackend
from gateway.clock import Clock
from gateway.composition.parts import BackendOpener
from gateway.composition.policies import Policies, PolicyFiles, activation
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.errors import GatewayError
from gateway.policy.rules import Bundle, CompiledBackend
from gateway.store import bundles
from gateway.store.store import Store

LOG = logging.getLogger(__name__)
FOLLOW_S = 1.0
CLOSE_AFTER_S = 120.0  # longer than any call to a CA takes


Take = Callable[[], None]
# Checks a bundle with its backends; gives what to do in the moment when they are taken. Raises
# ConfigurationError.
Check = Callable[[Bundle, BackendSet], Awaitable[Take]]


class PolicyReload:
    """Holds the policies of this worker; ``bundle`` and ``backends`` change together between two requests."""

    def __init__(
        self, files: PolicyFiles, opener: BackendOpener, store: Store, clock: Clock, at_start: Policies
    ):
        """``check`` may be set to what must agree with other policies before they are taken."""
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
        self._asked = asyncio.Event()
        self._unrecorded: Bundle | None = None
        self._replaced: list[tuple[float, CaBackend]] = []  # when to close it

    def ask(self) -> None:
        """Read the policy files anew, soon."""
        self._asked.set()

    async def run(self) -> None:
        """Take what is asked for or was activated by another worker, for ever."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), FOLLOW_S)
            if self._asked.is_set():
                self._asked.clear()
                await self._take_files()
            elif self._files.mark() != self._mark:
                await self._follow()
            if self._unrecorded is not None:
                await self._record(self._unrecorded)
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
                self._unrecorded = policies.bundle
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

    def _read_and_initialise(self) -> Policies:
        with self._files.alone():
            policies = self._files.drafts()
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
        LOG.info("policy.reloaded %s", policies.bundle.sha256)

    async def _close_replaced(self, now: float) -> None:
        due = [backend for close_at, backend in self._replaced if close_at <= now]
        self._replaced = [(close_at, backend) for close_at, backend in self._replaced if close_at > now]
        for backend in due:
            await backend.aclose()

    async def _failed(self, error: Exception, opened: Mapping[str, CaBackend]) -> None:
        expected = isinstance(error, GatewayError)
        self.bundle.problem = str(error) if expected else f"{type(error).__name__}: {error}"
        LOG.error("policy.reload-failed %s", self.bundle.problem, exc_info=None if expected else error)
        for backend in opened.values():
            await backend.aclose()

    async def _record(self, bundle: Bundle) -> None:
        try:
            active = await self._store.reader.read(bundles.active)
            unit = activation(active, bundle, self._clock.now())
            if unit.operations:
                await self._store.recorder.commit(unit)
        except GatewayError as error:
            LOG.warning("policy.unrecorded %s: %s; tried again", bundle.sha256, error.detail or error)
        else:
            self._unrecorded = None


async def _agree(_bundle: Bundle, _backends: BackendSet) -> Take:
    return lambda: None
