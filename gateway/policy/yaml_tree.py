"""A YAML text as a tree that keeps what a parser throws away: comments, empty lines, brackets and quotes.

For ``yaml_layout``, which writes such a tree. It takes what ``yaml_marks.read_documents`` has accepted; a
text that it refuses is not for this module.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ROOT_COLUMN = -1


@dataclass(slots=True)
class Scalar:
    """``lines``: over how many lines it was written; ``style``: None for plain, or ``' " | >``."""

    value: str
    style: str | None = None
    lines: int = 1
    begin: int = 0
    end: int = 0


@dataclass(slots=True)
class Item:
    """An entry of a list (without key) or of a mapping.

    ``above``: the comment lines before it, "" for an empty line. ``beside``: the comment behind its first or
    only line, ``beside_column`` where that began, counted from 0.
    """

    value: Node
    key: Scalar | None = None
    above: list[str] = field(default_factory=list)
    beside: str = ""
    beside_column: int = 0


@dataclass(slots=True)
class Collection:
    """A list or a mapping; ``flow``: in brackets, ``below``: comment lines after its last entry."""

    is_mapping: bool
    flow: bool = False
    lines: int = 1
    begin: int = 0
    end: int = 0
    column: int = 0
    items: list[Item] = field(default_factory=list)
    below: list[str] = field(default_factory=list)


Node = Scalar | Collection


@dataclass(slots=True)
class Page:
    """One document of a text. ``head``: the comment lines before its first entry; without ``node`` all."""

    node: Node | None
    head: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Comment:
    """``alone``: nothing else stands in its line. ``column`` counts from 0."""

    index: int
    line: int
    column: int
    text: str
    alone: bool


def read_pages(text: str) -> list[Page]:
    """Every document of a text with its comments."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    pages = list(_pages(text))
    _Attacher(text, comments_of(text)).attach(pages)
    return pages


def comments_of(text: str) -> list[Comment]:
    """Every comment of a text."""
    starts = [0]
    starts += [index + 1 for index, character in enumerate(text) if character == "\n"]
    found: list[Comment] = []
    position = 0
    for begin, end in [*_spans(text), (len(text), len(text))]:
        while (mark := text.find("#", position, begin)) >= 0:
            line = bisect_right(starts, mark) - 1
            if mark > 0 and text[mark - 1] not in " \t\n":
                position = mark + 1
                continue
            stop = text.find("\n", mark)
            stop = len(text) if stop < 0 else stop
            before = text[starts[line] : mark]
            comment = text[mark:stop].rstrip()
            found.append(Comment(mark, line, mark - starts[line], comment, not before.strip()))
            position = stop
        position = max(position, end)
    return found


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where scalars stand; of ``|`` and ``>`` without their first line, which may hold a comment."""
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.ScalarEvent):
            begin, end = _mark(event)[0], _mark(event, end=True)[0]
            if event.style in ("|", ">"):
                begin = text.find("\n", begin)
                yield (begin, end) if begin >= 0 else (end, end)
            else:
                yield begin, end


def _pages(text: str) -> Iterator[Page]:
    events = yaml.parse(text, Loader=_LOADER)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            node = _node(next(events), events)
            empty = isinstance(node, Scalar) and node.style is None and not node.value
            yield Page(None if empty else node)


def _node(event: yaml.Event, events: Iterator[yaml.Event]) -> Node:
    begin, first_line, column = _mark(event)
    if isinstance(event, yaml.ScalarEvent):
        end, last_line, _ = _mark(event, end=True)
        style = event.style if event.style in ("'", '"', "|", ">") else None
        return Scalar(str(event.value), style, last_line - first_line + 1, begin, end)
    is_mapping = isinstance(event, yaml.MappingStartEvent)
    is_flow = isinstance(event, yaml.CollectionStartEvent) and bool(event.flow_style)
    made = Collection(is_mapping, is_flow, begin=begin, column=column)
    while not isinstance(one := next(events), yaml.CollectionEndEvent):
        key = _node(one, events)
        if is_mapping and isinstance(key, Scalar):
            made.items.append(Item(_node(next(events), events), key))
        else:
            made.items.append(Item(key))
    made.end, last_line, _ = _mark(one, end=True)
    made.lines = last_line - first_line + 1
    if not made.flow and made.items:
        made.end = made.items[-1].value.end
    return made


def _mark(event: yaml.Event, *, end: bool = False) -> tuple[int, int, int]:
    """Index, line and column of where it begins (or ends), all counted from 0."""
    mark = event.end_mark if end else event.start_mark
    return (mark.index, mark.line, mark.column) if mark is not None else (0, 0, 0)


