"""List documents: what is taken, what every mistake is told, and how values are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.policy.list_content import MAX_ENTRIES, ListFormat, ListType, read_content
from gateway.policy.lists import EMPTY_LISTS, ListLookup, lists_at_load
from gateway.policy.load import load_bundle
from gateway.policy.rules import Bundle
from gateway.policy.sources import PolicySource
from tests.unit.policy.sample import (
    HOUSE,
    allowed,
    complaints,
    decide,
    facts,
    load,
    policy,
    registry,
    request,
)

HEAD = "apiVersion: pkigate/v1\nkind: List\nmetadata: {name: devices}\n"


def lookup(*lines: str) -> ListLookup:
    return lists_at_load(load(policy(), HEAD + "\n".join(lines) + "\n").lists)


def of(type_: str, *entries: str) -> ListLookup:
    return lookup(f"type: {type_}", f"entries: {list(entries)}")


def loaded(directory: Path, text: str) -> Bundle:
    source = PolicySource("p.yaml", HOUSE + policy() + "---\n" + HEAD + text, directory)
    return load_bundle((source,), registry())


def faults(*lines: str) -> list[str]:
    """Complaints of the List, without file and line."""
    text = HOUSE + policy() + "---\n" + HEAD + "\n".join(lines) + "\n"
    return [line.partition(": ")[2] for line in complaints(text)]


@pytest.mark.parametrize(
    ("type_", "entry", "same", "other"),
    [
        ("serial", "ftx1234a0bc", "FTX1234A0BC", "FTX1234A0BD"),
        ("dns", "Device-1.Example", "device-1.EXAMPLE", "device-2.example"),
        ("ip", "2001:DB8::1", "2001:db8:0::1", "2001:db8::2"),
        ("ip", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("email", "Anna@EXAMPLE.com", "Anna@example.com", "anna@example.com"),
        ("spki-sha256", "AB" * 32, "ab:" * 31 + "ab", "ac" * 32),
        ("text", " GW 200 ", "GW 200", "gw 200"),
    ],
)
def test_values_are_compared_in_the_normal_form_of_the_type(
    type_: str, entry: str, same: str, other: str
) -> None:
    lists = of(type_, entry)
    assert lists.contains("devices", same)
    assert lists.lookup("devices", same) == {}
    assert not lists.contains("devices", other)
    assert not lists.contains("devices", "")


def test_value_that_the_type_cannot_hold_is_contained_in_nothing() -> None:
    assert not of("ip", "192.0.2.1").contains("devices", "192.0.2.0/24")
    assert not of("serial", "A").contains("devices", "A\n B")
    assert not of("serial", "A").contains("unknown", "A")
    assert not EMPTY_LISTS.contains("devices", "A")
    assert not EMPTY_LISTS.available("devices")


def test_csv_gives_the_other_columns_by_the_key(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "sites.csv").write_text('serial,site,owner\nA1,brno,"Doe, J."\n\na2,,\n')
    lists = lists_at_load(loaded(tmp_path, "type: serial\nfile: lists/sites.csv\n").lists)
    assert lists.lookup("devices", "a1") == {"site": "brno", "owner": "Doe, J."}
    assert lists.lookup("devices", "A2") == {"site": "", "owner": ""}
    assert lists.lookup("devices", "serial") is None


def test_lines_take_comments_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbf# known\r\n\r\n A1 \r\nA2")
    lists = lists_at_load(loaded(tmp_path, "type: serial\nfile: x.txt\n").lists)
    assert [lists.contains("devices", value) for value in ("A1", "a2", "# known")] == [True, True, False]


def test_content_of_a_file_is_no_part_of_the_bundle_and_entries_are(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("A1\n")
    first = loaded(tmp_path, "type: serial\nfile: x.txt\n")
    (tmp_path / "x.txt").write_text("A2\n")
    second = loaded(tmp_path, "type: serial\nfile: x.txt\n")
    assert first.sha256 == second.sha256
    assert first.lists["devices"].content != second.lists["devices"].content
    inline = [loaded(tmp_path, f"type: serial\nentries: [{one}]\n").sha256 for one in ("A1", "A2")]
    assert len(set(inline)) == 2


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["type: serial"], "there is no content; write one of entries, file and url"),
        (["type: serial", "entries: [A]", "file: x"], "file: entries and file exclude each other; keep one"),
        (
            ["type: ip", "entries: [192.0.2.1, 10.0.0.0/8]"],
            "entries.1: '10.0.0.0/8' is no entry of a list of ip",
        ),
        (["type: ip", "entries: x"], "entries: 'x' is no entry of a list of ip"),
        (["type: serials", "entries: [A]"], "type: 'serials' is not known; did you mean 'serial'?"),
        (
            ["type: text", "entries: [A]", "refresh: 1h"],
            "refresh: 'refresh' is for a list with a url; remove it",
        ),
        (["type: text", "entries: [A]", "format: csv"], "format: 'format' is for a list with a file or url"),
        (["type: text", "url: ftp://a.test/x"], "url: 'ftp://a.test/x' is no URL of a list"),
        (
            ["type: text", "url: http://a.test/x"],
            "url: whoever is on the way could change the list; write https",
        ),
        (["type: text", "url: 'https://u:p@a.test/x'"], "url: a secret stands in the URL"),
        (["type: text", "url: 'https://a.test:x/'"], "url: 'https://a.test:x/' is no URL of a list"),
        (
            ["type: text", "url: https://a.test/", "headers: {Authorization: Bearer-abc}"],
            "headers.Authorization: this is no secret reference; write env:NAME",
        ),
        (
            ["type: text", "url: https://a.test/", "headers: {Host: 'env:X'}"],
            "headers.Host: 'Host' is no header",
        ),
        (["type: text", "url: https://a.test/", "refresh: 1s"], "refresh: this asks too often"),
        (
            ["type: text", "url: https://a.test/", "on_stale: {after: 1m}"],
            "on_stale.after: a list is stale before",
        ),
        (["type: text", "file: x"], "file: the file 'x' cannot be read from here"),
        (["type: text", "entries: [A]", "single: true"], "unknown key 'single'; did you mean 'single_use'?"),
    ],
)
def test_mistake_is_told_once_with_what_would_be_right(lines: list[str], told: str) -> None:
    (found,) = faults(*lines)
    assert told in found
    assert "Bearer-abc" not in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"serial,site\nA1,brno,x\n", "x.csv:2: there are 3 columns, the header names 2"),
        (b"serial,serial\n", "x.csv:1: the first line must name 1 to 32 different columns"),
        (b"", "x.csv:1: the first line must name"),
        (b'serial,site\n"A1,brno\n', "this is no CSV"),
        (b"serial,site\nA1,brno\na1,wien\n", "x.csv:3: 'a1' stands here with other columns than before"),
        (b"serial,site\nA 1,brno\n", "x.csv:2: 'A 1' is no entry of a list of serial"),
        (b"serial,site\nA1,\x07\n", "x.csv:2: '\\x07' is over 1024 characters or has control characters"),
        (b"serial\nA1\n\xff\n", "x.csv:3: byte 10 is not UTF-8"),
    ],
)
def test_mistake_in_a_file_is_told_with_its_line(tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "x.csv").write_bytes(text)
    with pytest.raises(ConfigurationError, match=r"p.yaml:[0-9]+:7: file: ") as caught:
        loaded(tmp_path, "type: serial\nfile: x.csv\n")
    assert told in str(caught.value)


def test_file_outside_the_policy_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="leads out of the policy directory"):
        loaded(tmp_path, "type: text\nfile: ../x\n")


def test_a_million_entries_are_taken_and_one_more_is_not() -> None:
    content = b"\n".join(b"%d" % number for number in range(MAX_ENTRIES))
    assert len(read_content(content, ListType.TEXT, ListFormat.LINES, "x").entries) == MAX_ENTRIES
    with pytest.raises(ConfigurationError, match="over 1000000 entries"):
        read_content(content + b"\none more", ListType.TEXT, ListFormat.LINES, "x")


def test_two_lists_of_one_name_are_refused() -> None:
    one = HEAD + "type: text\nentries: [A]\n"
    (found,) = complaints(HOUSE + policy() + "---\n" + one + "---\n" + one)
    assert "another List has the name 'devices' already" in found


def test_decision_names_the_content_of_the_lists_that_it_asked() -> None:
    names = "{subject: {CN: {source: csr, allow: {list: devices}}}, cn_in_san: false}"
    bundle = load(policy(names=names), HEAD + "type: text\nentries: [device 1]\n")
    known = facts(lists=lists_at_load(bundle.lists))
    (step,) = [one for one in allowed(decide(bundle, request(), None, known)).trace if one.step == "lists"]
    content = bundle.lists["devices"].content
    assert content is not None
    assert step.message == f"content sha256 {content.sha256}"
