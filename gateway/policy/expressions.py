"""Expressions of CEL in ``checks``, ``when`` and the like: compiled at load, judged in bounded time.

Whatever goes wrong while one is judged is an ExpressionFault, for which the request is refused: a word that
it has no value for, a result that is no bool, a list that is not known, more names than the bound.

Bounds: an expression has at most ``MAX_CHARACTERS`` and ``MAX_MACROS`` macros, nested ``MAX_DEPTH`` deep, and
a list that it is given has at most ``MAX_VALUES`` entries. CEL has neither recursion nor loops of its own;
``matches`` is that of RE2, linear in its input, with a pattern that is compiled at load. The dearest macro
took 3 to 7 ms at these bounds (``map`` copies its list at every step), a usual check of one macro 10 us.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.model.names import ATTRIBUTE_NAMES
from gateway.policy.complaints import Misfit, Path, did_you_mean
from gateway.policy.expression_functions import FUNCTIONS, MATCHES, OwnFunctions
from gateway.policy.expression_text import Call, Outline, read_outline, with_own_matches
from gateway.policy.lists import EMPTY_LISTS, ListLookup
from gateway.policy.patterns import compile_regex
from gateway.policy.template import WORDS as TEMPLATE_WORDS
from gateway.policy.yaml_marks import ComplaintList, Document

MAX_CHARACTERS = 1024
MAX_MACROS = 10
MAX_DEPTH = 2
# By whether macros are nested, and whether one of them makes a list: then each entry costs as many again.
MAX_VALUES = {(False, False): 1000, (False, True): 250, (True, False): 64, (True, True): 32}
MAX_TEXT = 128 * 1024  # characters in all that one expression is given
MAX_WHY = 200
MAX_SHOWN = 60

# What templates know is known before anything is built; the rest when the plan is made.
BUILT_WORDS: Mapping[str, object] = {
    "key": {"type": "text", "size": "number", "curve": "text"},
    "validity": {"not_before": "time", "not_after": "time"},
    "limits": {"exceeded": "bool"},
}
WORDS: Mapping[str, object] = {**TEMPLATE_WORDS, **BUILT_WORDS}
_TYPES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
_KEYWORDS = frozenset({"true", "false", "null", "in"})
_OF_LISTS = ("inList", "lookup")
_FUNCTIONS = frozenset(
    {
        *(name for name in FUNCTIONS if name != MATCHES),
        "contains", "startsWith", "endsWith", "matches", "size", "has", "max", "min", "dyn",
        "type", "int", "uint", "double", "string", "bytes", "duration", "timestamp",
        *(f"get{part}" for part in ("FullYear", "Month", "DayOfYear", "DayOfMonth", "Date", "DayOfWeek")),
        *(f"get{part}" for part in ("Hours", "Minutes", "Seconds", "Milliseconds")),
    }
)  # fmt: skip
_PLACE = re.compile(r"<input>:([0-9]+):([0-9]+): (?:Syntax error: )?(.*)")
_EXAMPLE = "write one like san.dns.all(n, n.endsWith('.example.com'))"
_HINTS = (
    ("and", "write && for and"),
    ("or", "write || for or"),
    ("not", "write ! for not"),
    ("is", "write == to compare"),
)


class ExpressionFault(Exception):
    """An expression has no answer for a request; ``str()`` says why, in words that may be shown."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. ``words`` are the first parts of the words that it reads, ``lists`` the List
    documents that it asks; ``most``: entries that a list which it is given may have. ``parts``: of a word
    the parts that are read, so that no more is handed to the library; None: it is read as a whole."""

    source: str
    path: Path  # in its document
    where: str
    words: frozenset[str]
    lists: tuple[str, ...]
    functions: frozenset[str]
    most: int
    program: Any
    parts: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    patterns: Mapping[str, Any] = field(default_factory=dict)  # compiled, by what stands in ``matches``

    def holds(self, words: Mapping[str, object], lists: ListLookup = EMPTY_LISTS) -> bool:
        """Whether it is true of these words of the vocabulary. Raises ExpressionFault."""
        given = {word: _part(words[word], read) for word, read in self.parts.items() if word in words}
        if _size(given, self.most) > MAX_TEXT:
            raise ExpressionFault("what the request brings is too long for it")
        faults: list[str] = []
        try:
            result = self._judged(given, lists, faults)
        except BaseException as error:
            # A panic of the library is no Exception; what ends the process or the task must go on.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise ExpressionFault(_why(error)) from error
        if faults:
            raise ExpressionFault(faults[0])
        if not isinstance(result, bool):
            raise ExpressionFault(f"it gives {_kind(result)}, neither true nor false")
        return result

    def _judged(self, given: dict[str, object], lists: ListLookup, faults: list[str]) -> object:
        if not self.functions:
            return self.program.execute(given)
        import cel  # loaded only where a bundle has an expression

        own = OwnFunctions(lists, self.patterns, faults)
        functions = {name: getattr(own, FUNCTIONS[name]) for name in self.functions}
        return self.program.execute(cel.Context(variables=given, functions=functions))


def compile_expression(
    text: str,
    document: Document,
    path: Path,
    found: ComplaintList,
    *,
    without: Mapping[str, str] | None = None,
) -> Expression:
    """Compile; what is wrong goes into ``found``, and then what is given here faults whatever it is asked.

    ``without``: words that are not known where this one stands, each with the reason.
    """
    where = document.where(path)
    try:
        return _compiled(text, path, where, without or {})
    except Misfit as fault:
        found.add(document, path, str(fault))
        return Expression(text, path, where, frozenset(), (), frozenset(), 0, None)


def _compiled(text: str, path: Path, where: str, without: Mapping[str, str]) -> Expression:
    if not text.strip():
        raise Misfit(f"the expression is empty; {_EXAMPLE}")
    if len(text) > MAX_CHARACTERS:
        raise Misfit(
            f"the expression has {len(text)} characters; at most {MAX_CHARACTERS} are allowed: make several "
            "checks of it"
        )
    outline = read_outline(text)
    program = _program(text, outline)
    _check_bounds(outline)
    functions = {name for name in program.functions() if name[0].isalpha()}
    _check_functions(functions | {call.name for call in outline.calls if not call.method})
    words = frozenset(program.variables()) - outline.bound - _TYPES
    _check_words(words, outline, without)
    for call in outline.calls:
        if call.name in (*FUNCTIONS, "matches") and call.count + call.method != 2:
            raise Misfit(f"{call.name} takes two values and is given {call.count}; see the list of functions")
    lists = tuple(dict.fromkeys(_list_name(call) for call in outline.calls if call.name in _OF_LISTS))
    patterns = dict(_pattern(call) for call in outline.calls if call.name == "matches")
    if patterns:
        program = _program(with_own_matches(text, MATCHES), outline)
        functions = {*functions, MATCHES}
    makes_lists = any(call.name in ("map", "filter") for call in outline.calls)
    return Expression(
        source=text,
        path=path,
        where=where,
        words=words,
        lists=lists,
        functions=frozenset(FUNCTIONS) & functions,
        most=MAX_VALUES[outline.depth > 1, makes_lists],
        program=program,
        parts={word: _parts(word, outline) for word in words},
        patterns=patterns,
    )


def _program(text: str, outline: Outline) -> Any:
    import cel  # loaded only where a bundle has an expression

    try:
        return cel.compile(text)
    except Exception as error:
        found = _PLACE.search(str(error))
        place, said = "", "it cannot be read"
        if found is not None:
            line, column = int(found[1]), int(found[2])
            place = f"line {line}, " if text.count("\n") else ""
            place, said = f" at {place}character {column}", _said(found[3])
        hint = next((hint for word, hint in _HINTS if word in outline.words), "")
        if not hint and "=" in outline.signs:
            hint = "write == to compare"
        raise Misfit(f"this is no expression of CEL:{place} {said}; {hint or _EXAMPLE}") from error


def _said(text: str) -> str:
    inner = re.search(r'msg: "([^"]*)"', text)
    return (inner[1] if inner is not None else text.split(" expecting ")[0])[:MAX_SHOWN]


def _check_bounds(outline: Outline) -> None:
    if outline.depth > MAX_DEPTH:
        raise Misfit(
            f"macros ({', '.join(sorted(('all', 'exists', 'filter', 'map')))}) are nested {outline.depth} "
            f"deep; at most {MAX_DEPTH} are allowed: make several checks of it"
        )
    if outline.macros > MAX_MACROS:
        raise Misfit(
            f"there are {outline.macros} macros (all, exists, ...) in it; at most {MAX_MACROS} are allowed: "
            "make several checks of it"
        )


def _check_functions(names: Iterable[str]) -> None:
    for name in sorted(names):
        if name not in _FUNCTIONS:
            raise Misfit(f"there is no function {name!r}; {did_you_mean(name, _FUNCTIONS)}")


def _check_words(words: Iterable[str], outline: Outline, without: Mapping[str, str]) -> None:
    known = set(WORDS) - set(without)
    for word in sorted(words):
        if word in without:
            raise Misfit(
                f"{word!r} is not known here: {without[word]}; known here: {', '.join(sorted(known))}"
            )
        if word not in WORDS:
            hint = next((hint for wrong, hint in _HINTS if wrong == word), did_you_mean(word, known))
            raise Misfit(f"there is no word {word[:MAX_SHOWN]!r}; {hint}")
    for path in outline.paths:
        if path[0] not in _KEYWORDS | _TYPES:
            _check_path(path)


def _check_path(path: tuple[str, ...]) -> None:
    """What comes behind the first part, as far as it is the same for every request."""
    known: object = WORDS
    for index, part in enumerate(path):
        if known == "attributes":
            known = dict.fromkeys(ATTRIBUTE_NAMES.values(), "text")
        if not isinstance(known, Mapping) or (part not in known and "*" in known):
            return
        if part not in known:
            above, whole = ".".join(path[:index]), ".".join(path[: index + 1])
            raise Misfit(
                f"there is no word {whole[:MAX_SHOWN]!r}; below {above!r} {did_you_mean(part, known)}"
            )
        known = known[part]


def _list_name(call: Call) -> str:
    name = call.constant
    if name is None or not re.fullmatch(r"'[a-z0-9-]{1,40}'|\"[a-z0-9-]{1,40}\"", name):
        raise Misfit(
            f"{call.name} asks a List by its name, which must stand here; write "
            f"{call.name}('name-of-the-list', subject.CN)"
        )
    return name[1:-1]


def _pattern(call: Call) -> tuple[str, Any]:
    import cel  # loaded only where a bundle has an expression

    written = call.constant
    if written is None or not call.method:
        raise Misfit("matches takes a constant text alone; write it like n.matches('^web-[0-9]+$')")
    source = str(cel.compile(written).execute())
    return source, compile_regex(source).program


def _parts(word: str, outline: Outline) -> tuple[str, ...] | None:
    """The second parts of a word that are read; None where it is read in another way than by its parts."""
    paths = [path for path in outline.paths if path[0] == word]
    if any(len(path) == 1 for path in paths):
        return None
    return tuple(dict.fromkeys(path[1] for path in paths))


def _part(value: object, read: tuple[str, ...] | None) -> object:
    if read is None or not isinstance(value, dict):
        return value
    return {part: value[part] for part in read if part in value}


def _size(value: object, most: int) -> int:
    """Characters in all texts. Raises ExpressionFault where a list has more than ``most`` entries."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        if len(value) > most:
            raise ExpressionFault(f"{len(value)} values are too many for it, at most {most} are judged")
        return sum([len(inner) if isinstance(inner, str) else _size(inner, most) for inner in value])
    # A plain dict is told by its type much faster than any mapping.
    if isinstance(value, (dict, Mapping)):
        return sum([_size(inner, most) for inner in value.values() if inner])
    return 0


def _why(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"the request has no value for {error}"
    lines = str(error).splitlines() or [type(error).__name__]
    text = lines[0].split(". CEL does not")[0].split(". Check ")[0]
    undefined = re.match(r"Undefined variable or function: '([^']*)'", text)
    if undefined is not None:
        return f"the request has no value for {undefined[1]!r}"
    return text[:MAX_WHY]


def _kind(value: object) -> str:
    return {str: "a text", int: "a number", float: "a number", list: "a list", dict: "a map"}.get(
        type(value), "nothing" if value is None else "a value"
    )
