"""The content of a list: lines or CSV (RFC 4180), checked and normalised by the type of the list.

Nothing is read here: octets come in, what rules look up comes out.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, ip_address

from gateway.errors import ConfigurationError, MalformedMessage
from gateway.pki.name_syntax import checked_email, normal_dns

MAX_ENTRIES = 1_000_000
MAX_CONTENT_BYTES = 64 << 20
MAX_ENTRY_CHARACTERS = 1024
MAX_COLUMNS = 32
_SHOWN_CHARACTERS = 60
_SERIAL = re.compile(r"[!-~]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1_OR_ITS_END = re.compile(r"(?:[0-9a-f]{20}){1,2}")
_SAFE_LINE = re.compile(r"[^\x00-\x1f\x7f]*")


class ListType(StrEnum):
    """What the entries of a list are; says how they and what is looked up are normalised."""

    SERIAL = "serial"
    DNS = "dns"
    IP = "ip"
    EMAIL = "email"
    SPKI_SHA256 = "spki-sha256"
    DEBIAN_OPENSSL = "debian-openssl"
    TEXT = "text"


class ListFormat(StrEnum):
    """How the content is written."""

    LINES = "lines"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class ListContent:
    """All entries. ``entries`` gives, by normalised key, the values of ``columns``, the names of further
    columns. ``sha256`` is that of the octets that were read; it stands in every trace."""

    sha256: str
    entries: Mapping[str, tuple[str, ...]]
    columns: tuple[str, ...] = ()


def normal_entry(type_: ListType, value: str) -> str:
    """The one form of a value. Raises ValueError, worded for whoever wrote the list."""
    value = value.strip()
    if not value or len(value) > MAX_ENTRY_CHARACTERS:
        raise ValueError(f"it is empty or over {MAX_ENTRY_CHARACTERS} characters; write one value")
    return _NORMAL[type_](value)


def inline_content(type_: ListType, entries: Sequence[str]) -> ListContent:
    """The content of entries that stand in the document. Raises ValueError with the index of the wrong one
    as second argument."""
    found: dict[str, tuple[str, ...]] = {}
    for index, entry in enumerate(entries):
        try:
            found[normal_entry(type_, entry)] = ()
        except ValueError as error:
            raise ValueError(f"{_shown(entry)} is no entry of a list of {type_}: {error}", index) from error
    return ListContent(hashlib.sha256("\n".join(found).encode()).hexdigest(), found)


def read_content(content: bytes, type_: ListType, format_: ListFormat, name: str) -> ListContent:
    """Read a file or what a server gave; ``name`` stands before the line number in complaints.

    Lines: one entry in each; empty ones and those that begin with ``#`` do not count. CSV: the first line
    names the columns, the first column is the key. Raises ConfigurationError.
    """
    if len(content) > MAX_CONTENT_BYTES:
        raise ConfigurationError(f"{name}: it is over {MAX_CONTENT_BYTES >> 20} MiB; split the list")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{name}:{line}: byte {error.start} is not UTF-8; save it as UTF-8"
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if format_ is ListFormat.LINES:
        return ListContent(sha256, _keyed(_of_lines(text), type_, name))
    columns, rows = _of_csv(text, name)
    return ListContent(sha256, _keyed(rows, type_, name), columns)


_Rows = Iterator[tuple[int, str, tuple[str, ...]]]


def _of_lines(text: str) -> _Rows:
    for number, line in enumerate(text.split("\n"), 1):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            yield number, entry, ()


def _of_csv(text: str, name: str) -> tuple[tuple[str, ...], _Rows]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = [column.strip() for column in _next_row(reader, name) or ()]
    if not 1 <= len(header) <= MAX_COLUMNS or not all(header) or len(set(header)) < len(header):
        raise ConfigurationError(
            f"{name}:1: the first line must name 1 to {MAX_COLUMNS} different columns, the key first; "
            "write a header such as serial,site"
        )
    return tuple(header[1:]), _csv_rows(reader, len(header), name)


def _csv_rows(reader: Iterator[list[str]], width: int, name: str) -> _Rows:
    while (row := _next_row(reader, name)) is not None:
        number: int = reader.line_num  # type: ignore[attr-defined]  # of a csv reader
        if not any(row):
            continue
        if len(row) != width:
            raise ConfigurationError(
                f"{name}:{number}: there are {len(row)} columns, the header names {width}; "
                "put values with commas into quotes"
            )
        yield number, row[0], tuple([_attribute(value, number, name) for value in row[1:]])


def _next_row(reader: Iterator[list[str]], name: str) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        number = reader.line_num  # type: ignore[attr-defined]  # as above
        raise ConfigurationError(f"{name}:{number}: this is no CSV: {error}; check its quotes") from error


def _attribute(value: str, number: int, name: str) -> str:
    value = value.strip()
    if len(value) > MAX_ENTRY_CHARACTERS or not _SAFE_LINE.fullmatch(value):
        raise ConfigurationError(
            f"{name}:{number}: {_shown(value)} is over {MAX_ENTRY_CHARACTERS} characters or has control "
            "characters; shorten it or remove them"
        )
    return value


def _keyed(
    rows: Iterable[tuple[int, str, tuple[str, ...]]], type_: ListType, name: str
) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}  # many entries have the same attributes
    for number, entry, attributes in rows:
        try:
            key = normal_entry(type_, entry)
        except ValueError as error:
            raise ConfigurationError(
                f"{name}:{number}: {_shown(entry)} is no entry of a list of {type_}: {error}"
            ) from error
        if found.setdefault(key, shared.setdefault(attributes, attributes)) != attributes:
            raise ConfigurationError(
                f"{name}:{number}: {_shown(entry)} stands here with other columns than before; keep one line"
            )
        if len(found) > MAX_ENTRIES:
            raise ConfigurationError(f"{name}:{number}: there are over {MAX_ENTRIES} entries; split the list")
    return found


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "...")


def _serial(value: str) -> str:
    """A device's serial number: letters count alike in both cases, everything else as it stands."""
    if not _SERIAL.fullmatch(value):
        raise ValueError("write up to 128 visible ASCII characters without blanks")
    return value.upper()


