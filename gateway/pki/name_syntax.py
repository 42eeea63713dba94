"""What DNS names, IP addresses, e-mail addresses and URIs may look like in a certificate (RFC 5280, 4.2.1.6).

Each function gives the one normal form of a text, or raises MalformedMessage (``name.malformed``) with what
is wrong and what would be right. Whether a well-formed name is *allowed* is policy's matter.
"""

from __future__ import annotations

import ipaddress
import re

from gateway.errors import MalformedMessage
from gateway.model.reasons import ReasonCode

# Underscores are no host names (RFC 1123), but private networks are full of them; policy may refuse them.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DNS = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_DOTTED_QUAD = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")
_MAX_DNS_OCTETS = 253  # RFC 1035 section 2.3.4: 255 octets on the wire
_MAX_LOCAL_OCTETS = 64  # RFC 5321 section 4.5.3.1.1
_SHOWN_CHARACTERS = 80


def malformed_name(message: str, path: str = "") -> MalformedMessage:
    """The error for a name that no certificate may hold."""
    return MalformedMessage(message, code=ReasonCode.NAME_MALFORMED, path=path)


def shown(text: str) -> str:
    """A foreign text as it may stand in a message: quoted, escaped and cut."""
    return ascii(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")


def folded(text: str) -> str:
    """A text by which names are compared whose letter case does not count.

    Only ASCII letters are folded: U+212A or U+017F would become a "k" or an "s", and the German sharp s two.
    """
    return text.lower() if text.isascii() else text


def normal_dns(text: str) -> str:
    """The lower-case A-label form of a DNS name (RFC 5280 section 7.2).

    A wildcard stands only as the whole left-most label (RFC 6125 section 6.4.3).
    """
    # isascii first: lower() turns some non-ASCII letters (U+212A) into ASCII ones
    if text.isascii() and len(text) <= _MAX_DNS_OCTETS:
        value = text.lower()
        if _DNS.fullmatch(value) and not _DOTTED_QUAD.fullmatch(value):
            return value
    raise malformed_name(f"the DNS name {shown(text)} {_dns_fault(text)}")


def registered_domain(name: str) -> str:
    """The last two labels of a DNS name: no list of public suffixes knows private networks."""
    return ".".join(name.removeprefix("*.").rsplit(".", 2)[-2:])


def _dns_fault(text: str) -> str:
    labels = text.split(".")
    if not text:
        found = "is empty"
    elif not text.isascii():
        found = "has characters outside ASCII; send the A-label form (xn--...) of an internationalised name"
    elif "\0" in text:
        found = "holds a null byte"
    elif any(char.isspace() for char in text):
        found = "holds white space"
    elif text.endswith("."):
        found = "ends with a dot; send it without"
    elif "" in labels:
        found = "has an empty label (two dots in a row, or a dot at the start)"
    elif len(text) > _MAX_DNS_OCTETS or max(map(len, labels)) > 63:
        found = "is too long: at most 63 characters per label and 253 in all"
    elif "*" in text:
        found = "has a wildcard that is not the whole left-most label of a longer name"
    elif _DOTTED_QUAD.fullmatch(text):
        found = "is an IP address; send it as iPAddress"
    else:
        found = "may hold letters, digits, hyphens and underscores only, no hyphen at the edge of a label"
    return found


def normal_ip(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    """The four or sixteen octets of iPAddress; an IPv4-mapped IPv6 address becomes the IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.packed
    return address.packed


def ip_octets(text: str) -> bytes:
    """The octets of an IP address in its text form."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as exc:
        raise malformed_name(f"{shown(text)} is no IP address") from exc
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise malformed_name(f"the IP address {shown(text)} has a zone; send it without")
    return normal_ip(address)


def ip_text(octets: bytes) -> tuple[str, bytes]:
    """The RFC 5952 text and the normal octets of iPAddress content.

    RFC 5280 4.2.1.6: four octets for IPv4, sixteen for IPv6; eight or 32 are ranges of a name constraint.
    """
    if len(octets) == 4:
        return ".".join(map(str, octets)), octets
    if len(octets) != 16:
        raise malformed_name(f"an iPAddress has {len(octets)} octets; IPv4 has 4 and IPv6 has 16")
    address = ipaddress.IPv6Address(octets)
    packed = normal_ip(address)
    return (str(address), packed) if len(packed) == 16 else (".".join(map(str, packed)), packed)


def checked_email(text: str) -> str:
    """An rfc822Name as it stands (RFC 5321 section 4.1.2 Mailbox with a dot-string, no quoted local part)."""
    local, at, domain = text.rpartition("@")
    if not at or len(local) > _MAX_LOCAL_OCTETS or not _LOCAL_PART.fullmatch(local):
        raise malformed_name(f"{shown(text)} is no e-mail address of the form local@domain in ASCII")
    if normal_dns(domain).startswith("*"):
        raise malformed_name(f"the e-mail address {shown(text)} has a wildcard")
    return text


def checked_uri(text: str) -> str:
    """An absolute URI as it stands (RFC 3986 section 4.3, RFC 5280 section 4.2.1.6)."""
    if not _URI.fullmatch(text):
        raise malformed_name(f"{shown(text)} is no absolute URI: scheme, colon, then ASCII without blanks")
    return text
