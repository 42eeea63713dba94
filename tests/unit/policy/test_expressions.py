"""Expressions: what is refused at load, what becomes of a fault at run time, and the bounds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

from gateway.policy.expressions import (
    MAX_CHARACTERS,
    MAX_VALUES,
    WORDS,
    Expression,
    ExpressionFault,
    compile_expression,
)
from gateway.policy.vocabulary import request_words, san_words
from gateway.policy.yaml_marks import ComplaintList, read_documents
from tests.unit.policy.sample import basic_evidence, facts, previous, request, sans


class Lists:
    """One list that is known, and one that is not."""

    def contains(self, list_name: str, value: str) -> bool:
        return list_name == "serials" and value == "A1"

    def lookup(self, list_name: str, key: str) -> Mapping[str, str] | None:
        return {"site": "brno"} if self.contains(list_name, key) else None

    def available(self, list_name: str) -> bool:
        return list_name == "serials"


def compiled(text: str) -> Expression:
    found = ComplaintList()
    made = compile_expression(text, read_documents("p.yaml", "expr: x\n")[0], ("expr",), found)
    assert found.lines == []
    return made


def holds(text: str, **words: object) -> bool:
    return compiled(text).holds(words, Lists())


def names(count: int) -> dict[str, object]:
    return {**san_words(()), "dns": [f"host-{number}.test" for number in range(count)]}


@pytest.mark.parametrize(
    ("text", "said"),
    {
        "": "the expression is empty; write one like",
        "x" * (MAX_CHARACTERS + 1): "at most 1024 are allowed",
        "san.dns.size() >": "this is no expression of CEL: at character 17",
        "operation = 'enroll'": "; write == to compare",
        "endpoint == 'a' and true": "write && for and",
        "sna.dns.size() == 1": "there is no word 'sna'; did you mean 'san'?",
        "san.dsn.size() == 1": "there is no word 'san.dsn'; below 'san' did you mean 'dns'?",
        "subject.cn == 'a'": "there is no word 'subject.cn'; below 'subject' did you mean 'CN'?",
        "previous.san.dnss == []": "there is no word 'previous.san.dnss'; below 'previous.san' did you mean",
        "has(clent.serial)": "there is no word 'clent'; did you mean 'client'?",
        "san.dns.all(n, n.startswith('a'))": "no function 'startswith'; did you mean 'startsWith'?",
        "san.dns.all(i, n, true)": "there is no function 'all'",
        "cel.bind(a, 1, a == 1)": "there is no function 'bind'",
        "matchesRe2('a', 'b')": "there is no function 'matchesRe2'",
        "san.dns.all(a, san.dns.all(b, san.dns.all(c, true)))": "are nested 3 deep; at most 2",
        " && ".join(["san.dns.all(n, true)"] * 11): "there are 11 macros",
        "inList('serials')": "inList takes two values and is given 1",
        "inList(subject.CN, 'a')": "inList asks a List by its name",
        "subject.CN.matches(client.name)": "matches takes a constant text alone",
        "subject.CN.matches('(')": "'(' is no regular expression: missing )",
        "subject.CN.matches('a', 'b')": "matches takes two values",
        "(" * 1000: "Recursion limit of 96",
        "'\ud800' == 'a'": "this is no expression of CEL",
    }.items(),
)
def test_a_mistaken_expression_is_told_at_load(text: str, said: str) -> None:
    found = ComplaintList()
    made = compile_expression(text, read_documents("p.yaml", "expr: x\n")[0], ("expr",), found)
    assert len(found.lines) == 1
    assert found.lines[0].startswith("p.yaml:1:7: expr: ")
    assert said in found.lines[0]
    assert ";" in found.lines[0]
    with pytest.raises(ExpressionFault):
        made.holds({"san": names(1)})


@pytest.mark.parametrize(
    "text",
    [
        "san.dns.all(n, n.endsWith('.test')) && !san.dns.exists(n, n == 'x')",
        "subject.CN.matches('^[a-z]+ [0-9]$') && subject.CN.matches(r'\\d')",
        "'matches' != 'a' && 'san.dns.all(n, san.dns.all(m, san.dns.all(o, true)))' != ''",
        "// about matches('(')\n'it\\'s' != \"\"",
        "inList('serials', 'A1') && !inList('serials', 'B2')",
        "lookup('serials', 'A1').site == 'brno' && lookup('serials', 'B2') == null",
        "cidr(source_ip, '192.0.2.0/24') && !cidr('fe80::1%eth0', '192.0.2.0/24')",
        "cidr('::ffff:192.0.2.1', '192.0.2.0/24')",
        "underSuffix('A.x.test', 'x.test') && underSuffix('x.test', 'x.test')",
        "!underSuffix('ax.test', 'x.test')",
        "operation in ['enroll', 'renew'] && type(operation) == string",
        "size(san.dns.filter(n, n == 'a.test')) == 1",
        "true || client.unknown == 'x'",
        "now > timestamp('2020-01-01T00:00:00Z')",
    ],
)
def test_an_expression_that_is_true_holds(text: str) -> None:
    words = request_words(request("dns:a.test"), basic_evidence(), facts())
    words |= {"subject": {"CN": "device 1"}, "san": {**san_words(()), "dns": ["a.test"]}}
    assert holds(text, **words) is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("'a' in account.groups", "the request has no value for 'account'"),
        ("subject.O == 'x'", "the request has no value for 'O'"),
        ("san.dns", "it gives a list, neither true nor false"),
        ("null", "it gives nothing"),
        ("subject.CN < 1", "No such overload"),
        ("1 / size(san.ip) == 1", "division by zero"),
        ("san.dns[7] == 'a'", "index out of bounds"),
        ("int(subject.CN) == 1", "'int'"),
        ("!inList('blocked', subject.CN)", "the content of the list 'blocked' is not known now"),
        ("inList('serials', 1)", "asked for something that is no text"),
        ("lookup('serials', 'A1').town == 'x'", "no value for 'town'"),
        ("cidr(subject.CN, '10.0.0.0/8')", "cidr takes an address and a network"),
        ("underSuffix(subject.CN, '.')", "underSuffix takes a name and a suffix"),
        ("dyn(1).matches('a')", "matches is asked of something that is no text"),
        ("false || subject.CN == 'x' || account.name == 'x'", "no value for 'account'"),
    ],
)
def test_an_expression_without_an_answer_is_a_fault(text: str, said: str) -> None:
    with pytest.raises(ExpressionFault, match=said):
        holds(text, subject={"CN": "device 1"}, san=names(1))


def test_a_text_that_is_no_unicode_is_a_fault() -> None:
    with pytest.raises(ExpressionFault):
        holds("subject.CN == 'x'", subject={"CN": "\ud800"})


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("san.dns.all(n, n != '')", MAX_VALUES[False, False]),
        ("san.dns.filter(n, n != '') != []", MAX_VALUES[False, True]),
        ("san.dns.all(n, san.dns.exists(m, n == m))", MAX_VALUES[True, False]),
        ("san.dns.map(n, san.dns.map(m, m)) != []", MAX_VALUES[True, True]),
    ],
)
def test_more_names_than_the_bound_are_a_fault(text: str, most: int) -> None:
    assert holds(text, san=names(most)) is True
    with pytest.raises(ExpressionFault, match=f"{most + 1} values are too many"):
        holds(text, san=names(most + 1))


def test_names_that_an_expression_does_not_read_are_not_counted() -> None:
    words = {**names(3), "uri": ["x"] * 2000}
    assert holds("san.dns.size() == 3", san=words) is True
    for text in ("san['dns'].size() == 3", "san.exists(k, k == 'dns')", "san.dns == [] || has(san.uri)"):
        with pytest.raises(ExpressionFault, match="2000 values are too many"):
            holds(text, san=words)


def test_texts_beyond_the_bound_are_a_fault() -> None:
    with pytest.raises(ExpressionFault, match="too long"):
        holds("san.uri != []", san={"uri": ["x" * 100_000, "y" * 100_000]})


def test_the_words_are_those_of_the_vocabulary() -> None:
    asked = request("dns:a.test", renews_der=b"x")
    found = request_words(asked, basic_evidence(), facts(previous=previous("dns:a.test")))
    for word, value in found.items():
        assert word in WORDS
        known = WORDS[word]
        if isinstance(value, dict) and isinstance(known, dict) and "*" not in known:
            assert set(value) <= set(known), word
    assert set(san_words(sans())) == set(WORDS["san"])  # type: ignore[call-overload]  # a mapping


def test_the_library_is_loaded_only_for_an_expression() -> None:
    code = "import gateway.policy.load, gateway.policy.engine, sys; sys.exit('cel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
