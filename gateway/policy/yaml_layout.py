"""Writes a tree of ``yaml_tree`` in one layout: two blanks of indentation, quotes only where they are needed,
lists and mappings in brackets or in lines as they were.

Brackets that went over several lines are closed into one, or become lines if that one would be too long or
would lose a comment.
"""

from __future__ import annotations

import io
import json
import re
import textwrap
from functools import lru_cache

import yaml
from yaml.emitter import Emitter
from yaml.resolver import Resolver

from gateway.policy.yaml_tree import Collection, Item, Node, Page, Scalar

WIDTH = 110
_STEP = 2
_TEXT_TAG = "tag:yaml.org,2002:str"
# Numbers of YAML 1.2, which editors read: some are none in YAML 1.1.
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")
# What is written as an escape: what yaml_syntax refuses, and what ends a line or is seen by nobody.
_NOT_PRINTABLE = re.compile(
    "[^\n\x20-\x7e\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def layout(pages: list[Page]) -> str:
    """The text of some documents; it ends with a line break."""
    texts: list[list[str]] = []
    carried: list[str] = []
    for page in pages:
        head = _without_gaps([*carried, *page.head])
        carried = []
        if page.node is None:
            carried = [*head, ""] if head else []
            continue
        lines = _page(page.node)
        if page.head and not page.head[-1] and head:
            head.append("")
        texts.append([*head, *lines])
    if carried:
        texts.append(_without_gaps(carried))
    if carried and len(texts) > 1:
        last = texts.pop()
        texts[-1] += ["", *last]
    return "\n---\n".join("\n".join(lines) for lines in texts) + "\n" if texts else ""


def _page(node: Node) -> list[str]:
    if isinstance(node, Scalar):
        return [_one_line(node)]
    return [_flow(node), *node.below] if _stays_flow(node, 0) else _block(node, 0)


def _block(node: Collection, indent: int) -> list[str]:
    lines: list[str] = []
    margin = " " * indent
    for number, item in enumerate(node.items):
        _settle(item, indent)
        above = item.above if number else _without_first_gaps(item.above)
        above = [*above, *_comments_of_first_line(item, indent)]
        if isinstance(item.value, Collection) and not item.value.items:
            above += item.value.below  # within empty brackets
        lines += [margin + line if line else "" for line in above]
        lines += _item(item, indent)
    return lines + [margin + line if line else "" for line in node.below]


def _settle(item: Item, indent: int) -> None:
    """Decide whether what an entry holds stays in brackets."""
    prefix = len(_key(item.key)) + 1 if item.key is not None else 1
    if isinstance(item.value, Collection) and not _stays_flow(item.value, indent + prefix + 1):
        item.value.flow = False


def _comments_of_first_line(item: Item, indent: int) -> list[str]:
    """Comments that would stand between the dash of an entry and what it holds: they go above the dash."""
    found: list[str] = []
    value = item.value
    while item.key is None and isinstance(value, Collection) and value.items and not value.flow:
        found += [item.beside] if item.beside else []
        first = value.items[0]
        indent += _STEP
        _settle(first, indent)
        found += [line for line in first.above if line]
        item.beside, first.above = "", []
        item, value = first, first.value
    return found


def _item(item: Item, indent: int) -> list[str]:
    prefix = " " * indent + (f"{_key(item.key)}:" if item.key is not None else "-")
    value = item.value
    if isinstance(value, Scalar):
        folded = _in_lines(value, indent + _STEP)
        if folded:
            return [_with_comment(f"{prefix} {folded[0]}", item), *folded[1:]]
        return [_with_comment(f"{prefix} {_one_line(value)}", item)]
    if value.flow or not value.items:
        return [_with_comment(f"{prefix} {_flow(value)}", item)]
    inner = _block(value, indent + _STEP)
    if item.key is not None:
        return [_with_comment(prefix, item), *inner]
    return [f"{prefix} {inner[0][indent + _STEP :]}", *inner[1:]]


def _with_comment(line: str, item: Item) -> str:
    if not item.beside:
        return line
    return line + " " * max(2, item.beside_column - len(line)) + item.beside


def _stays_flow(node: Collection, column: int) -> bool:
    """Whether a collection is written in brackets: an empty one can be nothing else."""
    if not node.items:
        return True
    if not node.flow or _has_comment(node):
        return False
    return node.lines == 1 or column + len(_flow(node)) <= WIDTH


def _has_comment(node: Collection) -> bool:
    return any(node.below) or any(
        any(item.above) or item.beside or (isinstance(item.value, Collection) and _has_comment(item.value))
        for item in node.items
    )


def _flow(node: Node) -> str:
    if isinstance(node, Scalar):
        return _one_line(node, flow=True)
    if not node.is_mapping:
        return "[" + ", ".join(_flow(item.value) for item in node.items) + "]"
    pairs = [f"{_key(item.key, flow=True)}: {_flow(item.value)}" for item in node.items if item.key]
    return "{" + ", ".join(pairs) + "}"


def _key(key: Scalar | None, *, flow: bool = False) -> str:
    if key is None:
        return ""
    return key.value if key.style is None and key.value else _text(key.value, plain=False, flow=flow)


def _one_line(scalar: Scalar, *, flow: bool = False) -> str:
    if scalar.style is None and scalar.value in ("", "~", "null", "Null", "NULL"):
        return "null"
    return _text(scalar.value, plain=scalar.style is None, flow=flow)


def _text(value: str, *, plain: bool, flow: bool) -> str:
    """A value in one line. ``plain``: it had no quotes where it stood, so it needs none."""
    if "\n" not in value and (plain or _plain_is_safe(value, flow=flow)):
        return value
    if "'" not in value and ('"' in value or "\\" in value) and not _odd(value) and "\n" not in value:
        return f"'{value}'"
    escaped = json.dumps(value, ensure_ascii=False)
    return _NOT_PRINTABLE.sub(lambda found: _escape(found[0]), escaped)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _odd(value: str) -> bool:
    return _NOT_PRINTABLE.search(value) is not None


@lru_cache(maxsize=10_000)
def _plain_is_safe(value: str, *, flow: bool) -> bool:
    """Whether a text without quotes is the same text: to us, and to other readers of YAML."""
    if not value or _odd(value) or _NUMBER.fullmatch(value):
        return False
    tag = Resolver().resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]  # theirs
    if tag != _TEXT_TAG:
        return False
    found = Emitter(io.StringIO(), allow_unicode=True).analyze_scalar(value)
    return bool(found.allow_flow_plain if flow else found.allow_block_plain) and not found.multiline


