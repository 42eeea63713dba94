"""Readiness names what is wrong; one CA that fails never takes the replica out of service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.composition import readiness
from gateway.composition.background import Background
from gateway.composition.readiness import Readiness
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.errors import BackendUnavailable
from gateway.plugins import load_plugins
from gateway.policy.load import PolicySource, load_bundle
from gateway.store.migrate import migrate
from gateway.store.store import Store
from tests.support import policies


class Backend:
    """Tells its health; nothing else is asked here."""

    def __init__(self, health: Mapping[str, str] | Exception | None) -> None:
        self._health = health

    async def health(self) -> Mapping[str, str]:
        if self._health is None:
            await asyncio.sleep(60)
        if isinstance(self._health, Exception):
            raise self._health
        return self._health or {}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'test.sqlite3'}"
    migrate(url)
    with Store(url) as opened:
        yield opened


def _readiness(store: Store, backend: Any) -> tuple[Readiness, ActiveBundle]:
    documents = (policies.endpoint("default"), policies.enroll_policy("enroll", "default", priority=1))
    text = policies.bundle(*documents)["bundle.yaml"]
    bundle = ActiveBundle(
        load_bundle([PolicySource("bundle.yaml", text)], load_plugins().registry(lab=False))
    )
    backends = BackendSet(cast(Any, {"embedded": backend} if backend is not None else {}))
    return Readiness(store, bundle, backends, Background(), 100), bundle


@pytest.mark.parametrize(
    ("backend", "state"),
    [
        (Backend({"issuing": "ok", "root": "ok"}), "ok"),
        (
            Backend({"issuing": "expires on 2030-01-01", "root": "ok"}),
            "degraded: issuing: expires on 2030-01-01",
        ),
        (Backend(BackendUnavailable("the CA does not answer")), "degraded: the CA does not answer"),
        (Backend(RuntimeError("secret text")), "degraded: RuntimeError"),
        (Backend(None), "degraded: it did not answer within 0.05 s"),
        (object(), "ok"),
        (None, "degraded: the CA behind this endpoint is not available"),
    ],
)
async def test_health_of_a_ca_degrades_and_never_downs(
    store: Store, backend: Any, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "did not answer" in state:
        monkeypatch.setattr(readiness, "BACKEND_HEALTH_S", 0.05)
    found = await _readiness(store, backend)[0].components()
    assert found == {
        "recorder": "ok",
        "policy": "ok",
        "background": "ok",
        "database": "ok",
        "ca embedded": state,
    }


async def test_policy_problem_degrades_with_its_first_line(store: Store) -> None:
    ready, bundle = _readiness(store, Backend({}))
    bundle.problem = "bundle.yaml:3:1: first\nbundle.yaml:4:1: second"
    assert (await ready.components())["policy"] == "degraded: bundle.yaml:3:1: first"
