"""Turns pydantic's errors into words that an administrator can act on: what is wrong; what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.policy.model_walk import models_at

Path = tuple[str | int, ...]
Value = dict[str, "Value"] | list["Value"] | str | None

MAX_LISTED = 24


class Misfit(ValueError):
    """Raised by validators of our models: ``at`` leads from the validated value to the guilty one."""

    def __init__(self, text: str, at: Path = ()) -> None:
        super().__init__(text)
        self.at = at


@dataclass(frozen=True, slots=True)
class Complaint:
    """One mistake. ``of_key``: the key itself is wrong, not its value."""

    path: Path
    text: str
    of_key: bool = False


def complaints_of(
    model: type[BaseModel], value: Value, error: ValidationError, *, in_part: bool = False
) -> Iterator[Complaint]:
    """Give one complaint for every error; ``value`` is what was validated. ``in_part``: what is missing, and
    what does not fit together, is told when the other part is there."""
    errors = error.errors(include_url=False)
    misspelt = _misspelt(model, value, errors)
    for details in errors:
        if _follows(details, errors) or (in_part and _of_the_whole(details)):
            continue
        path = _written_path(value, details["loc"])
        if details["type"] != "missing" or (path[:-1], str(path[-1])) not in misspelt:
            yield _complaint(model, value, details)


def _misspelt(model: type[BaseModel], value: Value, errors: Sequence[ErrorDetails]) -> set[tuple[Path, str]]:
    """The keys that are meant by unknown ones: that they are missing need not be said too."""
    found: set[tuple[Path, str]] = set()
    for details in errors:
        if details["type"] == "extra_forbidden":
            path = _written_path(value, details["loc"])
            parents = models_at(model, path[:-1])
            known = {info.alias or name for one in parents for name, info in one.model_fields.items()}
            found.add((path[:-1], nearest(str(path[-1]), known)))
    return found


def _of_the_whole(details: ErrorDetails) -> bool:
    return details["type"] == "missing" or (
        details["type"] == "value_error" and isinstance(details["input"], dict)
    )


def _follows(details: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    """Whether a list is too short only because pydantic did not count its wrong items."""
    loc = details["loc"]
    return details["type"] == "too_short" and any(
        len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in errors
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like this one; empty if none is like it."""
    lowered = {option.lower(): option for option in sorted(set(known))}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[close[0]] if close else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` or the list of what is known; to be put behind a semicolon."""
    options = sorted(set(known))
    close = nearest(word, options)
    if close:
        return f"did you mean {close!r}?{_lookalikes(word)}"
    if not options:
        return "none is known here"
    listed = ", ".join(options[:MAX_LISTED]) + (", ..." if len(options) > MAX_LISTED else "")
    return f"known here: {listed}"


def _lookalikes(word: str) -> str:
    """What else to say of a word whose letters only look like those that are meant."""
    strange = [character for character in word if not character.isascii()]
    if not strange:
        return ""
    named = ", ".join(f"U+{ord(character):04X}" for character in dict.fromkeys(strange[:4]))
    return f" {word!a} holds characters that are none of it ({named}): type it anew"


def _complaint(model: type[BaseModel], value: Value, details: ErrorDetails) -> Complaint:
    path = _written_path(value, details["loc"])
    context = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(model, path)
        case "missing":
            return _missing_key(model, path)
        case "value_error":
            fault = context.get("error")
            at = fault.at if isinstance(fault, Misfit) else ()
            return Complaint((*path, *at), _sentence(str(fault)))
        case _:
            return Complaint(path, _wrong_value(details))


def _written_path(value: Value, loc: tuple[int | str, ...]) -> Path:
    """The part of ``loc`` that is in the document: pydantic adds tags of unions and of functions."""
    path: list[str | int] = []
    for index, step in enumerate(loc):
        if isinstance(value, dict) and step in value:
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        elif isinstance(value, str | dict) and step == 0:
            continue  # a single word or mapping that stands for a list of one
        elif index != len(loc) - 1 or not isinstance(value, dict):
            continue
        path.append(step)
    return tuple(path)


def _unknown_key(model: type[BaseModel], path: Path) -> Complaint:
    key = str(path[-1])
    known: set[str] = set()
    for parent in models_at(model, path[:-1]):
        known |= {info.alias or name for name, info in parent.model_fields.items()}
        said = getattr(parent, "elsewhere", {}).get(key)
        if said is not None:
            return Complaint(path, f"{key!r} {said}", of_key=True)
        if key in getattr(parent, "planned", ()):
            return Complaint(path, f"{key!r} is not available in this version; remove it", of_key=True)
    return Complaint(path, f"unknown key {key!r}; {did_you_mean(key, known)}", of_key=True)


def _missing_key(model: type[BaseModel], path: Path) -> Complaint:
    key = str(path[-1])
    described = ""
    for parent in models_at(model, path[:-1]):
        for name, info in parent.model_fields.items():
            if (info.alias or name) == key and info.description:
                described = f": {info.description.split('. ')[0].rstrip('.')}"
    return Complaint(path[:-1], f"the key {key!r} is missing; add it{described}")


_NUMBER = "{given} is no whole number; write one, for example 2048"
_BOOLEAN = "{given} is neither true nor false; write one of them"
_MAPPING = "{absent}; write `key: value` lines below it, or {{}} for none"
_LIST = "{absent}; write a list: [a, b]"
_TEXTS = {
    "int_parsing": _NUMBER,
    "int_type": _NUMBER,
    "int_from_float": _NUMBER,
    "bool_parsing": _BOOLEAN,
    "bool_type": _BOOLEAN,
    "string_type": "{absent}; write a text",
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "greater_than_equal": "{given} is too small; at least {ge}",
    "greater_than": "{given} is too small; more than {gt}",
    "less_than_equal": "{given} is too large; at most {le}",
    "less_than": "{given} is too large; less than {lt}",
    "string_pattern_mismatch": "{given} has the wrong form; it must match {pattern}",
    "string_too_short": "{given} is too short; at least {min_length} characters",
    "string_too_long": "{given} is too long; at most {max_length} characters",
    "too_short": "there are too few values; at least {min_length}",
    "too_long": "there are too many values; at most {max_length}",
}


def _wrong_value(details: ErrorDetails) -> str:
    given = _shown(details["input"])
    context = details.get("ctx", {})
    if details["type"] in ("literal_error", "enum"):
        expected = str(context.get("expected", ""))
        words = [word.strip(" '") for word in expected.replace(" or ", ", ").split(", ")]
        return f"{given} is not known; {_words(details['input'], words)}"
    text = _TEXTS.get(details["type"])
    if text is None:
        return _sentence(f"{given}: {details['msg']}")
    return text.format(given=given, absent=_absent(details["input"], given), **context)


def _words(given: object, words: Sequence[str]) -> str:
    suggestion = did_you_mean(given, words) if isinstance(given, str) else ""
    listed = "one of " + ", ".join(words) if len(words) > 1 else f"only {words[0]} is"
    return f"{suggestion} {listed}" if suggestion.startswith("did") else listed


def _absent(value: object, given: str) -> str:
    if value is None:
        return "there is no value"
    if isinstance(value, str):
        return f"a single value {given} stands here"
    return "a list stands here" if isinstance(value, list) else "a mapping stands here"


def _shown(value: object) -> str:
    if value is None:
        return "no value"
    text = value if isinstance(value, str) else f"{value}"
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _sentence(text: str) -> str:
    """Every complaint says what would be right; a foreign validator's text may not."""
    return text if ";" in text else f"{text}; see the description of this key"
