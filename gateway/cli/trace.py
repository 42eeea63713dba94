"""Draws a decision's trace, as the store holds it, as a tree: steps, their rules, and the reasons."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from gateway.cli.output import escaped

_UNICODE = ("├─ ", "└─ ", "│  ")
_ASCII = ("|- ", "`- ", "|  ")


def trace_lines(decision: Mapping[str, object]) -> Iterator[str]:
    """One line per step, with its rules below it, then the reasons of a refusal."""
    steps = [dict(step) for step in _objects(decision.get("trace"))]
    reasons = _objects(decision.get("reasons"))
    if steps:
        yield ""
        yield "How policy decided"
        groups = [(name, list(group)) for name, group in groupby(steps, key=lambda step: _text(step, "step"))]
        for position, (name, group) in enumerate(groups):
            yield from _branch(name, group, last=position == len(groups) - 1)
    if reasons:
        yield ""
        yield "Why it was refused"
        middle, end, along = _strokes()
        for position, reason in enumerate(reasons):
            where = _text(reason, "path")
            place = f" ({where})" if where else ""
            stroke = end if position == len(reasons) - 1 else middle
            yield f"{stroke}{_text(reason, 'code')}{place}: {_text(reason, 'message')}"
            if _text(reason, "rule"):
                below = "   " if stroke == end else along
                at = f"  [{_text(reason, 'where')}]" if _text(reason, "where") else ""
                yield f"{below}by the rule {_text(reason, 'rule')}{at}"


def _branch(name: str, steps: Sequence[Mapping[str, object]], *, last: bool) -> Iterator[str]:
    middle, end, along = _strokes()
    yield f"{end if last else middle}{name}"
    below = "   " if last else along
    for position, step in enumerate(steps):
        stroke = end if position == len(steps) - 1 else middle
        rule, message, where = _text(step, "rule"), _text(step, "message"), _text(step, "where")
        line = f"{below}{stroke}{_text(step, 'verdict')}"
        line += f"  {rule}" if rule else ""
        line += f": {message}" if message else ""
        yield line + (f"  [{where}]" if where else "")


def _strokes() -> tuple[str, str, str]:
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    return _UNICODE if encoding.startswith("utf") else _ASCII


def _objects(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _text(step: Mapping[str, object], key: str) -> str:
    return escaped(str(step.get(key, "") or ""))
