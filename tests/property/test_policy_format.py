"""Whatever policy files look like: formatting keeps what they say and every comment, and does it once."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.format import format_text
from gateway.policy.yaml_marks import read_documents
from gateway.policy.yaml_tree import comments_of

KEYS = st.one_of(
    st.sampled_from(
        ["kind", "apiVersion", "metadata", "match", "names", "dns", "suffix", "issue", "no", "1.2.3", "a b"]
    ),
    st.text("abz.-_ é", min_size=1, max_size=8),
)
WORDS = st.one_of(
    st.sampled_from(
        ["Policy", "no", "1:30", "012", "1e3", "2001:db8::/32", "*.x", "a: b", "a #b", "null", "", " x ", "~"]
    ),
    st.sampled_from(
        ["two\nlines", "end\n", "\n", "- a", "{", "'", '"', "\\d", "#", "\u202e", "\x07", "x" * 130]
    ),
    st.text(max_size=12).filter(lambda text: all(ord(one) < 0xD800 for one in text)),
)
VALUES = st.recursive(
    st.one_of(WORDS, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


class _Writer:
    """Writes a value in one of the many ways that people have."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._count = 0

    def document(self, value: dict[str, object]) -> str:
        head = self._alone("") if self._draw(st.booleans()) else []
        lines = self._block(value, 0)
        return "\n".join([*head, *lines, *self._alone("")]) + "\n"

    def _block(self, value: object, indent: int) -> list[str]:
        step = self._draw(st.sampled_from([2, 3, 4]))
        pairs = (
            [(f"{self._word(key)}:", one) for key, one in value.items()]
            if isinstance(value, dict)
            else [("-", one) for one in value]  # type: ignore[attr-defined]  # a list
        )
        lines: list[str] = []
        for prefix, one in pairs:
            lines += self._alone(" " * indent)
            begin = " " * indent + prefix
            if isinstance(one, dict | list) and one and self._draw(st.booleans()):
                lines.append(begin + self._beside())
                lines += self._block(one, indent + step)
                lines += self._alone(" " * (indent + step))
            else:
                lines.append(f"{begin} {self._flow(one, indent + 1)}{self._beside()}")
        return lines

    def _flow(self, value: object, indent: int) -> str:
        if value is None:
            return "null"
        if isinstance(value, str):
            return self._word(value)
        comma = self._draw(st.sampled_from([", ", ",\n" + " " * (indent + 1)]))
        told = comma != ", " and self._draw(st.booleans())
        if isinstance(value, dict):
            parts = [f"{self._word(key)}: {self._flow(one, indent)}" for key, one in value.items()]
        else:
            parts = [self._flow(one, indent) for one in value]  # type: ignore[attr-defined]  # a list
        text = ""
        for number, part in enumerate(parts):
            self._count += 1
            between = comma if not told else f",  # inside {self._count}\n" + " " * (indent + 1)
            text += part + (between if number + 1 < len(parts) else "")
        return "{" + text + "}" if isinstance(value, dict) else "[" + text + "]"

    def _word(self, text: str) -> str:
        if (
            text.replace(".", "").isalnum()
            and text.isascii()
            and text != "null"
            and self._draw(st.booleans())
        ):
            return text
        if "'" not in text and text.isprintable() and self._draw(st.booleans()):
            return f"'{text}'"
        return json.dumps(text)

    def _alone(self, margin: str) -> list[str]:
        found = [""] * self._draw(st.integers(0, 2))
        if self._draw(st.booleans()):
            self._count += 1
            found.append(f"{margin}# comment {self._count}")
        return found

    def _beside(self) -> str:
        if self._draw(st.integers(0, 3)):
            return ""
        self._count += 1
        return " " * self._draw(st.integers(1, 9)) + f"# beside {self._count}"


@st.composite
def texts(draw: st.DrawFn) -> str:
    documents = draw(st.lists(st.dictionaries(KEYS, VALUES, min_size=1, max_size=5), min_size=1, max_size=3))
    writer = _Writer(draw)
    return "---\n".join(writer.document(one) for one in documents)


@given(texts())
def test_formatting_keeps_meaning_and_comments_and_is_done_once(text: str) -> None:
    written = format_text("x.yaml", text)
    assert format_text("x.yaml", written) == written
    before, after = read_documents("x.yaml", text), read_documents("x.yaml", written)
    assert [one.value for one in after] == [one.value for one in before]
    assert {one.text for one in comments_of(written)} == {one.text for one in comments_of(text)}
    assert all(line == line.rstrip() for line in written.splitlines() if "\u2028" not in line)