class _Attacher:
    """Gives each comment, in the order of the text, to the entry that it belongs to."""

    def __init__(self, text: str, comments: list[Comment]) -> None:
        self._text = text
        self._comments = comments
        self._next = 0
        self._starts = [0] + [index + 1 for index, character in enumerate(text) if character == "\n"]
        self._empty = [not line.strip() for line in text.split("\n")]
        self._line = -1  # the last one that was told of

    def attach(self, pages: list[Page]) -> None:
        for page in pages:
            begin = self._first(page)
            if begin is not None:
                page.head = self._above(begin)
            if isinstance(page.node, Collection):
                self._collection(page.node, _ROOT_COLUMN)
            elif page.node is not None:
                self._line = self._line_of(page.node.end)
        if pages:
            rest = self._above(len(self._text) + 1)
            last = pages[-1].node
            if isinstance(last, Collection):
                last.below += rest
            else:
                pages[-1].head += rest

    def _first(self, page: Page) -> int | None:
        node = page.node
        if isinstance(node, Collection) and not node.flow and node.items:
            return _begin(node.items[0])
        return None if node is None else node.begin

    def _collection(self, node: Collection, around: int) -> None:
        for number, item in enumerate(node.items):
            begin = _begin(item)
            above = self._above(begin)
            if number or around != _ROOT_COLUMN:
                item.above = above[:]
            self._line = max(self._line, self._line_of(begin))
            if item.key is not None and not _in_one_place(item.value):
                self._beside(item, item.key.end, self._first_inside(item.value))
            until = None
            if node.flow:
                until = _begin(node.items[number + 1]) if number + 1 < len(node.items) else node.end
            self._value(item, node, until)
        if not node.flow and node.column > around:
            node.below = self._indented(around)

    def _value(self, item: Item, parent: Collection, until: int | None) -> None:
        """``until``: in brackets, where the next entry begins or they end."""
        value = item.value
        if isinstance(value, Collection):
            self._collection(value, _FLOW if value.flow or parent.flow else parent.column)
            if value.flow:
                value.below = self._above(value.end, gap=False)
                self._line = self._line_of(value.end)
                self._beside(item, value.end, until)
        elif value.style in ("|", ">"):
            self._beside(item, value.begin, None)
            written = self._text[value.begin : value.end].rstrip()  # empty lines after it are counted to it
            self._line = max(self._line, self._line_of(value.begin + len(written)))
        else:
            self._line = self._line_of(value.end)
            self._beside(item, value.end, until)

    def _first_inside(self, value: Node) -> int | None:
        if isinstance(value, Collection) and value.items:
            return _begin(value.items[0])
        return None

    def _beside(self, item: Item, after: int, until: int | None) -> None:
        """Take the comment in the same line behind ``after``, if it stands before ``until``."""
        if self._next == len(self._comments):
            return
        comment = self._comments[self._next]
        if comment.alone or comment.line != self._line_of(after) or item.beside:
            return
        if comment.index < after or (until is not None and comment.index > until):
            return
        item.beside, item.beside_column = comment.text, comment.column
        self._next += 1

    def _above(self, until: int, *, gap: bool = True) -> list[str]:
        """The comments before ``until``, with the empty lines among them and, if ``gap``, around them."""
        found: list[str] = []
        while self._next < len(self._comments) and self._comments[self._next].index < until:
            found += self._take()
        line = self._line_of(min(until, len(self._text)))
        if gap and until <= len(self._text) and any(self._empty[self._line + 1 : line]) and self._line >= 0:
            found.append("")
        return found

    def _indented(self, around: int) -> list[str]:
        """The comments after a collection that stand further to the right than what is around it."""
        found: list[str] = []
        while self._next < len(self._comments):
            comment = self._comments[self._next]
            if not comment.alone or comment.column <= around:
                break
            between = self._text[self._starts[self._line + 1] : comment.index].split("\n")
            if any(line.strip() and not line.lstrip().startswith("#") for line in between):
                break  # it belongs to something that comes later
            found += self._take()
        return found

    def _take(self) -> list[str]:
        comment = self._comments[self._next]
        self._next += 1
        gap = self._line >= 0 and any(self._empty[self._line + 1 : comment.line])
        self._line = max(self._line, comment.line)
        return ["", comment.text] if gap else [comment.text]

    def _line_of(self, index: int) -> int:
        return bisect_right(self._starts, index) - 1


_FLOW = 1 << 30  # in brackets nothing is told by columns


def _begin(item: Item) -> int:
    if item.key is not None:
        return item.key.begin
    value = item.value
    if isinstance(value, Collection) and not value.flow and value.items:
        return _begin(value.items[0])
    return value.begin


def _in_one_place(value: Node) -> bool:
    """Whether a comment behind the value also stands behind its key."""
    return value.flow if isinstance(value, Collection) else value.style not in ("|", ">")
