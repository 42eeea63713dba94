"""Lists of the administrator as rules ask for them: ``kind: List`` documents, in memory.

How a rule gets them: ``Facts.lists`` holds the lists as they stand for this one decision (the engine hands
Facts to every check), ``EMPTY_LISTS`` where there are none. At load ``draft.declared`` names every List
document; ``references.refer(draft, document, path, "List", name)`` complains of one that is not there. So a
name that reaches ``contains`` at request time was checked; one that is not known is contained in nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class ListLookup(Protocol):
    """The content of all lists. Synchronous, in memory, O(1); never raises."""

    def contains(self, list_name: str, value: str) -> bool:
        """Whether ``value`` is an entry; both are normalised as the type of the list says (a DNS name to
        lower-case A-labels, a serial number to upper case without separators). False for an unknown list, a
        value that the type cannot hold, and a list whose content is not known (never fetched, or stale with
        ``then: deny``): unknown means not contained."""

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
