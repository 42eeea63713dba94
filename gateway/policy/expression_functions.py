"""The functions that expressions have beside those of CEL itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from gateway.policy.lists import ListLookup
from gateway.policy.name_rules import normal_address

# Stands in for ``matches`` of the library, which knows another syntax and compiles its pattern at each use.
MATCHES = "matchesRe2"
FUNCTIONS = {
    "inList": "in_list",
    "lookup": "look_up",
    "cidr": "cidr",
    "underSuffix": "under_suffix",
    MATCHES: "matches",
}


@dataclass(frozen=True, slots=True)
class OwnFunctions:
    """For one judgement. What is wrong goes into ``faults``: the library would only log what is raised, and
    what it is answered counts for nothing then."""

    lists: ListLookup
    patterns: Mapping[str, Any]
    faults: list[str]

    def in_list(self, name: object, value: object) -> bool:
        """Whether a List document holds the value."""
        return self._known(name, value) and self.lists.contains(str(name), str(value))

    def look_up(self, name: object, key: object) -> dict[str, str] | None:
        """The attributes of an entry of a List document; None: it has no such entry."""
        row = self.lists.lookup(str(name), str(key)) if self._known(name, key) else None
        return None if row is None else dict(row)

    def cidr(self, address: object, network: object) -> bool:
        """Whether an address is in a network."""
        try:
            return normal_address(str(address).partition("%")[0]) in ip_network(str(network))
        except ValueError:
            self.faults.append("cidr takes an address and a network, such as cidr(source_ip, '10.0.0.0/8')")
            return False

    def under_suffix(self, name: object, suffix: object) -> bool:
        """The suffix itself or a name below it, label by label."""
        if not isinstance(name, str) or not isinstance(suffix, str) or not suffix.strip("."):
            self.faults.append("underSuffix takes a name and a suffix: underSuffix(n, 'example.com')")
            return False
        lowered, bound = name.lower().rstrip("."), suffix.lower().strip(".")
        return lowered == bound or lowered.endswith("." + bound)

    def matches(self, text: object, pattern: object) -> bool:
        """Whether a pattern is found anywhere in the text."""
        if not isinstance(text, str):
            self.faults.append("matches is asked of something that is no text")
            return False
        return self.patterns[str(pattern)].search(text) is not None

    def _known(self, name: object, value: object) -> bool:
        if not isinstance(value, str):
            self.faults.append(f"the list {name!r} is asked for something that is no text")
        elif not self.lists.available(str(name)):
            self.faults.append(f"the content of the list {name!r} is not known now")
        else:
            return True
        return False
