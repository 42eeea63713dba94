"""Identifiers of orders (RFC 8555 sections 7.1.3 and 9.7.7, RFC 8738): what may be asked for at all.

Whether a well-formed name is allowed is policy's matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

import idna

from gateway.acme.errors import AcmeError, Subproblem, malformed
from gateway.errors import MalformedMessage
from gateway.model.names import GeneralName, NameKind
from gateway.model.reasons import ReasonCode
from gateway.pki.name_syntax import shown
from gateway.pki.names import dns_name, ip_address_name

HTTP_01, DNS_01, TLS_ALPN_01 = "http-01", "dns-01", "tls-alpn-01"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# A last label of this form makes resolvers read the whole name as an IPv4 address.
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
_MAX_DNS_OCTETS = 253  # RFC 1035 section 2.3.4: 255 octets on the wire
_MAX_SHOWN_FAULTS = 20
_KINDS = {"dns": NameKind.DNS, "ip": NameKind.IP}


@dataclass(frozen=True, slots=True)
class Identifier:
    """One identifier in its canonical form: ``value`` is a lower-case A-label name or RFC 5952 text,
    without the ``*.`` that ``wildcard`` stands for."""

    kind: NameKind
    value: str
    wildcard: bool = False

    @property
    def name(self) -> str:
        """As it stands in the order and in the certificate, ``*.`` included."""
        return f"*.{self.value}" if self.wildcard else self.value

    def __str__(self) -> str:
        """As in ``OrderRow.identifiers``: ``dns:*.a.test``."""
        return f"{self.kind}:{self.name}"

    @property
    def general_name(self) -> GeneralName:
        """The subject alternative name that it becomes."""
        return dns_name(self.name) if self.kind is NameKind.DNS else ip_address_name(self.value)

    def document(self) -> dict[str, str]:
        """The identifier object of an order."""
        return {"type": self.kind.value, "value": self.name}


def from_text(text: str) -> Identifier:
    """Read back what ``str(identifier)`` wrote."""
    kind, _, name = text.partition(":")
    bare = name.removeprefix("*.")
    return Identifier(_KINDS[kind], bare, bare != name)


def challenges_for(identifier: Identifier, offered: Sequence[str]) -> tuple[str, ...]:
    """Those of the offered challenge types that can prove this identifier, in the same order."""
    if identifier.kind is NameKind.IP:  # RFC 8738 section 4: dns-01 MUST NOT be used
        return tuple(one for one in offered if one != DNS_01)
    if identifier.wildcard:  # RFC 8555 section 8.4, RFC 8737 section 3: only DNS speaks for all names below
        return tuple(one for one in offered if one == DNS_01)
    return tuple(offered)


def parse_identifiers(value: object, most: int) -> tuple[Identifier, ...]:
    """Read the ``identifiers`` of a newOrder, in order, repeats merged (RFC 8555 section 7.4).

    Raises AcmeError: malformed, unsupportedIdentifier, or compound where they go wrong in several ways.
    """
    if not isinstance(value, list) or not value:
        raise malformed("identifiers must be a list with at least one object of type and value")
    if len(value) > most:
        raise malformed(
            f"the order has {len(value)} identifiers, and at most {most} are taken here; split it up",
            code=ReasonCode.NAME_COUNT,
        )
    found: dict[Identifier, None] = {}
    faults: list[Subproblem] = []
    for index, item in enumerate(value):
        kind, name = _members(item, index)
        try:
            found[parse_identifier(kind, name)] = None
        except AcmeError as fault:
            faults.append(Subproblem(fault.type, str(fault), kind[:40], name[:300]))
    if faults:
        raise _refused(faults)
    return tuple(found)


def parse_identifier(kind: str, value: str) -> Identifier:
    """Read one identifier. Raises AcmeError: malformed, unsupportedIdentifier."""
    match kind:
        case "dns":
            return _parse_dns(value)
        case "ip":
            return _parse_ip(value)
        case _:
            raise AcmeError(
                "unsupportedIdentifier",
                f"identifiers of type {shown(kind)} are not supported; use dns or ip",
                code=ReasonCode.NAME_KIND,
            )


def _members(item: object, index: int) -> tuple[str, str]:
    kind = item.get("type") if isinstance(item, dict) else None
    value = item.get("value") if isinstance(item, dict) else None
    if not isinstance(kind, str) or not isinstance(value, str) or not kind or not value:
        raise malformed(f"identifiers[{index}] must be an object of type and value, both non-empty strings")
    return kind, value


def _refused(faults: list[Subproblem]) -> AcmeError:
    types = {fault.type for fault in faults}
    detail = faults[0].detail if len(faults) == 1 else f"{len(faults)} identifiers are not acceptable"
    code = ReasonCode.NAME_KIND if types == {"unsupportedIdentifier"} else ReasonCode.NAME_MALFORMED
    return AcmeError(
        types.pop() if len(types) == 1 else "compound",
        detail,
        code=code,
        subproblems=tuple(faults[:_MAX_SHOWN_FAULTS]),
    )


def _parse_dns(text: str) -> Identifier:
    value = text.lower() if text.isascii() else text  # names are the same in either case (RFC 5280 7.2)
    wildcard = value.startswith("*.")
    bare = value[2:] if wildcard else value
    if len(value) > _MAX_DNS_OCTETS or not _HOST.fullmatch(bare) or (wildcard and "." not in bare):
        raise _dns_fault(text, bare)
    if _NUMBER.fullmatch(bare.rpartition(".")[2]):
        raise _malformed(f"the DNS name {shown(text)} ends in a number, so that it could be an IP address")
    if "xn--" in bare:
        _check_a_labels(text, bare)
    elif "--" in bare and any(label[2:4] == "--" for label in bare.split(".")):
        # RFC 5890 section 2.3.1: "--" in this place is reserved for encodings
        raise _malformed(f"the DNS name {shown(text)} has a reserved label: '--' after its second character")
    return Identifier(NameKind.DNS, bare, wildcard)


def _dns_fault(text: str, bare: str) -> AcmeError:
    try:
        dns_name(text)
    except MalformedMessage as fault:
        return _malformed(str(fault))
    if "_" in bare:
        return _malformed(f"the DNS name {shown(text)} has an underscore, which no host name may hold")
    return _malformed(f"the DNS name {shown(text)} is a wildcard for all names below a single label")


def _check_a_labels(text: str, bare: str) -> None:
    for label in bare.split("."):
        if label[2:4] != "--":
            continue
        if not _is_a_label(label):
            raise _malformed(
                f"the DNS name {shown(text)} has the label {shown(label)}, which is no valid A-label "
                "(RFC 5890 section 2.3.2.1)"
            )


@lru_cache(maxsize=1024)
def _is_a_label(label: str) -> bool:
    """RFC 8555 section 7.1.4: whether it decodes, and what it decodes to encodes to it again."""
    try:
        return label.startswith("xn--") and idna.alabel(idna.ulabel(label)) == label.encode("ascii")
    except (idna.IDNAError, UnicodeError):
        return False


def _parse_ip(text: str) -> Identifier:
    try:
        canonical = str(ip_address(text))
    except ValueError as exc:
        raise _malformed(f"{shown(text)} is no IP address") from exc
    # RFC 8738 section 3: RFC 5952 section 4 text only; an IPv4-mapped address would become another one
    if canonical != text or "%" in text or ip_address_name(text).value != text:
        raise _malformed(
            f"the IP address {shown(text)} is not in its canonical text form (RFC 5952), "
            f"{ip_address_name(text.partition('%')[0]).value}"
        )
    return Identifier(NameKind.IP, text)


def _malformed(detail: str) -> AcmeError:
    return malformed(detail, code=ReasonCode.NAME_MALFORMED)
