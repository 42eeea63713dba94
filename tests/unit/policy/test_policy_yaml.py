"""The strict part of YAML, and reading policy files from a directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.policy.load import load_bundle
from gateway.policy.sources import read_directory
from gateway.policy.yaml_marks import Document, read_documents
from tests.unit.policy.sample import HOUSE, policy, registry

SYNTAX = {
    "anchor": ("a: &x 1", "1:4: the anchor &x is not allowed here; remove it"),
    "alias": ("a: 1\nb: *x", "2:4: the alias *x is not allowed here; write the value out"),
    "tag": ("a: !!python/object 1", "1:4: the tag 'tag:yaml.org,2002:python/object' is not allowed"),
    "local-tag": ("a: !x {b: c}", "1:4: the tag '!x' is not allowed here; remove it"),
    "merge-key": ("<<: {a: 1}", "1:1: merge keys are not allowed here; write the values out"),
    "duplicate-key": ("a: 1\nb: 2\na: 3", "3:1: the key 'a' stands here twice, first in line 1; keep one"),
    "complex-key": ("? [a]\n: b", "1:3: a key is no plain word"),
    "tab": ("a:\n\t- b", "x.yaml:2:1: a tab indents this line; use blanks"),
    "tab-after-blanks": ("a:\n  b: c\n  \td: e", "x.yaml:3:3: a tab indents this line; use blanks"),
    "wildcard": (
        "a:\n  dns: [b.test, *.line1.example]",
        "2:17: '*.line1.example' begins with *, which means something else in YAML; quote it: \"*.line1",
    ),
    "wildcard-in-word": ("a: *x.test", "x.yaml:1:4: '*x.test' begins with *"),
    "wildcard-alone": ("- *", "x.yaml:1:3: '*' begins with *"),
    "reserved": ("a: @b", "x.yaml:1:4: '@b' begins with @"),
    "unclosed": ("a: [b", "1:4: what begins with [ here is not closed; write ] at its end"),
    "control": ("a: \x01", "1:4: there is a character that YAML does not allow (U+0001); remove it"),
    "surrogate": ("a: \udcff", "1:4: there is a character that YAML does not allow (U+DCFF); remove it"),
    "depth": ("[" * 40 + "]" * 40, "values are nested deeper than 24; flatten them"),
    "nodes": ("[" + "a," * 60_000 + "]", "there are more than 50000 values; split the file"),
    "scalar": ("a: " + "b" * 70_000, "1:4: a value is longer than 65536 characters; shorten it"),
    "size": ("#" * (1 << 20) + "\na: 1", "1:1: the text is over 1 Mi characters; split it"),
}


@pytest.mark.parametrize("case", SYNTAX)
def test_yaml_beyond_the_strict_part_is_refused_with_its_place(case: str) -> None:
    text, expected = SYNTAX[case]
    with pytest.raises(ConfigurationError) as caught:
        read_documents("x.yaml", text)
    assert str(caught.value).startswith("x.yaml:")
    assert expected in str(caught.value)


def test_scalars_keep_the_text_that_was_written() -> None:
    (document,) = read_documents(
        "x.yaml", "{a: no, b: 1.10, c: 012, d: 1:30, e: ~, f: 'null', g: 2026-11-23}"
    )
    assert document.value == {
        "a": "no",
        "b": "1.10",
        "c": "012",
        "d": "1:30",
        "e": None,
        "f": "null",
        "g": "2026-11-23",
    }


def test_empty_documents_are_left_out() -> None:
    assert [one.value for one in read_documents("x.yaml", "---\n# nothing\n---\na: b\n---\n")] == [{"a": "b"}]


@given(st.text(max_size=300))
def test_any_text_gives_documents_or_a_complaint(text: str) -> None:
    try:
        found: object = read_documents("x.yaml", text)
    except ConfigurationError as error:
        found = error
    if isinstance(found, ConfigurationError):
        assert str(found).startswith("x.yaml:")
    else:
        assert isinstance(found, tuple)
        assert all(isinstance(one, Document) for one in found)


def test_directory_is_read_in_order_of_names(tmp_path: Path) -> None:
    for name in ("20.yaml", "10.yml", "notes.txt"):
        (tmp_path / name).write_text("a: b\n")
    assert [source.name for source in read_directory(tmp_path)] == ["10.yml", "20.yaml"]


def test_directory_without_policies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no policy file stands here; put at least one"):
        read_directory(tmp_path)
    with pytest.raises(ConfigurationError, match="the policies cannot be read"):
        read_directory(tmp_path / "missing")


def test_file_over_the_bound_or_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: b\nc: \xff\n")
    with pytest.raises(ConfigurationError, match=r"a.yaml:2:1: byte 8 is not UTF-8; save"):
        read_directory(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigurationError, match=r"a.yaml:1:1: the file is over 1 MiB"):
        read_directory(tmp_path)


def test_path_out_of_the_policy_directory_is_refused(tmp_path: Path) -> None:
    text = HOUSE.replace("backends: [embedded]", "files: [../secret.pem, /etc/passwd, none.pem]")
    (tmp_path / "p.yaml").write_text(text + policy())
    with pytest.raises(ConfigurationError) as caught:
        load_bundle(read_directory(tmp_path), registry())
    assert str(caught.value).splitlines() == [
        "p.yaml:15:9: files.0: '../secret.pem' leads out of the policy directory; put the file into it",
        "p.yaml:15:24: files.1: '/etc/passwd' leads out of the policy directory; put the file into it",
        (
            "p.yaml:15:37: files.2: the file 'none.pem' cannot be read: No such file or directory; "
            "put it beside p.yaml"
        ),
    ]
