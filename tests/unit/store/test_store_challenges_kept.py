"""How long challenge passwords that nobody can use any more stay in the database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from gateway.model.ids import new_id
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.retention import CHALLENGES_KEPT, ChallengeRetention
from gateway.store.schema import AUDIT
from gateway.store.store import Store
from gateway.store.unit import AuditEvent, Unit

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
END = NOW + timedelta(hours=1)
ONE_TIME = CredentialRow("", "scep-challenge", "", NOW, protocol="scep", expires_at=END, uses_left=1)
ROWS = {
    "unused": ONE_TIME,
    "used up": replace(ONE_TIME, uses_left=0),
    "withdrawn": replace(ONE_TIME, revoked_at=NOW),
    "later": replace(ONE_TIME, expires_at=END + timedelta(seconds=1)),
    "endless": replace(ONE_TIME, expires_at=None),
    "static": replace(ONE_TIME, uses_left=None),
    "counted secret of cmp": replace(ONE_TIME, kind="cmp-secret", protocol="cmp"),
    "counted user": replace(ONE_TIME, kind="basic", protocol=None),
}


async def _names(store: Store) -> set[str]:
    page = await store.reader.read(lambda connection: credentials.search(connection, with_revoked=True))
    return {row.name for row in page.rows}


async def _audited(store: Store) -> int:
    return int(
        await store.reader.read(lambda c: c.execute(select(func.count()).select_from(AUDIT)).scalar_one())
    )


async def test_one_time_challenges_go_a_year_after_their_end_and_nothing_else_does(store: Store) -> None:
    unit = Unit()
    for name, row in ROWS.items():
        row_id = new_id()
        credentials.insert(unit, replace(row, id=row_id, name=name))
        unit.audit(AuditEvent("cli:anna", "credential.add", row_id))
    await store.recorder.commit(unit)
    audited, retention = await _audited(store), ChallengeRetention(store)
    await retention.prune(END + CHALLENGES_KEPT)
    assert await _names(store) == set(ROWS)
    for _ in range(2):  # a second time finds nothing
        await retention.prune(END + CHALLENGES_KEPT + timedelta(seconds=1))
        assert await _names(store) == set(ROWS) - {"unused", "used up", "withdrawn"}
    assert await _audited(store) == audited == len(ROWS)


async def test_many_ended_challenges_go_in_a_few_rounds(store: Store) -> None:
    for _ in range(5):
        unit = Unit()
        for _ in range(500):
            row_id = new_id()
            credentials.insert(unit, replace(ONE_TIME, id=row_id, name=row_id))
        await store.recorder.commit(unit)
    await ChallengeRetention(store).prune(END + CHALLENGES_KEPT + timedelta(days=1))
    assert await _names(store) == set()
