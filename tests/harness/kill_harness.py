"""``kill -9`` under load: workers of the real gateway, then its whole process tree.

    python -m tests.harness.kill_harness --kills 2000 --tree-kills 50 --database sqlite --directory DIR

Prints one JSON document; exit code 0 if the judge found nothing, 1 if it did.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness.acme_fleet import AcmeFleet
from tests.harness.cmp_fleet import CmpFleet
from tests.harness.est_fleet import EstFleet
from tests.harness.fleet import Fleet
from tests.harness.journal import Journal, Stored, Verdict, judge
from tests.harness.scep_fleet import ScepFleet
from tests.support.database import certificates, rows
from tests.support.gateway import Gateway

SABOTAGED = (sys.executable, "-m", "tests.support.answers_before_commit")
WORKER_WAIT_S = 45.0
FLEETS: tuple[type[Fleet], ...] = (EstFleet, AcmeFleet, ScepFleet, CmpFleet)
CLIENTS = {"EST": 6, "ACME": 12, "SCEP": 4, "CMP": 6}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does."""

    kills: int
    tree_kills: int
    clients: Mapping[str, int] = field(default_factory=lambda: dict(CLIENTS))  # of each protocol
    longest_life_s: float = 0.04  # a worker is killed at a random moment within this once it works
    long_life_s: float = 0.5  # the same for some, so that protocols of many messages come to their end
    long_life_share: float = 0.2
    newborn_share: float = 0.2  # of the kills hit a worker at any moment of its start instead
    patience_s: float = 150.0  # that a client may take to end what it is at; the longest wait of a job is 90

    def life_s(self) -> float:
        """How long the next worker may live."""
        is_long = random.random() < self.long_life_share
        return random.uniform(0.0, self.long_life_s if is_long else self.longest_life_s)


class Fleets:
    """The clients of every protocol, at the same time."""

    def __init__(self, gateway: Gateway, journal: Journal, plan: Plan) -> None:
        makers = {maker.protocol: maker for maker in FLEETS}
        self._fleets = [makers[name](gateway, journal, size) for name, size in plan.clients.items()]

    async def start(self) -> None:
        for fleet in self._fleets:
            await fleet.start()

    async def stop(self, patience_s: float) -> None:
        await asyncio.gather(*(fleet.stop(patience_s) for fleet in self._fleets))

    def failed(self) -> BaseException | None:
        return next((error for fleet in self._fleets if (error := fleet.failed()) is not None), None)

    @property
    def in_flight(self) -> int:
        return sum(fleet.in_flight for fleet in self._fleets)

    @property
    def certificates(self) -> int:
        return sum(fleet.certificates for fleet in self._fleets)

    @property
    def counts(self) -> dict[str, int]:
        return {name: count for fleet in self._fleets for name, count in sorted(fleet.counts.items())}


@dataclass(slots=True)
class Report:
    """What happened."""

    kills: int
    kills_in_flight: int  # kills while a request was on its way through the gateway
    tree_kills: int
    seconds: float
    seconds_killing: float
    exchanges: dict[str, int]
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        return {
            "kills": self.kills,
            "kills_in_flight": self.kills_in_flight,
            "tree_kills": self.tree_kills,
            "seconds": round(self.seconds, 1),
            "seconds_killing": round(self.seconds_killing, 1),
            "exchanges": self.exchanges,
            **self.verdict.as_json(),
        }


async def run(gateway: Gateway, journal: Journal, plan: Plan) -> Report:
    """Kill a started gateway by plan and judge it. The gateway is running when this returns."""
    started = time.monotonic()
    already_there = frozenset(certificates(gateway.sql_url))
    fleet = Fleets(gateway, journal, plan)
    await fleet.start()
    await asyncio.sleep(0.3)
    in_flight = await _kill_workers(gateway, fleet, plan)
    tree_kills = await _kill_trees(gateway, fleet, plan)
    seconds_killing = time.monotonic() - started
    await fleet.stop(plan.patience_s)
    verdict = judge(journal, stored(gateway.sql_url, already_there))
    verdict.audit = audit_trouble(gateway)
    seconds = time.monotonic() - started
    return Report(plan.kills, in_flight, tree_kills, seconds, seconds_killing, fleet.counts, verdict)


def stored(sql_url: str, already_there: frozenset[str]) -> Stored:
    """What the judge has to know of the database."""
    revoked = rows(sql_url, "SELECT certificate_der FROM certificate WHERE status <> 'good'")
    waiting = rows(sql_url, "SELECT id FROM request WHERE state = 'unconfirmed'")
    return Stored(
        certificates(sql_url),
        already_there,
        frozenset(hashlib.sha256(bytes(certificate_der)).hexdigest() for (certificate_der,) in revoked),
        tuple(request_id for (request_id,) in waiting),
    )


