"""Lists as a sample request names their entries; a list that it does not name is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class SampleLists:
    """A ListLookup over a few entries. Case and blanks at the ends do not count."""

    def __init__(self, entries: Mapping[str, Sequence[str]]) -> None:
        self._entries = {name: frozenset(map(_folded, values)) for name, values in entries.items()}

    def contains(self, list_name: str, value: str) -> bool:
        """Whether it was named."""
        return _folded(value) in self._entries.get(list_name, ())

    def lookup(self, list_name: str, key: str) -> Mapping[str, str] | None:
        """{} for an entry that was named: a sample's entries have no attributes."""
        return {} if self.contains(list_name, key) else None

    def available(self, list_name: str) -> bool:  # noqa: ARG002  as ListLookup says
        """Always: a list that is not named is known to be empty."""
        return True


def _folded(value: str) -> str:
    return value.strip().casefold()
