"""How values stand in columns: times in seconds, JSON as text with a version, text made storable."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from gateway.clock import from_epoch_s, to_epoch_s
from gateway.json_writer import json_writer

JSON_VERSION = 1
_ENCODE = json_writer(sort_keys=True)


def storable_text(value: str) -> str:
    """Escape what PostgreSQL (NUL) or UTF-8 (lone surrogates) cannot hold, and every other control character.

    Clients choose some of these texts, so a refusal to store them would be a way to lose the record.
    """
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in value)


def json_text(value: Mapping[str, object]) -> str:
    """Canonical JSON of an object, ASCII only, with the version key ``v``."""
    return _ENCODE({"v": JSON_VERSION, **value})


def json_object(column: str) -> Mapping[str, object]:
    """The object that ``json_text`` wrote, without its version."""
    value = cast("dict[str, object]", json.loads(column))
    value.pop("v", None)
    return value


def texts_column(values: Sequence[str]) -> str:
    return _ENCODE({"v": JSON_VERSION, "items": list(values)})


def texts(column: str) -> tuple[str, ...]:
    return tuple(json.loads(column)["items"])


def pairs_column(pairs: Sequence[tuple[str, str]]) -> str:
    return _ENCODE({"v": JSON_VERSION, "items": dict(pairs)})


def pairs(column: str) -> tuple[tuple[str, str], ...]:
    """What ``pairs_column`` wrote, by name."""
    return tuple(sorted(json.loads(column)["items"].items()))


def time_column(moment: datetime | None) -> int | None:
    return None if moment is None else to_epoch_s(moment)


def optional_time(column: int | None) -> datetime | None:
    return None if column is None else from_epoch_s(column)