def _dns(value: str) -> str:
    try:
        return normal_dns(value)
    except MalformedMessage as error:
        raise ValueError(f"{error}; write a DNS name such as device.example") from error


def _ip(value: str) -> str:
    try:
        address = ip_address(value)
    except ValueError as error:
        raise ValueError("write one address such as 192.0.2.1 or 2001:db8::1, no network") from error
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _email(value: str) -> str:
    local, _, domain = value.rpartition("@")
    try:
        checked_email(value)
    except MalformedMessage as error:
        raise ValueError(f"{error}; write an e-mail address such as user@example.com") from error
    return f"{local}@{domain.lower()}"  # RFC 5321 section 2.4: only the domain has no case


def _spki_sha256(value: str) -> str:
    found = value.replace(":", "").lower()
    if not _SHA256.fullmatch(found):
        raise ValueError("write the SHA-256 of a SubjectPublicKeyInfo as 64 hexadecimal digits")
    return found


def _debian_openssl(value: str) -> str:
    """What ``gateway.pki.known_keys.debian_fingerprint`` gives; the whole SHA-1 is taken too."""
    found = value.lower()
    if not _SHA1_OR_ITS_END.fullmatch(found):
        raise ValueError("write the SHA-1 of a modulus as openssl-blacklist does, 20 hexadecimal digits")
    return found[-20:]


def _text(value: str) -> str:
    if not _SAFE_LINE.fullmatch(value):
        raise ValueError("it has control characters; remove them")
    return value


_NORMAL: Mapping[ListType, Callable[[str], str]] = {
    ListType.SERIAL: _serial,
    ListType.DNS: _dns,
    ListType.IP: _ip,
    ListType.EMAIL: _email,
    ListType.SPKI_SHA256: _spki_sha256,
    ListType.DEBIAN_OPENSSL: _debian_openssl,
    ListType.TEXT: _text,
}
