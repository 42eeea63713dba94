"""Lists of the administrator as rules ask for them: ``kind: List`` documents, in memory.

How a rule gets them: ``Facts.lists`` holds the lists as they stand for this one decision (the engine hands
Facts to every check), ``EMPTY_LISTS`` where there are none. At load ``draft.declared`` names every List
document; ``references.refer(draft, document, path, "List", name)`` complains of one that is not there. So a
name that reaches ``contains`` at request time was checked; one that is not known is contained in nothing.

The engine notes which lists a decision asked: their SHA-256 goes into the trace, and the entries that were
found in lists with ``single_use: true`` into ``Allow.consumes``: whoever is granted uses them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from gateway.model.decision import ListUse, TraceStep
from gateway.policy.list_content import ListContent, ListFormat, ListType, normal_entry


class ListLookup(Protocol):
    """The content of all lists. Synchronous, in memory, O(1); never raises."""

    def contains(self, list_name: str, value: str) -> bool:
        """Whether ``value`` is an entry; both are normalised as the type of the list says (a DNS name to
        lower-case A-labels, a serial number to upper case). False for an unknown list, a value that the type
        cannot hold, and a list whose content is not known (never fetched, or stale with ``then: deny``):
        unknown means not contained."""

    def lookup(self, list_name: str, key: str) -> Mapping[str, str] | None:
        """The attributes of an entry: further columns of a CSV file, {} where there are none. None where
        ``contains`` is False."""

    def available(self, list_name: str) -> bool:
        """Whether the content of the list is known now. A rule that refuses what *is* contained (a block
        list) must refuse where this is False: an unknown content excludes nothing."""


class _EmptyLists:
    def contains(self, list_name: str, value: str) -> bool:  # noqa: ARG002  as ListLookup says
        return False

    def lookup(self, list_name: str, key: str) -> Mapping[str, str] | None:  # noqa: ARG002
        return None

    def available(self, list_name: str) -> bool:  # noqa: ARG002
        return False


EMPTY_LISTS: ListLookup = _EmptyLists()


@dataclass(frozen=True, slots=True)
class UrlSource:
    """Where a list is fetched from. ``headers`` are names and secret references (``env:NAME``).

    After ``stale_after`` without a good answer the content counts as unknown, if ``deny_stale``.
    """

    url: str
    refresh: timedelta
    headers: tuple[tuple[str, str], ...]
    stale_after: timedelta
    deny_stale: bool


@dataclass(frozen=True, slots=True)
class CompiledList:
    """One List document. ``file`` is the path relative to the policy directory, or "".

    ``content`` is what was read at load: None for a URL, and for a file that could not be read when a worker
    was started again.
    """

    name: str
    type: ListType
    format: ListFormat
    single_use: bool
    content: ListContent | None
    file: str = ""
    url: UrlSource | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class LoadedLists:
    """``ListLookup`` over ``lists``; ``contents`` has what is known of each now, by name."""

    lists: Mapping[str, CompiledList]
    contents: Mapping[str, ListContent]

    def contains(self, list_name: str, value: str) -> bool:
        return self._found(list_name, value) is not None

    def lookup(self, list_name: str, key: str) -> Mapping[str, str] | None:
        found = self._found(list_name, key)
        return None if found is None else dict(zip(self.contents[list_name].columns, found, strict=True))

    def available(self, list_name: str) -> bool:
        return list_name in self.contents

    def _found(self, list_name: str, value: str) -> tuple[str, ...] | None:
        content = self.contents.get(list_name)
        if content is None:
            return None
        try:
            return content.entries.get(normal_entry(self.lists[list_name].type, value))
        except ValueError:
            return None


def lists_at_load(lists: Mapping[str, CompiledList]) -> ListLookup:
    """The lists as they were when the bundle was loaded: for explanations and tests of a bundle."""
    return LoadedLists(lists, {one.name: one.content for one in lists.values() if one.content is not None})


class AskedLists:
    """``ListLookup`` that notes for one decision what it was asked; made by the engine."""

    __slots__ = ("_asked", "_found", "_lists", "_lookup")

    def __init__(self, lookup: ListLookup, lists: Mapping[str, CompiledList]) -> None:
        self._lookup = lookup
        self._lists = lists
        self._asked: dict[str, None] = {}
        self._found: dict[ListUse, None] = {}

    def contains(self, list_name: str, value: str) -> bool:
        return self.lookup(list_name, value) is not None

    def lookup(self, list_name: str, key: str) -> Mapping[str, str] | None:
        self._asked[list_name] = None
        found = self._lookup.lookup(list_name, key)
        one = self._lists.get(list_name)
        if found is not None and one is not None and one.single_use:
            self._found[ListUse(list_name, normal_entry(one.type, key))] = None
        return found

    def available(self, list_name: str) -> bool:
        self._asked[list_name] = None
        return self._lookup.available(list_name)

    @property
    def consumed(self) -> tuple[ListUse, ...]:
        """The entries of single-use lists that were found, in a fixed order."""
        return tuple(sorted(self._found, key=lambda use: (use.list_name, use.key)))

    def trace(self) -> tuple[TraceStep, ...]:
        """One line for each list that was asked, with what names its content."""
        contents = self._lookup.contents if isinstance(self._lookup, LoadedLists) else {}
        steps = []
        for name in self._asked:
            content = contents.get(name)
            text = "its content is not known" if content is None else f"content sha256 {content.sha256}"
            where = self._lists[name].where if name in self._lists else ""
            steps.append(
                TraceStep("lists", f"list:{name}", "skipped" if content is None else "ok", text, where)
            )
        return tuple(steps)
