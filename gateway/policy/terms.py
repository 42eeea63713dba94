"""The words of the policy language: names, durations, networks, key usages. Text in, checked value out."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from gateway.errors import MalformedMessage
from gateway.model.names import ATTRIBUTE_OIDS
from gateway.pki import der
from gateway.pki.name_syntax import normal_dns
from gateway.policy.complaints import Misfit, did_you_mean

MAX_DURATION = timedelta(days=36_500)

_DURATION = re.compile(r"([0-9]{1,9})([smhdwy])")
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,38})){1,30}")

# RFC 5280 section 4.2.1.12, RFC 4945 section 5.1.3.12, RFC 6402 section 2.10, RFC 9336, Microsoft
EXTENDED_KEY_USAGES: dict[str, str] = {
    "serverAuth": "1.3.6.1.5.5.7.3.1",
    "clientAuth": "1.3.6.1.5.5.7.3.2",
    "codeSigning": "1.3.6.1.5.5.7.3.3",
    "emailProtection": "1.3.6.1.5.5.7.3.4",
    "ipsecEndSystem": "1.3.6.1.5.5.7.3.5",
    "ipsecTunnel": "1.3.6.1.5.5.7.3.6",
    "ipsecUser": "1.3.6.1.5.5.7.3.7",
    "timeStamping": "1.3.6.1.5.5.7.3.8",
    "OCSPSigning": "1.3.6.1.5.5.7.3.9",
    "ipsecIKE": "1.3.6.1.5.5.7.3.17",
    "cmcCA": "1.3.6.1.5.5.7.3.27",
    "cmcRA": "1.3.6.1.5.5.7.3.28",
    "documentSigning": "1.3.6.1.5.5.7.3.36",
    "smartcardLogon": "1.3.6.1.4.1.311.20.2.2",
    "anyExtendedKeyUsage": "2.5.29.37.0",
}
EXTENDED_KEY_USAGE_NAMES: dict[str, str] = {oid: name for name, oid in EXTENDED_KEY_USAGES.items()}


def as_list(value: object) -> object:
    """One word stands for a list of one."""
    return [value] if isinstance(value, str) else value


def refuse_planned(words: object, planned: frozenset[str]) -> object:
    """Refuse words of the language that this version does not have yet. Raises Misfit."""
    if isinstance(words, list):
        for word in words:
            if isinstance(word, str) and word in planned:
                raise Misfit(f"{word!r} is not available in this version; remove it")
    return words


def read_duration(value: object) -> timedelta:
    """``90d``, ``1h``, ``10m``, ``30s``, ``2w``, ``1y`` (365 days). Raises Misfit."""
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Misfit(f"{value!r} is no duration; write a number and s, m, h, d, w or y, for example 90d")
    duration = int(found[1]) * _UNITS[found[2]]
    if duration > MAX_DURATION:
        raise Misfit(f"{value!r} is over a hundred years; write a shorter duration")
    return duration


def duration_text(duration: timedelta) -> str:
    """The shortest way to write a duration."""
    seconds = int(duration.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def read_oid(value: str) -> str:
    """A dotted object identifier. Raises Misfit."""
    if not _OID.fullmatch(value):
        raise Misfit(f"{value!r} is no object identifier; write it dotted and in quotes, like '1.3.6.1.4.1'")
    try:
        der.oid(value)
    except ValueError as error:
        raise Misfit(f"{value!r} is no object identifier; its second number must be below 40") from error
    return value


def read_extended_key_usage(value: object) -> str:
    """A name like ``serverAuth`` or an object identifier, to the object identifier. Raises Misfit."""
    if not isinstance(value, str):
        raise Misfit("this is no extended key usage; write a name like serverAuth or an object identifier")
    if value in EXTENDED_KEY_USAGES:
        return EXTENDED_KEY_USAGES[value]
    if value[:1].isdigit():
        return read_oid(value)
    raise Misfit(
        f"{value!r} is no extended key usage; {did_you_mean(value, EXTENDED_KEY_USAGES)} Or write its OID"
    )


def read_network(value: object) -> IPv4Network | IPv6Network:
    """A network in CIDR form or one address; bits below the mask must be zero. Raises Misfit."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str) or value.isdigit():
        raise Misfit(f'{value!r} is no network; write one like 10.0.0.0/8 or "2001:db8::/32"')
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        wider = ip_network(value, strict=False)
    except ValueError as error:
        raise Misfit(f'{value!r} is no network; write one like 10.0.0.0/8 or "2001:db8::/32"') from error
    raise Misfit(f"{value!r} has bits set below its mask; did you mean {str(wider)!r}?")


def read_dns_suffix(value: object) -> str:
    """A DNS name in normal form without wildcard or dots at its ends. Raises Misfit."""
    name = read_dns_name(value)
    if name.startswith("*."):
        raise Misfit(f"{value!r} has a wildcard; write {name[2:]!r}, which holds all names below it")
    return name


def read_dns_name(value: object) -> str:
    """A DNS name in normal form, perhaps with a wildcard label. Raises Misfit."""
    if not isinstance(value, str):
        raise Misfit("this is no DNS name; write one like example.com")
    if value.startswith("."):
        raise Misfit(f"{value!r} begins with a dot; write {value.lstrip('.')!r}")
    try:
        return normal_dns(value)
    except MalformedMessage as error:
        raise Misfit(f"{error}; write a name like example.com, or its A-label form (xn--...)") from error


def attribute_oid(name: str) -> str | None:
    """The OID of a subject attribute named ``CN`` or by its OID; None if it is neither."""
    if name in ATTRIBUTE_OIDS:
        return ATTRIBUTE_OIDS[name]
    return name if _OID.fullmatch(name) else None


_DURATION_SCHEMA = {"type": "string", "pattern": "^[0-9]{1,9}[smhdwy]$", "examples": ["90d", "10m"]}

Duration = Annotated[timedelta, BeforeValidator(read_duration), WithJsonSchema(_DURATION_SCHEMA)]
ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]
Oid = Annotated[str, BeforeValidator(lambda value: read_oid(str(value)))]
ExtendedKeyUsage = Annotated[
    str,
    BeforeValidator(read_extended_key_usage),
    WithJsonSchema(
        {"anyOf": [{"enum": list(EXTENDED_KEY_USAGES)}, {"type": "string", "pattern": "^[0-2]\\."}]}
    ),
]
NetworkText = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(read_network),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.0/8", "2001:db8::/32"]}),
]
DnsSuffix = Annotated[str, BeforeValidator(read_dns_suffix), WithJsonSchema({"type": "string"})]
DnsName = Annotated[str, BeforeValidator(read_dns_name), WithJsonSchema({"type": "string"})]
Curve = Literal["P-256", "P-384", "P-521"]
EdDsa = Literal["Ed25519", "Ed448"]
MlDsa = Literal["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]
SignatureHash = Literal["sha256", "sha384", "sha512", "sha1"]
KeyUsageBit = Literal[
    "digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement"
]
Words = Annotated[
    tuple[str, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str]), Field(max_length=1000)
]
Suffixes = Annotated[
    tuple[DnsSuffix, ...],
    BeforeValidator(as_list, json_schema_input_type=str | list[str]),
    Field(max_length=10_000),
]
DnsNames = Annotated[
    tuple[DnsName, ...],
    BeforeValidator(as_list, json_schema_input_type=str | list[str]),
    Field(max_length=10_000),
]
Networks = Annotated[
    tuple[NetworkText, ...],
    BeforeValidator(as_list, json_schema_input_type=str | list[str]),
    Field(max_length=10_000),
]
