"""Measure the real gateway with shipped settings against the raw floor of the same run.

    scripts/bench [--count N] [--repetitions N] [--concurrency N] [--modes kept,new,acme,scep,cmp] [--json]

Figures are server CPU: user and system time of the gateway's whole process tree. Rates and latencies hold for
this machine with the generator on the same cores. Repetitions are interleaved; the median is printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from bench import policy_decision
from bench.subjects import MODES, WARM_UP, FloorSubject, GatewaySubject, Result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=3334, help="certificates per mode and repetition")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--modes", default=",".join(MODES), help="of: " + ", ".join(MODES))
    parser.add_argument(
        "--burst", type=int, default=10_000, help="ACME orders on one account at 64 at once; 0 for none"
    )
    parser.add_argument(
        "--workers", type=int, default=None, help="1 on SQLite, as many as cores on PostgreSQL"
    )
    parser.add_argument("--database-url", default=None, help="an empty PostgreSQL database instead of SQLite")
    parser.add_argument(
        "--directory", type=Path, default=None, help="where data lies; its disk is measured too"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    options = parser.parse_args(arguments)
    modes = options.modes.split(",")
    if unknown := set(modes) - set(MODES):
        parser.error(f"no mode {', '.join(sorted(unknown))}; there are {', '.join(MODES)}")
    with tempfile.TemporaryDirectory(prefix="pkigate-bench-", dir=options.directory) as directory:
        runs, facts = uvloop.run(_measure(Path(directory), modes, options))
    failed = sum(sum(result.errors.values()) for results in runs.values() for result in results)
    _print(runs, facts, as_json=options.json)
    return 1 if failed else 0


async def _measure(
    directory: Path, modes: Sequence[str], options: argparse.Namespace
) -> tuple[dict[str, list[Result]], dict[str, Any]]:
    most = (options.count + WARM_UP) * options.repetitions
    gateway = GatewaySubject(directory / "gateway", options.database_url, options.workers, most)
    floor = FloorSubject(directory)
    runs: dict[str, list[Result]] = {mode: [] for mode in ("floor", *modes)}
    try:
        await floor.start()
        await gateway.start()
        for repetition in range(options.repetitions):
            name = f"r{repetition}"
            runs["floor"].append(await floor.measure(name, options.count, options.concurrency))
            for mode in modes:
                runs[mode].append(await gateway.measure(mode, name, options.count, options.concurrency))
        if "acme" in modes and options.burst:
            runs["acme64"] = [await gateway.burst(options.burst, 64)]
        facts = await gateway.facts()
        facts[f"{policy_decision.NAME}, 200 policies"] = policy_decision.measure(200)
    finally:
        await gateway.stop()
        floor.stop()
    return runs, facts


def _print(runs: dict[str, list[Result]], facts: dict[str, Any], *, as_json: bool) -> None:
    floor_ms = statistics.median(result.cpu_ms for result in runs["floor"])
    rows = [_row(mode, results, floor_ms) for mode, results in runs.items()]
    if as_json:
        for row in (*rows, {"mode": "facts", **facts}):
            print(json.dumps(row))
        return
    print(f"{'mode':<9}{'certificates':>13}{'CPU ms each':>13}{'x floor':>9}{'per s':>8}", end="")
    print(f"{'p50 ms':>8}{'p99 ms':>8}  errors")
    for row in rows:
        print(f"{row['mode']:<9}{row['certificates']:>13}{row['cpu_ms']:>13.3f}{row['ratio']:>9.2f}", end="")
        print(f"{row['per_s']:>8.0f}{row['p50_ms']:>8.1f}{row['p99_ms']:>8.1f}  {row['errors'] or 'none'}")
    for name, value in facts.items():
        print(f"{name}: {value}")


def _row(mode: str, results: Sequence[Result], floor_ms: float) -> dict[str, Any]:
    errors: dict[str, int] = {}
    for result in results:
        for kind, count in result.errors.items():
            errors[kind] = errors.get(kind, 0) + count

    def median(field: str) -> float:
        values: list[float] = [getattr(result, field) for result in results]
        return round(statistics.median(values), 4)

    return {
        "mode": mode,
        "certificates": sum(result.certificates for result in results),
        "repetitions": len(results),
        "cpu_ms": median("cpu_ms"),
        "cpu_ms_all": [round(result.cpu_ms, 4) for result in results],
        "ratio": round(median("cpu_ms") / floor_ms, 3),
        "per_s": median("per_s"),
        "p50_ms": median("p50_ms"),
        "p99_ms": median("p99_ms"),
        "errors": errors,
    }


if __name__ == "__main__":
    sys.exit(main())
