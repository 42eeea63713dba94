"""What is wrong with a text that is no YAML, in words that say what to do: the parser's own rarely do."""

from __future__ import annotations

import re

import yaml

from gateway.errors import ConfigurationError

# Words that begin with a sign of YAML: *.example.com (an alias), @name, %name, `name` (reserved).
_NEEDS_QUOTES = re.compile(r"(?<![^\s\[{,])[*@%`][^\s\]},\"']*")
# YAML 1.2 section 5.1, without those that turn the direction of writing: a text must be what it seems.
_REFUSED = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_OPEN_QUOTE = re.compile(r"""(?:^|[\s\[{,])(["'])(?:(?!\1).)*$""")
_NO_BLANK = re.compile(r"\s*(?:- )?([A-Za-z_][A-Za-z0-9_-]*):(\S.*)")
_BRACKETS = {"while parsing a flow sequence": "[]", "while parsing a flow mapping": "{}"}


def refuse_characters(name: str, text: str) -> None:
    """Raise ConfigurationError with the place of the first character that may not stand in a policy text."""
    found = _REFUSED.search(text)
    if found is None:
        return
    line = text.count("\n", 0, found.start()) + 1
    column = found.start() - text.rfind("\n", 0, found.start())
    character = f"U+{ord(found[0]):04X}"
    told = f"there is a character that YAML does not allow ({character}); remove it"
    if found[0] in _TURNING:
        told = f"there is a character that turns the direction of writing ({character}); remove it"
    raise ConfigurationError(f"{name}:{line}:{column}: {told}")


def syntax_complaint(name: str, text: str, error: yaml.MarkedYAMLError) -> str:
    """The parser's words, or better ones where it is plain what was meant."""
    mark = error.problem_mark or error.context_mark
    row, offset = (mark.line, mark.column) if mark is not None else (0, 0)
    # As YAML counts lines: str.splitlines knows more ends of lines.
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
    line = lines[row] if row < len(lines) else ""
    told = _tab(line) or _sign(line, offset)
    if told is not None:
        return f"{name}:{row + 1}:{told[0]}: {told[1]}"
    place = _elsewhere(lines, row, error) or _further(lines, row)
    if place is not None:
        return f"{name}:{place[0]}:{place[1]}: {place[2]}"
    problem = error.problem or error.context or "there is a mistake"
    return (
        f"{name}:{row + 1}:{offset + 1}: this is not YAML: {problem}; "
        "check indentation, quotes and brackets here"
    )


def _tab(line: str) -> tuple[int, str] | None:
    margin = line[: len(line) - len(line.lstrip())]
    return (margin.index("\t") + 1, "a tab indents this line; use blanks") if "\t" in margin else None


def _sign(line: str, offset: int) -> tuple[int, str] | None:
    for found in _NEEDS_QUOTES.finditer(line):
        if found.start() <= offset <= found.end():
            word = found[0]
            text = f'{word!r} begins with {word[0]}, which means something else in YAML; quote it: "{word}"'
            return found.start() + 1, text
    return None


def _elsewhere(lines: list[str], row: int, error: yaml.MarkedYAMLError) -> tuple[int, int, str] | None:
    """Mistakes that the parser notices only some lines later."""
    for number, line in enumerate(lines[: row + 1], 1):
        found = _OPEN_QUOTE.search(line.partition(" #")[0])
        if found is not None:
            sign = found[1]
            return number, found.start(1) + 1, f"the quote {sign} is not closed in its line; close it"
    began = error.context_mark
    if began is None:
        return None
    brackets = _BRACKETS.get(error.context or "")
    if brackets is not None:
        text = f"what begins with {brackets[0]} here is not closed; write {brackets[1]} at its end"
        return began.line + 1, began.column + 1, text
    if error.problem is not None and "could not find expected ':'" in error.problem:
        line = lines[began.line] if began.line < len(lines) else ""
        glued = _NO_BLANK.fullmatch(line)
        if glued is not None:
            text = f"a blank is missing behind the colon; write `{glued[1]}: {glued[2].rstrip()}`"
        else:
            text = "this line has neither a colon nor a dash; write `key: value`, or `- value` in a list"
        return began.line + 1, began.column + 1, text
    return None


def _further(lines: list[str], row: int) -> tuple[int, int, str] | None:
    """A line that stands further to the right than the one before it, which has a value already."""
    before = next((line for line in reversed(lines[:row]) if line.strip()), "")
    line = lines[row] if row < len(lines) else ""
    indent = len(line) - len(line.lstrip())
    if line.strip() and before.strip() and indent > len(before) - len(before.lstrip()) and ": " in before:
        return (
            row + 1,
            indent + 1,
            "this line stands further to the right than the one before it; indent both alike",
        )
    return None
