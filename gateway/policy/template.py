"""Templates of names: ``${client.serial}.${client.vendor|slug}.ran.example``.

A template is compiled at load, where every mistake in it is told with its place, and rendered for a request
from the words of ``gateway.policy.vocabulary``. What a word brings never changes the form of the name around
it: a value holds no dot inside a DNS name unless its author wrote ``|dns``, no ``@`` inside an address, and
what is reserved in a URI is percent-encoded. A word without value, an empty one, and one with ``*``, ``?`` or
control characters make no name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from gateway.model.names import ATTRIBUTE_NAMES
from gateway.policy.complaints import Misfit, did_you_mean

MAX_TEMPLATE_CHARACTERS = 512
MAX_WORDS = 20
MAX_VALUE_CHARACTERS = 255
FILTERS = ("slug", "lower", "upper", "dns")


class Form(StrEnum):
    """What a template makes."""

    TEXT = "text"  # a subject attribute and the like: nothing in it has a structure
    DNS = "dns"
    IP = "ip"
    EMAIL = "email"
    URI = "uri"


class _Spot(StrEnum):
    """Where a value comes to stand, and so what it may hold."""

    WHOLE = "whole"  # it is the whole name, which is judged as one
    TEXT = "text"
    LABEL = "label"
    DOMAIN = "domain"
    LOCAL_PART = "local-part"
    ADDRESS = "address"
    URI = "uri"


_SHAPES = {
    _Spot.LABEL: (
        re.compile(r"[A-Za-z0-9_-]+"),
        "may hold letters, digits, '-' and '_' only where it stands; use |slug, or |dns to let it bring dots",
    ),
    _Spot.DOMAIN: (re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"), "is no DNS name"),
    _Spot.LOCAL_PART: (
        re.compile(r"[A-Za-z0-9!#$%&'+/=^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'+/=^_`{|}~-]+)*"),
        "cannot stand before the @ of an e-mail address",
    ),
    _Spot.ADDRESS: (re.compile(r"[0-9A-Fa-f]{1,4}"), "is no part of an IP address"),
}
_TEXT, _NUMBER, _LIST, _TIME, _OPEN, _ATTRIBUTES = "text", "number", "list", "time", "open", "attributes"
Words = Mapping[str, object]
_SANS: Words = dict.fromkeys(("dns", "ip", "email", "uri", "directory", "other", "registered_id"), _LIST)
_CREDENTIAL: Words = {
    **dict.fromkeys(("kind", "identity", "name"), _TEXT),
    "groups": _LIST,
    "label": _OPEN,
    "attrs": _OPEN,
    "*": _TEXT,  # what `extract` of the policy read
}
# The words of gateway.policy.vocabulary, and what each of them is; a test holds the two together.
WORDS: Words = {
    **dict.fromkeys(("protocol", "endpoint", "operation", "profile", "source_ip"), _TEXT),
    "now": _TIME,
    "csr": {
        "subject": _ATTRIBUTES,
        "san": _SANS,
        "key": {"type": _TEXT, "size": _NUMBER, "curve": _TEXT},
        "spki_sha256": _TEXT,
        "signature_hash": _TEXT,
    },
    "client": _CREDENTIAL,
    "account": _CREDENTIAL,
    "challenge": _CREDENTIAL,
    "previous": {"subject": _ATTRIBUTES, "san": _SANS, "not_before": _TIME, "not_after": _TIME},
    "subject": _ATTRIBUTES,
    "san": _SANS,
}
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PIECE = re.compile(r"\$\$\{|\$\{")


@dataclass(frozen=True, slots=True)
class TemplateFault:
    """Why a template makes no name of this request. ``missing``: the word has no value here."""

    word: str
    text: str
    missing: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class _Word:
    path: tuple[str, ...]
    filters: tuple[str, ...]
    spot: _Spot

    def __str__(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template; ``source`` as it was written."""

    source: str
    parts: tuple[str | _Word, ...]

    @property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """Every word in it, such as ``("client", "serial")``."""
        return tuple(part.path for part in self.parts if isinstance(part, _Word))

    def render(self, words: Mapping[str, object]) -> str | TemplateFault:
        """The text that it makes of these words; it is not yet known to be a name."""
        made = []
        for part in self.parts:
            text = part if isinstance(part, str) else _value(part, words)
            if isinstance(text, TemplateFault):
                return text
            made.append(text)
        return "".join(made)


def compile_template(source: str, form: Form) -> Template:
    """Read a template. ``$${`` stands for ``${`` itself. Raises Misfit, which names the character."""
    if not source.strip():
        raise Misfit("the template is empty; write one like ${client.serial}.example.com")
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise Misfit(
            f"the template has {len(source)} characters; at most {MAX_TEMPLATE_CHARACTERS} are allowed"
        )
    pieces = _pieces(source)
    placeholders = sum(not isinstance(piece, str) for piece in pieces)
    if placeholders > MAX_WORDS:
        raise Misfit(f"the template has {placeholders} words; at most {MAX_WORDS} are allowed")
    if form is Form.URI and pieces and not isinstance(pieces[0], str) and len(pieces) > 1:
        raise Misfit(f"{source!r} begins with a word; a URI begins with its scheme, write it out")
    parts: list[str | _Word] = []
    before = ""
    for piece in pieces:
        if isinstance(piece, str):
            parts.append(piece)
            before += piece
            continue
        path, filters = piece
        spot = _spot(form, before, whole=len(pieces) == 1, dns="dns" in filters)
        parts.append(_Word(path, tuple(one for one in filters if one != "dns"), spot))
        before += "x"
    return Template(source, tuple(parts))


