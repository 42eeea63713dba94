"""A strict YAML reader that remembers where everything stands, and complaints that say so.

It takes the part of YAML that has one meaning: mappings, sequences and scalars. Anchors, aliases, tags and
merge keys are refused, as are duplicate keys; depth, nodes and scalars are bounded. Every scalar stays the
text that was written (``no`` is "no", ``1.10`` is "1.10") and the pydantic model converts it; only a plain
``null``, ``~`` or nothing at all gives None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gateway.errors import ConfigurationError
from gateway.policy.complaints import Complaint, Path, Value, complaints_of
from gateway.policy.yaml_syntax import refuse_characters, syntax_complaint

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 24
MAX_NODES = 50_000
MAX_SCALAR_CHARACTERS = 64 * 1024
MAX_COMPLAINTS = 50

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_FIRST_KEYS = frozenset({"apiVersion", "kind", "metadata"})
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INHERITED = "; as inherited by "

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text; both numbers begin with 1 and count characters. ``file`` names another text than the
    document's own, for what was inherited from there."""

    line: int
    column: int
    file: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document as plain values: dict, list, str and None.

    ``marks`` says where a value stands: a scalar or an item of a sequence at itself, a collection at its key.
    ``key_marks`` says where the keys stand, ``nulls`` which None was written as such (``null``, ``~``).
    """

    name: str
    value: Value
    marks: Mapping[Path, Mark]
    key_marks: Mapping[Path, Mark]
    nulls: frozenset[Path] = frozenset()

    def mark(self, path: Path, *, of_key: bool = False) -> Mark:
        """Where the value (or key) at ``path`` stands; the nearest one around it if it is not written."""
        if of_key and path in self.key_marks:
            return self.key_marks[path]
        while path not in self.marks:
            path = path[:-1]
        return self.marks[path]

    def where(self, path: Path = (), *, of_key: bool = False) -> str:
        """``file:line:column`` of ``mark``."""
        mark = self.mark(path, of_key=of_key)
        return f"{mark.file or self.name}:{mark.line}:{mark.column}"

    @property
    def title(self) -> str:
        """Its metadata.name, if there is one."""
        metadata = self.value.get("metadata") if isinstance(self.value, dict) else None
        return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""

    def inherits(self, path: Path, *, of_key: bool = False) -> bool:
        """Whether what stands at ``path`` is written in a document that this one extends."""
        return self.mark(path, of_key=of_key).file != ""


@dataclass(slots=True)
class ComplaintList:
    """Collects complaints, so that somebody who writes a file sees all of them at once."""

    lines: list[str] = field(default_factory=list)

    def add(self, document: Document, path: Path, text: str, *, of_key: bool = False) -> None:
        """``text``: what is wrong; what would be right."""
        dotted = ".".join(map(str, path))
        line = f"{document.where(path, of_key=of_key)}: {dotted + ': ' if dotted else ''}{text}"
        if document.inherits(path, of_key=of_key):
            line += f"{_INHERITED}{document.title!r}"
        # A complaint is one line, whatever a key holds.
        self._append("".join(sign if sign.isprintable() else _escaped(sign) for sign in line))

    def take(self, error: ConfigurationError) -> None:
        for line in str(error).splitlines():
            self._append(line)

    def _append(self, line: str) -> None:
        """A mistake that several policies inherit is told once."""
        bare = line.partition(_INHERITED)[0]
        if all(bare != known.partition(_INHERITED)[0] for known in self.lines):
            self.lines.append(line)

    def raise_if_any(self, most: int | None = None) -> None:
        """Raise one ConfigurationError with every line, or the first ``most`` and the number of others."""
        if not self.lines:
            return
        more = len(self.lines) - most if most is not None else 0
        lines = self.lines[:most] + ([f"... and {more} more"] if more > 0 else [])
        raise ConfigurationError("\n".join(lines))


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def read_documents(name: str, text: str) -> tuple[Document, ...]:
    """Read every document of a text; empty ones are left out.

    Raises ConfigurationError with one line: after a mistake of syntax nothing more can be said.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigurationError(f"{name}:1:1: the text is over 1 Mi characters; split it into several files")
    refuse_characters(name, text)
    try:
        documents = list(_Reader(name, yaml.parse(text, Loader=_LOADER)).documents())
    except yaml.MarkedYAMLError as error:
        raise ConfigurationError(syntax_complaint(name, text, error)) from error
    return tuple(document for document in documents if document.value is not None)


