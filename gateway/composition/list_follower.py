"""Keeps the content of lists up to date in a worker: files are looked at, URLs asked by one of all gateways.

What is wrong with newer content leaves the old one in use, is logged and counted once, and stands in /readyz
until it is mended. What was fetched lies in the database, so that every worker takes the same and a start
without network knows it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from gateway.clock import Clock
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.errors import ConfigurationError, GatewayError
from gateway.outbound.list_fetch import ListAnswer, fetch_list
from gateway.policy.list_content import ListContent, read_content
from gateway.policy.lists import CompiledList, UrlSource
from gateway.policy.rules import Bundle
from gateway.policy.sources import PolicySource, read_list_beside
from gateway.store import leases, lists
from gateway.store.lists import FetchState
from gateway.store.store import Store
from gateway.store.unit import Unit

LOG = logging.getLogger(__name__)
FOLLOW_S = 1.0
_LEASE = timedelta(minutes=3)  # longer than a fetch takes
_RETRY = timedelta(minutes=1)  # after a fetch that failed

Take = Callable[[], None]
Mark = tuple[int, int, int]


@dataclass(slots=True)
class _File:
    """``seen``: how the file looked at the last look; ``taken``: at the last time that it was read."""

    seen: Mark | None = None
    taken: Mark | None = None


class ListFollower:
    """Follows the lists of the active bundle."""

    def __init__(
        self,
        bundle: ActiveBundle,
        store: Store,
        clock: Clock,
        directory: Path,
        secret: Callable[[str], bytes],
        owner: str,
        failed: Callable[[str], None],
    ) -> None:
        """``directory`` holds the files, ``secret`` resolves references, ``failed`` counts by list."""
        self._bundle = bundle
        self._lists = bundle.lists
        self._store = store
        self._clock = clock
        self._source = PolicySource("lists", "", directory)
        self._secret = secret
        self._owner = owner
        self._failed = failed
        self._files: dict[str, _File] = {}

    def components(self) -> dict[str, str]:
        """What /readyz tells of lists: nothing of those that are well."""
        found = {f"list {name}": f"degraded: {text}" for name, text in sorted(self._lists.problems.items())}
        for name in self._lists.lists:
            if self._lists.sha256(name) is None:
                found.setdefault(f"list {name}", "degraded: its content is not known yet")
        return found

    async def open(self) -> None:
        """Take everything that is there already: before the first request. Raises StoreUnavailable."""
        (await self.check(self._bundle.current, None))()

    async def check(self, bundle: Bundle, _backends: BackendSet | None) -> Take:
        """Read the content that another bundle needs and does not bring; gives what puts it in place."""
        missing = [one for one in bundle.lists.values() if one.content is None]
        found: dict[str, tuple[ListContent, datetime | None]] = {}
        states = await self._states() if any(one.url for one in missing) else {}
        for one in missing:
            try:
                if one.url is None:
                    content = await asyncio.to_thread(self._parsed_file, one)
                    found[one.name] = content, None
                elif (state := states.get(one.name)) is not None and _is_of(state, one.url):
                    found[one.name] = await self._stored(one), _good_until(state, one.url)
            except GatewayError as error:
                LOG.warning("list.unknown %s: %s", one.name, error)

        def take() -> None:
            for name, (content, good_until) in found.items():
                self._lists.put(name, content, good_until)

        return take

    async def follow_files(self) -> None:
        """Look once at every file."""
        for one in list(self._lists.lists.values()):
            if one.file:
                await self._follow_file(one)

    async def follow_urls(self) -> None:
        """Take what was fetched, and fetch what is due, all at once. Raises StoreUnavailable."""
        followed = [(one, one.url) for one in self._lists.lists.values() if one.url is not None]
        if followed:
            states = await self._states()
            await asyncio.gather(*(self._follow_url(one, url, states.get(one.name)) for one, url in followed))

    # -- files --

    async def _follow_file(self, one: CompiledList) -> None:
        path = (self._source.directory or Path()) / one.file
        known = self._files.setdefault(one.file, _File())
        try:
            status = await asyncio.to_thread(path.stat)
        except OSError as error:
            known.taken = None
            self._note(one.name, f"the file {one.file!r} cannot be read: {error.strerror}")
            return
        mark = (status.st_ino, status.st_size, status.st_mtime_ns)
        settled, known.seen = mark == known.seen, mark
        # Whoever still writes it changes it between two looks.
        if mark == known.taken or not settled:
            return
        known.taken = mark
        await self._attempt(one, lambda: asyncio.to_thread(self._read, one))

    def _read(self, one: CompiledList) -> ListContent | None:
        """None where it is what is known already."""
        octets = read_list_beside(self._source, one.file) or b""
        if hashlib.sha256(octets).hexdigest() == self._lists.sha256(one.name):
            return None
        return self._parsed(one, octets)

    def _parsed_file(self, one: CompiledList) -> ListContent:
        return self._parsed(one, read_list_beside(self._source, one.file) or b"")

    @staticmethod
    def _parsed(one: CompiledList, octets: bytes) -> ListContent:
        return read_content(octets, one.type, one.format, one.file or (one.url.url if one.url else one.name))

    # -- URLs --

    async def _follow_url(self, one: CompiledList, source: UrlSource, state: FetchState | None) -> None:
        now = self._clock.now()
        if state is not None and not _is_of(state, source):
            state = None
        if state is not None:
            await self._take_stored(one, source, state)
        due = state is None or now >= state.asked_at + _pause(source, state)
        if not due:
            return
        lease = f"list:{one.name}"
        if await leases.acquire(self._store.recorder, lease, self._owner, now, now + _LEASE):
            state = (await self._states()).get(one.name)  # another gateway may just have done it
            if state is not None and _is_of(state, source) and now < state.asked_at + _pause(source, state):
                return
            await self._fetch(one, source, state if state is not None and _is_of(state, source) else None)
            unit = Unit()
            leases.release(unit, lease, self._owner)
            await self._store.recorder.commit(unit)

    async def _take_stored(self, one: CompiledList, source: UrlSource, state: FetchState) -> None:
        good_until = _good_until(state, source)
        if state.sha256 is not None and state.sha256 != self._lists.sha256(one.name):
            await self._attempt(one, lambda: self._stored(one), good_until)
        else:
            self._lists.keep_until(one.name, good_until)
        if state.problem:
            self._note(one.name, state.problem)
        elif state.sha256 == self._lists.sha256(one.name):
            self._lists.problems.pop(one.name, None)

    async def _stored(self, one: CompiledList) -> ListContent:
        octets = await self._store.reader.read(lambda connection: lists.fetched(connection, one.name))
        if octets is None:
            raise ConfigurationError("it was never fetched")
        return await asyncio.to_thread(self._parsed, one, octets)

    async def _fetch(self, one: CompiledList, source: UrlSource, state: FetchState | None) -> None:
        now = self._clock.now()
        before = state or FetchState(one.name, source.url, now)
        content: bytes | None = None
        try:
            headers = {name: self._secret(reference).decode("latin-1") for name, reference in source.headers}
            answer = await fetch_list(
                source.url, headers, etag=before.etag, last_modified=before.last_modified
            )
            after, content = await self._judged(one, before, answer, now)
        except GatewayError as error:
            after = replace(before, asked_at=now, problem=f"it could not be fetched: {error}"[:1000])
        unit = Unit()
        lists.put(unit, after, content)
        await self._store.recorder.commit(unit)
        await self._take_stored(one, source, after)

    async def _judged(
        self, one: CompiledList, before: FetchState, answer: ListAnswer, now: datetime
    ) -> tuple[FetchState, bytes | None]:
        """What to note of an answer, and its content if that is new and good. Raises ConfigurationError."""
        good = replace(before, asked_at=now, good_at=now, problem="")
        if answer.content is None:
            return good, None
        parsed = await asyncio.to_thread(self._parsed, one, answer.content)
        new = answer.content if parsed.sha256 != before.sha256 else None
        return replace(good, sha256=parsed.sha256, etag=answer.etag, last_modified=answer.last_modified), new

    async def _states(self) -> Mapping[str, FetchState]:
        return await self._store.reader.read(lists.fetch_states)

    # -- both --

    async def _attempt(
        self,
        one: CompiledList,
        read: Callable[[], Awaitable[ListContent | None]],
        good_until: datetime | None = None,
    ) -> None:
        """Take newer content; what is wrong with it is noted, and the old one stays."""
        try:
            content = await read()
        except GatewayError as error:
            self._note(one.name, str(error))
            return
        if self._lists.lists.get(one.name) is not one:
            return  # another bundle was taken meanwhile
        self._lists.problems.pop(one.name, None)
        if content is not None:
            LOG.info("list.taken %s: %d entries, sha256 %s", one.name, len(content.entries), content.sha256)
            self._lists.put(one.name, content, good_until)

    def _note(self, name: str, text: str) -> None:
        if self._lists.problems.get(name) != text:
            LOG.error("list.failed %s: %s; the old content stays in use", name, text)
            self._failed(name)
        self._lists.problems[name] = text


def _is_of(state: FetchState, source: UrlSource) -> bool:
    return state.url == source.url


def _good_until(state: FetchState, source: UrlSource) -> datetime | None:
    """Until when fetched content counts as known; None: for ever."""
    if not source.deny_stale:
        return None
    return (state.good_at or state.asked_at) + source.stale_after


def _pause(source: UrlSource, state: FetchState) -> timedelta:
    return min(source.refresh, _RETRY) if state.problem else source.refresh
