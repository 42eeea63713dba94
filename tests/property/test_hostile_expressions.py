"""Expressions of any text and of any words: a complaint, a verdict or a fault, soon; never anything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.expression_text import read_outline, with_own_matches
from gateway.policy.expressions import MAX_DEPTH, Expression, ExpressionFault, compile_expression
from gateway.policy.yaml_marks import ComplaintList, read_documents

PIECES = (
    *("san.dns", "san.ip", "subject.CN", "subject", "key.size", "account.groups", "now", "limits.exceeded"),
    *("n", "m", "1", "0", "-1", "9223372036854775807", "1.5", "'a'", "'.test'", '"x"', "r'\\d'", "b'a'"),
    *("true", "false", "null", "[", "]", "(", ")", "{", "}", ",", ":", ".", "?", " "),
    *("+", "-", "*", "/", "%", "<", "==", "!=", " in ", "&&", "||", "!"),
    *(".all(n, ", ".exists(m, ", ".map(n, ", ".filter(m, ", ".exists_one(n, ", ".size()", "has("),
    *(".endsWith('.test')", ".matches('^[a-z]+$')", ".matches(", "inList('sites', ", "lookup('sites', "),
    *(
        "cidr(",
        "underSuffix(",
        "int(",
        "string(",
        "timestamp(",
        "duration('1h')",
        "type(",
        "// x\n",
        "'''",
        "\\",
    ),
)
WHOLE = (
    "san.dns.all(n, n.endsWith('.test'))",
    "san.dns.exists(n, san.dns.exists(m, n == m + 'x'))",
    "subject.CN.matches('^[a-z]+$') || 'a' in account.groups",
    "inList('sites', subject.CN) && key.size > 2048",
    "lookup('sites', subject.CN).town == 'brno' && san.dns[0] < subject.CN",
    "size(san.dns.map(n, n + subject.CN)) > 1 || now > timestamp(subject.CN)",
    "cidr(subject.CN, '10.0.0.0/8') || underSuffix(subject.CN, san.dns[0])",
)
TEXTS = st.text(max_size=300)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=80) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=30,
)


class AnyList:
    """Lists of whatever is asked."""

    def contains(self, list_name: str, value: str) -> bool:
        return len(value) % 2 == 0

    def lookup(self, list_name: str, key: str) -> Mapping[str, str] | None:
        return {"town": key} if self.contains(list_name, key) else None

    def available(self, list_name: str) -> bool:
        return True


def compiled(text: str) -> tuple[Expression, list[str]]:
    found = ComplaintList()
    document = read_documents("p.yaml", "expr: x\n")[0]
    return compile_expression(text, document, ("expr",), found), found.lines


def judged(expression: Expression, words: Mapping[str, object]) -> bool | None:
    try:
        return expression.holds(words, AnyList())
    except ExpressionFault:
        return None


@given(st.one_of(TEXTS, st.lists(st.sampled_from(PIECES), max_size=25).map("".join)))
def test_text_of_any_kind_is_compiled_or_told_of_in_one_line(text: str) -> None:
    expression, lines = compiled(text)
    assert len(lines) <= 1
    if lines:
        assert lines[0].startswith("p.yaml:1:7: expr: ")
        assert "\n" not in lines[0]
        assert ";" in lines[0]
    else:
        assert read_outline(text).depth <= MAX_DEPTH
    words = {"san": {"dns": ["a.test", "b.test"], "ip": ["10.0.0.1"]}, "subject": {"CN": "a"}}
    whole = replace(expression, parts=dict.fromkeys(expression.words))
    assert judged(expression, words) is judged(whole, words)


@given(TEXTS)
def test_reading_a_text_loses_nothing_of_it(text: str) -> None:
    assert with_own_matches(text, "matches") == text


@given(
    st.sampled_from(WHOLE),
    st.fixed_dictionaries(
        {},
        optional={
            "san": st.fixed_dictionaries({"dns": st.lists(TEXTS, max_size=80)}) | VALUES,
            "subject": st.fixed_dictionaries({"CN": TEXTS}) | VALUES,
            "account": VALUES,
            "key": VALUES,
            "now": VALUES,
        },
    ),
)
def test_words_of_any_content_give_a_verdict_or_a_fault(text: str, words: dict[str, object]) -> None:
    expression, lines = compiled(text)
    assert lines == []
    assert judged(expression, words) in (True, False, None)