def validate(
    model: type[Model],
    document: Document,
    name: str = "",
    at: Path = (),
    without: frozenset[str] = frozenset(),
) -> Model:
    """Make an instance of ``model`` from a document, or from the part of it ``at`` a path.

    Raises ConfigurationError with one line ``file:line:column: path: what is wrong; what would be right`` per
    mistake. ``name`` replaces the document's own name in them. A part that is not written counts as empty.
    Keys in ``without`` belong to another model.
    """
    if name and name != document.name:
        document = replace(document, name=name)
    found = ComplaintList()
    value = document.value
    for step in at:
        value = value.get(step) if isinstance(value, dict) and isinstance(step, str) else None
    value = {} if value is None and at else value
    if without and isinstance(value, dict):
        value = {key: one for key, one in value.items() if key not in without}
    try:
        return model.model_validate(value)
    except ValidationError as error:
        complaints = [replace(one, path=(*at, *one.path)) for one in complaints_of(model, value, error)]
        for complaint in sorted(complaints, key=lambda one: _place(document, one)):
            found.add(document, complaint.path, complaint.text, of_key=complaint.of_key)
        cause = error
    try:
        found.raise_if_any()
    except ConfigurationError as error:
        raise error from cause
    raise AssertionError("a validation error without complaints")  # pydantic always lists what it found


def _place(document: Document, complaint: Complaint) -> tuple[int, int]:
    mark = document.mark(complaint.path, of_key=complaint.of_key)
    return mark.line, mark.column


class _Reader:
    """Builds values from parser events; recursion is bounded by MAX_DEPTH."""

    def __init__(self, name: str, events: Iterator[yaml.Event]) -> None:
        self._name = name
        self._events = events
        self._nodes = 0
        self._marks: dict[Path, Mark] = {}
        self._key_marks: dict[Path, Mark] = {}
        self._nulls: set[Path] = set()

    def documents(self) -> Iterator[Document]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._marks, self._key_marks, self._nulls = {}, {}, set()
                value = self._value(next(self._events), (), None)
                yield Document(self._name, value, self._marks, self._key_marks, frozenset(self._nulls))

    def _value(self, event: yaml.Event, path: Path, key_mark: Mark | None) -> Value:
        self._check(event, path)
        if isinstance(event, yaml.ScalarEvent):
            self._marks[path] = _mark_of(event)
            if not (event.implicit[0] and event.value in _NULLS):
                return str(event.value)
            if event.value:
                self._nulls.add(path)
            return None
        self._marks[path] = key_mark or _mark_of(event)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Value] = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                items.append(self._value(item, (*path, len(items)), None))
            return items
        return self._mapping(path)

    def _mapping(self, path: Path) -> dict[str, Value]:
        mapping: dict[str, Value] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            self._check(event, path)
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refusal(event, "a key is no plain word; write `key: value`")
            key = str(event.value)
            if key == "<<" and event.implicit[0]:
                raise self._refusal(event, "merge keys are not allowed here; write the values out")
            mark = _mark_of(event)
            if key in mapping:
                first = self._key_marks[(*path, key)].line
                text = f"the key {key!r} stands here twice, first in line {first}; keep one"
                if not path and key in _FIRST_KEYS:
                    text += ", or write a line --- before it if another document begins here"
                raise self._refusal(event, text)
            self._key_marks[(*path, key)] = mark
            mapping[key] = None
            mapping[key] = self._value(next(self._events), (*path, key), mark)
        return mapping

    def _check(self, event: yaml.Event, path: Path) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._refusal(event, f"there are more than {MAX_NODES} values; split the file")
        if len(path) > MAX_DEPTH:
            raise self._refusal(event, f"values are nested deeper than {MAX_DEPTH}; flatten them")
        if isinstance(event, yaml.AliasEvent):
            text = f"the alias *{event.anchor} is not allowed here; write the value out"
            raise self._refusal(event, f"{text}, or in quotes if the * is part of it")
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            raise self._refusal(event, f"the anchor &{event.anchor} is not allowed here; remove it")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            raise self._refusal(event, f"the tag {event.tag!r} is not allowed here; remove it")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR_CHARACTERS:
            raise self._refusal(
                event, f"a value is longer than {MAX_SCALAR_CHARACTERS} characters; shorten it"
            )

    def _refusal(self, event: yaml.Event, text: str) -> ConfigurationError:
        mark = _mark_of(event)
        return ConfigurationError(f"{self._name}:{mark.line}:{mark.column}: {text}")


def _mark_of(event: yaml.Event) -> Mark:
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1) if start is not None else Mark(1, 1)
