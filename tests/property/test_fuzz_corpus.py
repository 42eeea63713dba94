"""Every fuzz target takes its whole corpus, without any fuzzer (fuzz/README.md)."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"
NO_TARGETS = {"__init__", "replay", "run", "seeds"}
TARGETS = sorted({path.stem for path in FUZZ.glob("*.py")} - NO_TARGETS)
INPUTS = sorted(FUZZ.glob("corpus/*/*"))
LARGEST_CORPUS_BYTES, LARGEST_INPUT_BYTES = 256 * 1024, 16 * 1024


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert sorted({path.parent.name for path in INPUTS}) == TARGETS
    assert len(TARGETS) > 10


@pytest.mark.parametrize("name", TARGETS)
def test_corpus_stays_small(name: str) -> None:
    sizes = [path.stat().st_size for path in INPUTS if path.parent.name == name]
    assert max(sizes) <= LARGEST_INPUT_BYTES
    assert sum(sizes) <= LARGEST_CORPUS_BYTES


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_target_takes_the_input_and_its_pieces(path: Path) -> None:
    """Whole, cut short, with more behind it, and with a changed octet at places spread over it."""
    target = importlib.import_module(f"fuzz.{path.parent.name}")
    octets = path.read_bytes()
    target.one_input(octets)
    target.one_input(octets + b"\0")
    step = max(1, len(octets) // 32)
    for at in range(0, len(octets), step):
        target.one_input(octets[:at])
        target.one_input(octets[:at] + bytes((octets[at] ^ 0x80,)) + octets[at + 1 :])
