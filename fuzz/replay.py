"""Give files to a target without any fuzzer: ``python -m fuzz.replay NAME FILE...``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> None:
    name, *files = sys.argv[1:]
    target = importlib.import_module(f"fuzz.{name}")
    for file in files:
        target.one_input(Path(file).read_bytes())


if __name__ == "__main__":
    main()
