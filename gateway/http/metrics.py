"""Prometheus metrics in multiprocess mode: one file set per worker slot, summed at the exposition.

The slot, not the process id, names the files, so that a worker that was killed and replaced goes on with its
predecessor's counters and no file is left behind.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

from gateway.http.message import HttpRequest, HttpResponse, PathRoute

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RECORDER_TOTALS = {
    "units": "Units that were recorded; divided by transactions: units per transaction",
    "transactions": "Transactions that the recorder began",
    "replays": "Batches that were written again unit by unit, since one unit failed",
    "failures": "Batches that could not be recorded",
}
METRICS_SERVICE = "metrics"


class RecorderCounts(Protocol):
    """What a recorder has done since its start."""

    units: int
    transactions: int
    replays: int
    failures: int


def clear_metrics_directory(directory: Path) -> None:
    """Create the directory and remove an earlier run's files. Called by the supervisor before it forks."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in directory.glob("*.db"):
        path.unlink(missing_ok=True)


class Metrics:
    """The metrics of one worker. Without a directory they live in this process only."""

    def __init__(self, directory: Path | None = None, slot: int = 0) -> None:
        self._directory = directory
        self.registry = CollectorRegistry()
        if directory is not None:
            # prometheus_client has no other way to be told where the files lie and what names them.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
            values.ValueClass = values.MultiProcessValue(  # type: ignore[no-untyped-call]  # theirs
                process_identifier=lambda: slot
            )
        self._requests = Counter(
            "pkigate_requests",
            "HTTP requests answered",
            ("service", "method", "status"),
            registry=self.registry,
        )
        self._latency = Histogram(
            "pkigate_request_seconds",
            "Time from the request's header to the end of the response",
            ("service",),
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._outcomes = Counter(
            "pkigate_outcomes",
            "Enrolment outcomes",
            ("protocol", "outcome", "code"),
            registry=self.registry,
        )
        self._policy_reload_failed = Counter(
            "pkigate_policy_reload_failed",
            "Times that a worker could not take other policies and went on with those that it had",
            registry=self.registry,
        )
        self._list_failed = Counter(
            "pkigate_list_failed",
            "Times that newer content of a list could not be taken and the old one stayed in use",
            ("list",),
            registry=self.registry,
        )
        self._shadows = Counter(
            "pkigate_policy_shadow",
            "What policies on trial (mode: shadow) would have said",
            ("policy", "verdict", "differs"),
            registry=self.registry,
        )
        self._recorder_depth = Gauge(
            "pkigate_recorder_queue",
            "Units that wait for the recorder",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._recorder_totals = {
            field: Counter(f"pkigate_recorder_{field}", text, registry=self.registry)
            for field, text in RECORDER_TOTALS.items()
        }
        self._recorder_seen = dict.fromkeys(RECORDER_TOTALS, 0)
        self._request_children: dict[tuple[str, str, int], Counter] = {}
        self._latency_children: dict[str, Histogram] = {}
        self._outcome_children: dict[tuple[str, str, str], Counter] = {}

    def request(self, service: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request. ``method`` and ``service`` must come from a closed set."""
        key = (service, method, status // 100)
        child = self._request_children.get(key)
        if child is None:
            child = self._request_children[key] = self._requests.labels(service, method, f"{status // 100}xx")
        child.inc()
        histogram = self._latency_children.get(service)
        if histogram is None:
            histogram = self._latency_children[service] = self._latency.labels(service)
        histogram.observe(seconds)

    def outcome(self, protocol: str, outcome: str, code: str = "") -> None:
        """Count an outcome: ``issued``, ``pending``, ``refused`` or ``unavailable``, with its first code."""
        key = (protocol, outcome, code)
        child = self._outcome_children.get(key)
        if child is None:
            child = self._outcome_children[key] = self._outcomes.labels(*key)
        child.inc()

    def policy_reload_failed(self) -> None:
        """Count that other policies could not be taken."""
        self._policy_reload_failed.inc()

    def list_failed(self, name: str) -> None:
        """Count that newer content of a list could not be taken."""
        self._list_failed.labels(name).inc()

    def shadow(self, policy: str, verdict: str, differs: bool) -> None:
        """Count what a policy on trial would have said: ``allow``, ``pend``, ``deny`` or ``unknown``."""
        self._shadows.labels(policy, verdict, "yes" if differs else "no").inc()

    def recorder(self, depth: int, counts: RecorderCounts) -> None:
        """Note how many units wait, and what was done since the last call; called once a second."""
        self._recorder_depth.set(depth)
        for field, counter in self._recorder_totals.items():
            total: int = getattr(counts, field)
            counter.inc(total - self._recorder_seen[field])
            self._recorder_seen[field] = total

    def exposition(self) -> bytes:
        """All workers' metrics in the text format."""
        if self._directory is None:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        path = str(self._directory)
        multiprocess.MultiProcessCollector(registry, path=path)  # type: ignore[no-untyped-call]  # theirs
        return generate_latest(registry)

    def route(self) -> PathRoute:
        """``/metrics`` for the listener that serves ``metrics``."""

        async def expose(_request: HttpRequest) -> HttpResponse:
            return HttpResponse(200, self.exposition(), CONTENT_TYPE)

        return PathRoute("/metrics", METRICS_SERVICE, expose)
