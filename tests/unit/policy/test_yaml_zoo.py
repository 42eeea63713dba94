"""All that people write into policy files: each mistake is told once, with its place, and none crashes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway.errors import ConfigurationError
from gateway.policy.document import DOCUMENT_KINDS
from gateway.policy.load import PolicySource, load_bundle
from gateway.policy.sources import read_directory
from gateway.policy.yaml_marks import read_documents
from tests.unit.policy.sample import registry
from tests.unit.policy.wrong_types import wrong_options, wrong_values

ZOO = Path(__file__).with_name("zoo")
GOOD = (ZOO / "good.yaml").read_text()
MISTAKES: dict[str, dict[str, str]] = yaml.safe_load((ZOO / "mistakes.yaml").read_text())

COUNT = 60
_LINE = re.compile(r"p\.yaml:[1-9][0-9]*:[1-9][0-9]*: (?:([^ ]+): )?(.+)")


def _told(text: str) -> list[str]:
    """The complaints of a text. Whatever else is raised fails the test."""
    try:
        load_bundle((PolicySource("p.yaml", text),), registry())
    except ConfigurationError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("kind", DOCUMENT_KINDS)
def test_value_of_a_wrong_type_is_told_where_it_stands_whatever_the_key(kind: str) -> None:
    seen = 0
    wrong: list[str] = []
    for case in wrong_values(kind):
        seen += 1
        dotted = ".".join(map(str, case.path))
        lines = _told(case.text)
        if not all(_LINE.fullmatch(line) for line in lines):
            wrong.append(f"{dotted} = {case.value!r}: {lines}")
            continue
        places = [found[1] or "" for line in lines if (found := _LINE.fullmatch(line))]
        if not any(f"{place}.".startswith(f"{dotted}.") or f"{dotted}." == f"{place}." for place in places):
            wrong.append(f"{dotted} = {case.value!r}: nothing is told of it, only {lines}")
    assert seen > 5
    assert wrong == []


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_of_an_administrator_is_told_once_with_what_is_right(name: str) -> None:
    mistake = MISTAKES[name]
    assert GOOD.count(mistake["from"]) == 1
    (line,) = _told(GOOD.replace(mistake["from"], mistake["to"]))
    assert line.startswith(f"p.yaml:{mistake['told']}")
    assert ";" in line, "it says what is wrong; what is right"


def test_good_file_is_good_and_there_are_enough_ways_to_spoil_it() -> None:
    assert _told(GOOD) == []
    assert len(MISTAKES) >= COUNT


OPTIONS = [
    *(("Endpoint", name, model) for name, model in registry().endpoint_options.items()),
    *(("Backend", name, model) for name, model in registry().backend_options.items()),
]


@pytest.mark.parametrize(("kind", "of", "model"), OPTIONS, ids=lambda value: str(value)[:20])
def test_option_of_a_wrong_type_is_told_where_it_stands(kind: str, of: str, model: type[BaseModel]) -> None:
    for case in wrong_options(kind, of, model):
        dotted = ".".join(map(str, case.path))
        places = [found[1] or "" for line in _told(case.text) if (found := _LINE.fullmatch(line))]
        told = [place for place in places if place.count(".") > 0]
        assert any(f"{dotted}.".startswith(f"{place}.") or place.startswith(dotted) for place in told), case


ANIMALS = {
    "anchor": ("priority: 50", "priority: &a 50", "23:11: the anchor &a is not allowed here; remove it"),
    "alias": ("priority: 50", "priority: *a", "23:11: the alias *a is not allowed here; write the value out"),
    "bomb": (
        "priority: 50",
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\npriority: 50",
        "23:4: the anchor &a is not allowed here; remove it",
    ),
    "tag": ("priority: 50", "priority: !!int 50", "23:11: the tag 'tag:yaml.org,2002:int' is not allowed"),
    "python-tag": (
        "priority: 50",
        "priority: !!python/object/apply:os.system [id]",
        "23:11: the tag 'tag:yaml.org,2002:python/object/apply:os.system' is not allowed here; remove it",
    ),
    "merge-key": ("priority: 50", "<<: {priority: 50}", "23:1: merge keys are not allowed here; write"),
    "merge-list": ("priority: 50", "<<: [{priority: 50}]", "23:1: merge keys are not allowed here; write"),
    "duplicate-key": (
        "priority: 50",
        "priority: 50\npriority: 51",
        "24:1: the key 'priority' stands here twice",
    ),
    "duplicate-in-quotes": (
        "priority: 50",
        "priority: 50\n'priority': 51",
        "24:1: the key 'priority' stands",
    ),
    "complex-key": ("priority: 50", "? [a]\n: b\npriority: 50", "23:3: a key is no plain word; write"),
    "null-key": ("priority: 50", "~: 1\npriority: 50", "23:1: ~: unknown key '~'; "),
    "directive": ("apiVersion: pkigate/v1\nkind: Backend", "%YAML 9.9\n---\nkind: Backend", "1:1: "),
    "nul": (
        "priority: 50",
        "priority: 5\x000",
        "23:12: there is a character that YAML does not allow (U+0000)",
    ),
    "escape-character": (
        "priority: 50",
        "priority: \x1b50",
        "23:11: there is a character that YAML does not",
    ),
    "right-to-left": (
        "name: presses\n",
        "name: presses  # \u202e sesserp\n",
        "21:20: there is a character that turns the direction of writing (U+202E); remove it",
    ),
    "isolate": ("owner: manu", "owner: \u2066manu", "22:10: there is a character that turns the direction"),
    "mark-in-the-middle": ("name: presses\n", "name: \ufeffpresses\n", "21:9: "),
    "cyrillic-key": (
        "priority: 50",
        "pri\u043erity: 50",
        "23:1: pri\u043erity: unknown key 'pri\u043erity'; did you mean",
    ),
    "greek-word": (
        "kind: TrustStore",
        "kind: \u03a4rustStore",
        "14:7: kind: '\u03a4rustStore' is no kind of",
    ),
    "fullwidth-number": (
        "priority: 50",
        "priority: \uff15\uff10",
        "23:11: priority: '\uff15\uff10' is no whole number",
    ),
    "decomposed-name": ("name: presses\n", "name: pre\u0301sses\n", "21:9: metadata.name: "),
    "blank-that-is-none": ("priority: 50", "priority:\u00a050", "23:1: "),
    "line-that-is-none": ("priority: 50", "priority:\u202850", "24:1: "),
    "octal": (
        "priority: 50",
        "priority: 050",
        "23:11: priority: '050' is no plain number; write digits alone",
    ),
    "sexagesimal": (
        "priority: 50",
        "priority: 1:30",
        "23:11: priority: '1:30' is no whole number; write one",
    ),
    "exponent": ("priority: 50", "priority: 1e3", "23:11: priority: '1e3' is no whole number; write one"),
    "float": ("priority: 50", "priority: 50.0", "23:11: priority: '50.0' is no plain number; write digits"),
    "hexadecimal": (
        "priority: 50",
        "priority: 0x32",
        "23:11: priority: '0x32' is no whole number; write one",
    ),
    "underscore": (
        "priority: 50",
        "priority: 5_0",
        "23:11: priority: '5_0' is no plain number; write digits",
    ),
    "infinity": ("priority: 50", "priority: .inf", "23:11: priority: '.inf' is no whole number; write one"),
    "huge-number": ("priority: 50", "priority: " + "9" * 5000, "23:11: priority: "),
    "date": ("grace: 10m", "grace: 2026-11-23", "11:8: grace: '2026-11-23' is no duration; write"),
    "norway": ("wildcard: deny", "wildcard: no", "43:15: names.dns.wildcard: 'no' is not known; one of"),
    "negative-duration": ("grace: 10m", "grace: -10m", "11:8: grace: '-10m' is no duration; write"),
    "long-key": ("priority: 50", "p" * 2000 + ": 50", "23:1: "),
}


@pytest.mark.parametrize("name", ANIMALS)
def test_beast_of_yaml_is_told_once_with_its_place(name: str) -> None:
    old, new, expected = ANIMALS[name]
    assert GOOD.count(old) == 1
    (line,) = _told(GOOD.replace(old, new))
    assert line.startswith(f"p.yaml:{expected}")
    assert len(line) < 3 * 2000


BIG = {
    "comment": "#" * (1 << 20) + "\n",
    "one-word": "a: " + "b" * (1 << 20),
    "many-keys": "".join(f"key-{number}: x\n" for number in range(80_000)),
    "many-documents": "---\nkind: Policy\n" * 60_000,
    "deep-brackets": "a: " + "[" * 100_000,
    "deep-braces": "{a: " * 1000 + "}" * 1000,
    "deep-lines": "".join(" " * depth + "a:\n" for depth in range(200)),
    "deep-dashes": "- " * 100 + "a",
    "long-line-of-quotes": 'a: "' + "\\n" * 300_000,
    "many-signs": "a: " + "*b " * 200_000,
}


@pytest.mark.parametrize("name", BIG)
def test_huge_or_deep_text_gives_few_complaints(name: str) -> None:
    lines = _told(BIG[name])
    assert 1 <= len(lines) <= 51
    assert all(_LINE.fullmatch(line) for line in lines if not line.startswith("... and "))


TRAPS = [
    "no",
    "off",
    "Yes",
    "1:30",
    "012",
    "1e3",
    "1.10",
    "0x1F",
    "2026-11-23",
    ".5",
    "+1",
    "=",
    "1_000",
]


@pytest.mark.parametrize("word", TRAPS)
def test_word_that_other_readers_of_yaml_change_stays_as_it_is_written(word: str) -> None:
    (document,) = read_documents("x.yaml", f"a: {word}\nb: [{word}]\n")
    assert document.value == {"a": word.strip(), "b": [word.strip()]}


def test_object_identifiers_without_quotes_are_read_as_written() -> None:
    text = GOOD.replace('["1.3.6.1.4.1.55555.1.2"]', "[1.3.6.1.4.1.55555.1.10, 2.5]")
    assert _told(text) == []


def test_line_ends_of_other_systems_and_a_mark_at_the_beginning_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    found = load_bundle(read_directory(tmp_path), registry())
    assert found.sha256 == load_bundle((PolicySource("p.yaml", GOOD),), registry()).sha256


def test_place_is_right_with_line_ends_of_other_systems() -> None:
    (line,) = _told(GOOD.replace("priority: 50", "priority: soon").replace("\n", "\r\n"))
    assert line.startswith("p.yaml:23:11: priority: 'soon' is no whole number")


@given(st.integers(0, len(GOOD)), st.text(max_size=4), st.integers(0, 12))
def test_any_spoilt_place_of_a_good_file_gives_a_bundle_or_complaints(at: int, put: str, cut: int) -> None:
    for line in _told(GOOD[:at] + put + GOOD[at + cut :]):
        assert _LINE.fullmatch(line)


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.data())
def test_any_value_at_any_key_gives_a_bundle_or_complaints(data: st.DataObject) -> None:
    documents: list[dict[str, Any]] = [
        dict(one.value) for one in read_documents("x", GOOD) if isinstance(one.value, dict)
    ]
    place: Any = data.draw(st.sampled_from(documents))
    while isinstance(place, dict | list) and place:
        key = data.draw(
            st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place))))
        )
        if data.draw(st.booleans()) or not isinstance(place[key], dict | list):
            place[key] = data.draw(JSON_VALUES)
            break
        place = place[key]
    text = "---\n".join(json.dumps(document) + "\n" for document in documents)
    for line in _told(text):
        assert _LINE.fullmatch(line)
