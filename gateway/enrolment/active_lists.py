"""The content of the lists of the active bundle, as it is known to this process now.

What stands in documents and files comes with the bundle; whoever follows files and URLs hands newer content
in. Reads come from request paths: they build nothing unless something has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.policy.list_content import ListContent
from gateway.policy.lists import EMPTY_LISTS, CompiledList, ListLookup, LoadedLists


@dataclass(frozen=True, slots=True)
class _Known:
    """``good_until`` None: it never counts as unknown for its age."""

    content: ListContent
    good_until: datetime | None = None


class ActiveLists:
    """Swapped entry by entry; a decision keeps the lookup that it began with."""

    def __init__(self, lists: Mapping[str, CompiledList]) -> None:
        """``problems`` says, by name, why newer content could not be taken."""
        self.problems: dict[str, str] = {}
        self._lists: Mapping[str, CompiledList] = {}
        self._known: dict[str, _Known] = {}
        self._built: LoadedLists | None = None
        self._built_until: datetime | None = None
        self.take(lists)

    @property
    def lists(self) -> Mapping[str, CompiledList]:
        """The documents, by name."""
        return self._lists

    def take(self, lists: Mapping[str, CompiledList]) -> None:
        """Take the lists of another bundle. Content that it does not bring stays where its document is the
        same."""
        known: dict[str, _Known] = {}
        for name, one in lists.items():
            if one.content is not None:
                known[name] = _Known(one.content)
            elif name in self._known and _source(self._lists[name]) == _source(one):
                known[name] = self._known[name]
        self._lists, self._known, self._built = lists, known, None
        self.problems = {
            name: text
            for name, text in self.problems.items()
            if name in lists and lists[name].content is None
        }

    def put(self, name: str, content: ListContent, good_until: datetime | None = None) -> None:
        """Take newer content of one list."""
        self._known[name] = _Known(content, good_until)
        self._built = None

    def sha256(self, name: str) -> str | None:
        """What names the content that is known, None where there is none."""
        known = self._known.get(name)
        return None if known is None else known.content.sha256

    def keep_until(self, name: str, good_until: datetime | None) -> None:
        """The known content was found to be good still."""
        known = self._known.get(name)
        if known is not None and known.good_until != good_until:
            self.put(name, known.content, good_until)

    def at(self, lists: Mapping[str, CompiledList], now: datetime) -> ListLookup:
        """The content for a decision by a bundle with these lists."""
        if not lists:
            return EMPTY_LISTS
        if lists is not self._lists:  # another bundle was taken while the request was on its way
            return LoadedLists(lists, self._contents(lists, now))
        if self._built is None or (self._built_until is not None and now > self._built_until):
            self._built = LoadedLists(lists, self._contents(lists, now))
            ends = [
                one.good_until for one in self._known.values() if one.good_until and one.good_until >= now
            ]
            self._built_until = min(ends, default=None)
        return self._built

    def _contents(self, lists: Mapping[str, CompiledList], now: datetime) -> dict[str, ListContent]:
        return {
            name: known.content
            for name, known in self._known.items()
            if name in lists
            and _source(lists[name]) == _source(self._lists[name])
            and (known.good_until is None or known.good_until >= now)
        }


def _source(one: CompiledList) -> CompiledList:
    """Everything but the content and the place in a file."""
    return replace(one, content=None, where="")
