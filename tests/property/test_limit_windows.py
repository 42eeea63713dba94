"""A sliding window that is counted in parts never lets more through than the limit, and says when it will."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.store.limits import Window, part_of

STARTS = st.integers(min_value=0, max_value=10**6)
STEPS = st.lists(st.integers(min_value=0, max_value=90), min_size=1, max_size=120)
LENGTHS = st.sampled_from([1, 2, 59, 60, 61, 119, 120, 600, 3601])
MOST = st.integers(min_value=1, max_value=6)


def _window(taken: Sequence[int], window_s: int) -> Window:
    parts: dict[int, int] = {}
    for moment in taken:
        part = part_of(window_s, moment)
        parts[part] = parts.get(part, 0) + 1
    return Window(window_s, tuple(sorted(parts.items())))


def _granted(start: int, steps: Sequence[int], window_s: int, most: int) -> tuple[list[int], int]:
    """Ask after each step, and take what is free; gives when it was, and the moment at the end."""
    taken: list[int] = []
    now = start
    for step in steps:
        now += step
        if _window(taken, window_s).used(now) < most:
            taken.append(now)
    return taken, now


@given(STARTS, STEPS, LENGTHS, MOST)
def test_no_time_of_the_windows_length_holds_more_than_the_limit(
    start: int, steps: list[int], window_s: int, most: int
) -> None:
    taken, _ = _granted(start, steps, window_s, most)
    for end in taken:
        assert sum(end - window_s < moment <= end for moment in taken) <= most


@given(STARTS, STEPS, LENGTHS, MOST)
def test_wait_is_as_long_as_needed_and_at_most_a_part_longer_than_exact(
    start: int, steps: list[int], window_s: int, most: int
) -> None:
    taken, now = _granted(start, steps, window_s, most)
    window = _window(taken, window_s)
    if window.used(now) < most:
        return
    wait_s = window.free_in_s(most, now)
    assert window.used(now + wait_s) < most
    assert window.used(now + wait_s - 1) >= most
    exact_s = sorted(taken)[-most] + window_s - now  # when the oldest that is in the way has left
    assert wait_s <= exact_s + -(-window_s // 60)
