"""JSON that is written: the same text as the standard library's."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.json_writer import json_writer

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(value=VALUES, sort_keys=st.booleans())
def test_written_value_is_the_text_of_the_standard_library(value: object, sort_keys: bool) -> None:
    expected = json.dumps(value, sort_keys=sort_keys, separators=(",", ":"))
    assert json_writer(sort_keys=sort_keys)(value) == expected


def test_value_that_json_cannot_hold_is_written_by_its_default_or_refused() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    assert json_writer(default=str)({"at": moment}) == '{"at":"2030-01-01 00:00:00+00:00"}'
    with pytest.raises(TypeError):
        json_writer()({"at": moment})