async def _kill_workers(gateway: Gateway, fleet: Fleets, plan: Plan) -> int:
    """SIGKILL a random worker again and again; gives how often requests were in flight."""
    killed: set[int] = set()
    count = in_flight = 0
    while count < plan.kills:
        _stop_if_hopeless(gateway, fleet)
        pid = await _living_worker(gateway, killed)
        if random.random() >= plan.newborn_share:
            await _next_answer(fleet)
        await asyncio.sleep(plan.life_s())
        killed.add(pid)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        count += 1
        in_flight += fleet.in_flight > 0
    return in_flight


async def _next_answer(fleet: Fleets, longest_s: float = 2.0) -> None:
    """Wait until somebody gets a certificate, so that the kill hits a gateway at work."""
    before, deadline = fleet.certificates, time.monotonic() + longest_s
    while fleet.certificates == before and time.monotonic() < deadline:
        await asyncio.sleep(0.001)


async def _living_worker(gateway: Gateway, killed: set[int]) -> int:
    """A worker that was not killed yet. Forgets those of ``killed`` that are gone: their ids come again."""
    deadline = time.monotonic() + WORKER_WAIT_S
    while time.monotonic() < deadline:
        present = gateway.worker_pids
        killed.intersection_update(present)
        if pids := [pid for pid in present if pid not in killed]:
            return random.choice(pids)
        await asyncio.sleep(0.002)
    raise AssertionError(f"no worker was started again within {WORKER_WAIT_S} s\n{gateway.log[-3000:]}")


async def _kill_trees(gateway: Gateway, fleet: Fleets, plan: Plan) -> int:
    """SIGKILL supervisor and workers at once, then start the gateway on the same data."""
    for _ in range(plan.tree_kills):
        _stop_if_hopeless(gateway, fleet)
        await asyncio.sleep(random.uniform(0.02, 0.4))
        gateway.kill()
        gateway.spawn()
        await asyncio.to_thread(gateway.wait_ready)
    return plan.tree_kills


def _stop_if_hopeless(gateway: Gateway, fleet: Fleets) -> None:
    if (error := fleet.failed()) is not None:
        raise AssertionError(f"a client of the harness failed: {error!r}") from error
    if gateway.process is not None and gateway.process.poll() is not None:
        raise AssertionError(f"the supervisor ended: {gateway.process.returncode}\n{gateway.log[-3000:]}")


def audit_trouble(gateway: Gateway) -> str:
    """Empty if ``pkigate audit verify`` is content and read at least one event."""
    completed = gateway.cli("audit", "verify", "--json", check=False)
    if completed.returncode != 0:
        return f"exit {completed.returncode}: {completed.stdout}{completed.stderr}"
    facts = json.loads(completed.stdout)
    return "" if facts["ok"] and facts["checked"] > 0 else completed.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.harness.kill_harness", description=__doc__)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--tree-kills", type=int, default=50)
    for name, size in CLIENTS.items():
        parser.add_argument(f"--{name.lower()}", type=int, default=size, help=f"clients that speak {name}")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--workers", type=int, default=None, help="1 on SQLite, 2 on PostgreSQL")
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument(
        "--answer-before-commit", action="store_true", help="the control, which must be found out"
    )
    options = parser.parse_args(arguments)
    directory = options.directory or Path(tempfile.mkdtemp(prefix="pkigate-kill-"))
    clients = {name: getattr(options, name.lower()) for name in CLIENTS}
    plan = Plan(options.kills, options.tree_kills, clients)
    server = None
    url = None
    if options.database == "postgresql":
        from tests.support.postgresql import PostgresqlServer

        server = PostgresqlServer()
        server.start()
        url = server.new_database()
    workers = options.workers or (1 if server is None else 2)
    launcher = SABOTAGED if options.answer_before_commit else None
    gateway = Gateway(directory, database_url=url, workers=workers, launcher=launcher)
    try:
        gateway.start()
        with Journal(directory / "journal.jsonl") as journal:
            report = asyncio.run(run(gateway, journal, plan))
        gateway.stop()
    finally:
        gateway.kill()
        if server is not None:
            server.stop()
    print(json.dumps({"database": options.database, "workers": workers, **report.as_json()}, indent=1))
    return 0 if report.verdict.clean else 1


if __name__ == "__main__":
    sys.exit(main())
