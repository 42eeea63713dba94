"""Times on the command line: spans from now, or dates in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def span(text: str) -> timedelta | None:
    """The span that ``90d``, ``12h``, ``30m`` or ``20s`` means, None for anything else."""
    found = _SPAN.fullmatch(text)
    return None if found is None else timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def moment(text: str, now: datetime, option: str, *, backwards: bool = False) -> datetime:
    """The time that a span from now (``backwards``: before now) or a date means. Raises BadParameter."""
    length = span(text)
    try:
        if length is not None:
            at = now - length if backwards else now + length
        else:
            at = datetime.fromisoformat(text)
            at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as exc:
        raise typer.BadParameter(
            f"{text!r} is no time; write 90d, 12h, 30m, 2030-01-31 or 2030-01-31T12:00:00Z",
            param_hint=option,
        ) from exc
    return at.replace(microsecond=0)


def future(text: str, now: datetime, option: str) -> datetime:
    """As ``moment``, and later than now. Raises BadParameter."""
    at = moment(text, now, option)
    if at <= now:
        raise typer.BadParameter(f"{text!r} is not in the future", param_hint=option)
    return at