def _pieces(source: str) -> list[str | tuple[tuple[str, ...], tuple[str, ...]]]:
    found: list[str | tuple[tuple[str, ...], tuple[str, ...]]] = []
    text, at = "", 0
    while (mark := _PIECE.search(source, at)) is not None:
        text += source[at : mark.start()]
        if mark[0] == "$${":
            text, at = text + "${", mark.end()
            continue
        end = source.find("}", mark.end())
        if end < 0:
            raise Misfit(f"the ${{ at character {mark.start() + 1} of {source!r} is not closed; write }}")
        if text:
            found.append(text)
            text = ""
        found.append(_placeholder(source[mark.end() : end], mark.end() + 1))
        at = end + 1
    text += source[at:]
    return [*found, text] if text else found


def _placeholder(text: str, column: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``client.vendor|slug``; ``column``: where it begins in the template, counted from 1."""
    dotted, *filters = (part.strip() for part in text.split("|"))
    place = f"at character {column}"
    for name in filters:
        if name not in FILTERS:
            raise Misfit(f"{name!r} {place} is no filter; {did_you_mean(name, FILTERS)}")
    path = tuple(dotted.split("."))
    for step in path:
        if not _WORD.fullmatch(step):
            raise Misfit(f"{text!r} {place} is no word; write one like ${{client.serial}}")
    known: object = WORDS
    for index, step in enumerate(path):
        said = ".".join(path[:index])
        known = _step(known, step, said, place)
    if not isinstance(known, str) or known not in (_TEXT, _NUMBER):
        raise Misfit(_no_leaf(dotted, known, place))
    return path, tuple(filters)


def _step(known: object, step: str, said: str, place: str) -> object:
    if known == _OPEN:
        return _TEXT
    if known == _ATTRIBUTES:
        names = ATTRIBUTE_NAMES.values()
        if step in names:
            return _TEXT
        raise Misfit(f"{step!r} {place} is no subject attribute; {did_you_mean(step, names)}")
    if not isinstance(known, Mapping):
        raise Misfit(f"{said} {place} has no parts; write ${{{said}}}")
    found = known.get(step) or known.get("*")
    if found is None:
        what = f"no part of {said}" if said else "no word"
        raise Misfit(f"{step!r} {place} is {what}; {did_you_mean(step, known)}")
    return found


def _no_leaf(dotted: str, known: object, place: str) -> str:
    if known in (_LIST, _TIME):
        return f"{dotted} {place} is a {known}, and a template takes texts and numbers; use another word"
    parts = "the name of one, such as CN" if known in (_OPEN, _ATTRIBUTES) else ""
    if isinstance(known, Mapping):
        parts = " or ".join(sorted(one for one in known if one != "*"))
    return f"{dotted} {place} is no single value; add a dot and {parts}"


def _spot(form: Form, before: str, *, whole: bool, dns: bool) -> _Spot:
    if dns:
        return _Spot.DOMAIN
    if whole:
        return _Spot.WHOLE
    match form:
        case Form.DNS:
            return _Spot.LABEL
        case Form.EMAIL:
            return _Spot.LABEL if "@" in before else _Spot.LOCAL_PART
        case Form.IP:
            return _Spot.ADDRESS
        case Form.URI:
            return _Spot.LABEL if re.fullmatch(r"[^:/?#]+://[^/?#]*", before) else _Spot.URI
        case Form.TEXT:
            return _Spot.TEXT


def _value(word: _Word, words: Mapping[str, object]) -> str | TemplateFault:
    found: object = words
    for step in word.path:
        found = found.get(step) if isinstance(found, Mapping) else None
        if found is None:
            return TemplateFault(str(word), f"{word} has no value in this request", missing=True)
    if isinstance(found, bool) or not isinstance(found, str | int):
        return TemplateFault(str(word), f"the value of {word} is neither a text nor a number")
    text = str(found)
    fault = _fault(text)
    if fault is None:
        for name in word.filters:
            text = _filtered(text, name)
        fault = _fault(text) or _misplaced(text, word.spot)
    if fault is not None:
        return TemplateFault(str(word), f"the value of {word} {fault}")
    return quote(text, safe="") if word.spot is _Spot.URI else text


def _fault(text: str) -> str | None:
    if not text.strip():
        return "is empty"
    if len(text) > MAX_VALUE_CHARACTERS:
        return f"has more than {MAX_VALUE_CHARACTERS} characters"
    if "*" in text or "?" in text:
        return "holds * or ?, which names that are made from it must not"
    if not text.isprintable():
        return "holds characters that cannot be printed"
    return None


def _misplaced(text: str, spot: _Spot) -> str | None:
    if spot is _Spot.URI:
        # Dots are not encoded, and a path of them climbs (RFC 3986 section 5.2.4).
        return "is a step in a path, not a name" if text in (".", "..") else None
    if spot not in _SHAPES:
        return None
    shape, text_of_fault = _SHAPES[spot]
    return None if shape.fullmatch(text) else text_of_fault


def _filtered(text: str, name: str) -> str:
    if name == "lower":
        return text.lower()
    if name == "upper":
        return text.upper()
    # slug: "Müller & Söhne AB" becomes "muller-sohne-ab"; letters outside ASCII without a base letter go
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].rstrip("-")
