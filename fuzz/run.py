"""Fuzz one target: ``python -m fuzz.run NAME SECONDS``. Ends with another status than 0 on a find."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[1]
# One input may take so long and so much memory; bounded work is part of what is tested.
_SECONDS_PER_INPUT, _MEGABYTES = 10, 1024
_MAX_OCTETS = 65_536


def main() -> None:
    name, seconds = sys.argv[1:]
    with atheris.instrument_imports(include=["gateway"]):
        target = importlib.import_module(f"fuzz.{name}")
    discovered, finds = ROOT / ".fuzz" / name, ROOT / ".fuzz" / "finds"
    for directory in (discovered, finds):
        directory.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": seconds,
        "timeout": _SECONDS_PER_INPUT,
        "rss_limit_mb": _MEGABYTES,
        "max_len": _MAX_OCTETS,
        "artifact_prefix": f"{finds}/{name}-",
        "print_final_stats": 1,
    }
    arguments = [f"-{option}={value}" for option, value in options.items()]
    # libFuzzer writes what it discovers into the first directory and only reads the second
    atheris.Setup([name, *arguments, str(discovered), str(ROOT / "fuzz" / "corpus" / name)], target.one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
