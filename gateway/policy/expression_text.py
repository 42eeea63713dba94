"""Reads the text of a CEL expression as far as its bounds are concerned: strings, names, calls and macros.

This is no parser: what is no CEL is told by the compiler. It finds what the compiler does not say: how deep
macros are nested, which names they bind, and which texts stand where only a constant may.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<text>[rRbB]{0,2}(?:'''.*?'''|\"\"\".*?\"\"\"))
    |(?P<raw>[rR][bB]?(?:'[^'\n]*'|"[^"\n]*"))
    |(?P<string>[bB]?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>[0-9][A-Za-z0-9_]*(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?)?)
    |(?P<sign>&&|\|\||[=!<>]=|.)""",
    re.VERBOSE | re.DOTALL,
)
_TEXTS = frozenset({"text", "raw", "string"})


@dataclass(frozen=True, slots=True)
class Token:
    """``at``: characters before it."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call with the tokens of its first argument. ``method``: it stands behind a dot."""

    name: str
    first: tuple[Token, ...]
    count: int
    method: bool

    @property
    def constant(self) -> str | None:
        """The first argument as it is written, quotes and all, if it is one constant text."""
        one = self.first[0] if len(self.first) == 1 else None
        return one.text if one is not None and one.kind in _TEXTS else None


@dataclass(slots=True)
class Outline:
    """``depth`` counts macros inside macros, 0 where there is none; ``paths`` are the dotted names that
    begin with a name nobody binds; ``signs`` what is neither name, number nor text."""

    depth: int = 0
    macros: int = 0
    bound: set[str] = field(default_factory=set)
    paths: list[tuple[str, ...]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    words: set[str] = field(default_factory=set)
    signs: set[str] = field(default_factory=set)


def read_outline(text: str) -> Outline:
    """Whatever the text is: of one that is no CEL the outline means nothing."""
    tokens = [token for token in _tokens(text) if token.kind != "space"]
    found = Outline()
    open_brackets: list[bool] = []  # whether a macro's
    for index, token in enumerate(tokens):
        if token.kind == "sign":
            _count_bracket(found, open_brackets, token, tokens[:index])
        elif token.kind == "name":
            _take_name(found, tokens, index)
    found.paths = [path for path in found.paths if path[0] not in found.bound]
    return found


def with_own_matches(text: str, name: str) -> str:
    """The text with ``name`` wherever the function ``matches`` is called."""
    tokens = list(_tokens(text))
    signs = [token for token in tokens if token.kind != "space"]
    called = {
        one.at for index, one in enumerate(signs) if one.text == "matches" and _sign_at(signs, index + 1, "(")
    }
    return "".join(name if token.at in called else token.text for token in tokens)


def _tokens(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        yield Token(match.lastgroup or "sign", match[0], match.start())


def _count_bracket(found: Outline, open_brackets: list[bool], token: Token, before: Sequence[Token]) -> None:
    found.signs.add(token.text)
    if token.text in ("(", "[", "{"):
        macro = token.text == "(" and _is_macro(before)
        open_brackets.append(macro)
        found.macros += macro
        found.depth = max(found.depth, sum(open_brackets))
    elif token.text in (")", "]", "}") and open_brackets:
        open_brackets.pop()


def _is_macro(before: Sequence[Token]) -> bool:
    return len(before) > 1 and before[-1].text in MACROS and before[-2].text == "."


def _take_name(found: Outline, tokens: Sequence[Token], index: int) -> None:
    name, method = tokens[index].text, index > 0 and tokens[index - 1].text == "."
    called = _sign_at(tokens, index + 1, "(")
    if called:
        given = _arguments(tokens, index + 2)
        first = given[0] if given else ()
        found.calls.append(Call(name, first, len(given), method))
        if method and name in MACROS and len(first) == 1:
            found.bound.add(first[0].text)
    elif not method:
        found.words.add(name)
        found.paths.append(_path(tokens, index))


def _arguments(tokens: Sequence[Token], start: int) -> list[tuple[Token, ...]]:
    given: list[tuple[Token, ...]] = []
    depth, begin = 0, start
    for index in range(start, len(tokens)):
        text = tokens[index].text
        if depth == 0 and text in (",", ")"):
            if index > begin:
                given.append(tuple(tokens[begin:index]))
            if text == ")":
                return given
            begin = index + 1
        depth += (text in ("(", "[", "{")) - (text in (")", "]", "}"))
    return given


def _path(tokens: Sequence[Token], index: int) -> tuple[str, ...]:
    """The dotted name that begins here, without a last part that is called."""
    path = [tokens[index].text]
    while _sign_at(tokens, index + 1, ".") and index + 2 < len(tokens) and tokens[index + 2].kind == "name":
        if _sign_at(tokens, index + 3, "("):
            break
        path.append(tokens[index + 2].text)
        index += 2
    return tuple(path)


def _sign_at(tokens: Sequence[Token], index: int, sign: str) -> bool:
    return index < len(tokens) and tokens[index].kind == "sign" and tokens[index].text == sign
