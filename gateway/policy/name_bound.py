"""What a credential may ask for by its own list: DNS suffixes, IP addresses and networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from gateway.errors import MalformedMessage
from gateway.model.names import GeneralName, NameKind
from gateway.pki.name_syntax import normal_dns
from gateway.policy.name_rules import normal_address, under_suffix
from gateway.policy.selection_table import Network


@dataclass(frozen=True, slots=True)
class NameBound:
    """``suffixes`` hold themselves and every name below them, wildcards too, and e-mail addresses there.

    Addresses are held by ``networks`` alone, URIs by nothing.
    """

    suffixes: frozenset[str]
    networks: tuple[Network, ...]

    def holds(self, name: GeneralName) -> bool:
        match name.kind:
            case NameKind.DNS:
                return under_suffix(name.value.removeprefix("*."), self.suffixes)
            case NameKind.EMAIL:
                return under_suffix(name.value.rpartition("@")[2].lower(), self.suffixes)
            case NameKind.IP:
                return self._holds_address(name.value)
            case _:
                return False

    def holds_text(self, value: str) -> bool:
        """A CN is text of any kind: only one that is a DNS name or an address as a whole can be held."""
        try:
            return under_suffix(normal_dns(value).removeprefix("*."), self.suffixes)
        except MalformedMessage:
            return self._holds_address(value)

    def _holds_address(self, value: str) -> bool:
        if not self.networks:
            return False
        try:
            address = normal_address(value)
        except ValueError:
            return False
        return any(address in network for network in self.networks)

    def __str__(self) -> str:
        parts = []
        if self.suffixes:
            parts.append(f"names under {', '.join(sorted(self.suffixes))}")
        if self.networks:
            parts.append(f"addresses in {', '.join(map(str, self.networks))}")
        return " and ".join(parts) or "nothing"


def read_bound(entries: Sequence[str]) -> NameBound:
    """Sort entries: ``10.1.2.3``, ``10.0.0.0/8`` and ``fd00::/8`` are networks, all others DNS suffixes.

    ``*.a.test`` and ``.a.test`` count as ``a.test``. Nothing is refused here: what is neither, such as a
    network with bits below its mask, holds no name.
    """
    suffixes: set[str] = set()
    networks: list[Network] = []
    for entry in entries:
        network = _network(entry)
        if network is not None:
            networks.append(network)
        else:
            suffixes.add(entry.lower().removeprefix("*.").strip("."))
    return NameBound(frozenset(suffixes), tuple(networks))


def _network(entry: str) -> Network | None:
    if not (entry[-1:].isdigit() or ":" in entry):
        return None  # spares most entries the slow way to the same answer
    try:
        return ip_network(entry)
    except ValueError:
        return None
