"""The only module that reads the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of aware UTC times, cut to whole seconds."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)


def to_epoch_s(moment: datetime) -> int:
    """Seconds since 1970-01-01T00:00Z of an aware time."""
    return int(moment.timestamp())


def from_epoch_s(epoch_s: int) -> datetime:
    """The aware UTC time of seconds since 1970-01-01T00:00Z."""
    return datetime.fromtimestamp(epoch_s, UTC)