def _in_lines(scalar: Scalar, indent: int) -> list[str]:
    """A value of several lines, or a long one that was broken, as ``|`` or ``>``; none: it must be quoted."""
    value = scalar.value
    body = value.removesuffix("\n")
    lines = body.split("\n")
    if not body or _odd(value) or body.endswith("\n") or lines[0][:1] in ("", " ") or "\t" in value:
        return []
    chomp = "" if value.endswith("\n") else "-"
    margin = " " * indent
    if len(lines) > 1 or (scalar.style == "|"):
        if any(line.endswith(" ") for line in lines):
            return []
        return [f"|{chomp}", *(margin + line if line else "" for line in lines)]
    broken = scalar.lines > 1 and scalar.style in (None, ">") and indent + len(body) > WIDTH
    if not (broken or chomp == "") or "  " in body or body.endswith(" "):
        return []
    wrapped = textwrap.wrap(body, WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return [f">{chomp}", *(margin + line for line in wrapped)]


def _without_first_gaps(lines: list[str]) -> list[str]:
    first = next((place for place, line in enumerate(lines) if line), len(lines))
    return lines[first:]


def _without_gaps(lines: list[str]) -> list[str]:
    found = _without_first_gaps(lines)
    while found and not found[-1]:
        found.pop()
    return found
