"""Patterns that names are held against: regular expressions of RE2, and globs.

RE2 works in time linear in its input, whatever the pattern; input and pattern are bounded all the same. A
pattern always speaks of the whole name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import re2

from gateway.policy.complaints import Misfit

MAX_PATTERN_CHARACTERS = 512
MAX_DNS_CHARACTERS = 253
MAX_TEXT_CHARACTERS = 1024
SEPARATORS = "./\\:;,=+@ and white space"  # for messages: what no * of a glob runs over

_RE2: Any = re2  # it brings no types
_MAX_MEMORY = 1 << 20  # bytes for the automata of one pattern; RE2 refuses programs that do not fit
_HINTS = (
    ("(?", "RE2 has no look-around, comments or conditions; say it with several patterns or with a check"),
    ("invalid escape", "RE2 knows \\d \\w \\s \\b \\. and no back-references; write \\\\ for a backslash"),
    ("missing )", "close the bracket, or write \\( for the character"),
    ("missing ]", "close the class, or write \\[ for the character"),
    ("invalid repetition", "repeat at most 1000 times in all, the smaller number first"),
    ("pattern too large", "repeat less, or split it into several patterns"),
)
_OTHER_HINT = "see the syntax of RE2; to mean the character itself, write a backslash before it"
_GLOB_TEXT = re.compile(r"[^\s?\[\]{}|^$()\\]+")
_RUN = r"[^./\\:;,=+@\s]+"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern. ``longest``: what is longer matches nothing."""

    source: str
    program: Any
    longest: int = MAX_TEXT_CHARACTERS

    def holds(self, text: str) -> bool:
        """Whether the whole text matches. Text that is no Unicode (lone surrogates) matches nothing."""
        if len(text) > self.longest:
            return False
        try:
            return self.program.fullmatch(text) is not None
        except UnicodeEncodeError:
            return False


def compile_regex(source: str, *, dns: bool = False) -> Pattern:
    """A regular expression of RE2; ``dns``: upper and lower case are the same. Raises Misfit."""
    if not source:
        raise Misfit("the regular expression is empty; write one, or remove it")
    if len(source) > MAX_PATTERN_CHARACTERS:
        raise Misfit(
            f"the regular expression has {len(source)} characters; at most {MAX_PATTERN_CHARACTERS} are "
            "allowed; split it into several, any of them may match"
        )
    try:
        program = _RE2.compile(source, _options(fold=dns))
    except _RE2.error as error:
        raise Misfit(_regex_fault(source, error)) from error
    except UnicodeEncodeError as error:
        raise Misfit(
            f"character {error.start + 1} of the regular expression is no Unicode; remove it"
        ) from error
    return Pattern(source, program, MAX_DNS_CHARACTERS if dns else MAX_TEXT_CHARACTERS)


def _options(*, fold: bool) -> Any:
    options = _RE2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    options.case_sensitive = not fold
    return options


def _regex_fault(source: str, error: Exception) -> str:
    """RE2 says what it stumbled over, not where: the place is that of the last such piece that fits."""
    said = error.args[0] if error.args else b""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    what, colon, piece = text.partition(": ")
    at = source.find(piece) if colon and piece != source else -1
    place = f" at character {at + 1}" if at >= 0 else ""
    hint = next((hint for sign, hint in _HINTS if sign in text), _OTHER_HINT)
    shown = f" {piece!r}" if at >= 0 else ""
    return f"{source!r} is no regular expression: {what}{shown}{place}; {hint}"


@dataclass(frozen=True, slots=True)
class DnsGlob:
    """A DNS name with stars. ``labels``: None is exactly one label of any content, a text that label, a
    Pattern a label with stars in it."""

    source: str
    labels: tuple[str | Pattern | None, ...]

    def holds(self, name: str) -> bool:
        """Whether a DNS name in normal form matches, label by label.

        The ``*`` of a wildcard name is one label like another, so that ``*.a.test`` holds it: that pattern
        allows every name that the certificate would stand for. A label with stars in it holds A-labels only
        if it begins with ``xn--`` itself: their letters are not those that people see.
        """
        found = name.split(".")
        return len(found) == len(self.labels) and all(map(_label_holds, self.labels, found))


def _label_holds(wanted: str | Pattern | None, label: str) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return label == wanted
    if label == "*" or (label.startswith("xn--") and not wanted.source.startswith("xn--")):
        return False
    return wanted.holds(label)


def compile_dns_glob(source: str) -> DnsGlob:
    """``*`` as a label is exactly one label; within a label, one or more of its characters. Raises Misfit."""
    if not source.isascii():
        raise Misfit(f"{source!r} has characters outside ASCII; write A-labels (xn--...)")
    labels: list[str | Pattern | None] = []
    for label in source.lower().split("."):
        if label == "*":
            labels.append(None)
        elif re.fullmatch(r"[a-z0-9_*-]{1,63}", label) and "**" not in label:
            labels.append(_glob_pattern(label, r"[^.]+") if "*" in label else label)
        else:
            raise Misfit(
                f"{source!r} is no pattern of DNS names: the label {label!r} may hold letters, digits, "
                "hyphens, underscores and single stars; write one like web-*.example.com, or a regex"
            )
    if len(source) > MAX_DNS_CHARACTERS:
        raise Misfit(f"{source!r} is longer than any DNS name; at most {MAX_DNS_CHARACTERS} characters")
    if all(label is None for label in labels):
        raise Misfit(f"{source!r} holds every name of so many labels; name at least one label")
    return DnsGlob(source.lower(), tuple(labels))


def compile_text_glob(source: str) -> Pattern:
    """``*`` is a run of one or more characters without separators (``SEPARATORS``). Raises Misfit."""
    if not source or len(source) > MAX_PATTERN_CHARACTERS:
        raise Misfit(f"a pattern has 1 to {MAX_PATTERN_CHARACTERS} characters; write one like dev-*")
    if "**" in source or not _GLOB_TEXT.fullmatch(source.replace(" ", "")):
        raise Misfit(
            f"{source!r} is no pattern: only single stars have a meaning in it; write one like dev-*, or a "
            "regex"
        )
    return _glob_pattern(source, _RUN)


def _glob_pattern(source: str, run: str) -> Pattern:
    expression = run.join(_RE2.escape(part) for part in source.split("*"))
    return Pattern(source, _RE2.compile(expression, _options(fold=False)))
