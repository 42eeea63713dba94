"""The audit chain finds whatever was done to it behind the recorder's back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from itertools import pairwise

import psycopg
import pytest

from gateway.store import audit
from gateway.store.audit import AuditHead, AuditVerdict
from gateway.store.store import Store
from gateway.store.unit import AuditEvent, Unit

EVENTS = 12


@pytest.fixture
def trail(store: Store) -> Store:
    """A store with some events, in batches of several sizes."""
    for size in (1, 5, 6):
        unit = Unit()
        for number in range(size):
            unit.audit(
                AuditEvent("cli:x", "certificate.revoke", f"c{number}", "ok", {"n": number, "t": "é\x00"})
            )
        store.recorder.commit_blocking(unit)
    return store


def verdict(store: Store, kept: AuditHead | None = None) -> AuditVerdict:
    return store.reader.read_blocking(lambda connection: audit.verify_chain(connection, kept))


def tamper(database: str, statements: Sequence[str]) -> None:
    if database.startswith("sqlite"):
        connection = sqlite3.connect(database.removeprefix("sqlite:///"))
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
        return
    with psycopg.connect(database) as server:
        for statement in statements:
            server.execute(statement)


def test_untouched_chain_is_ok_and_counts_every_event(trail: Store) -> None:
    found = verdict(trail)
    assert (found.ok, found.checked, found.first_bad_seq, found.head.seq) == (True, EVENTS, None, EVENTS)


def test_chain_longer_than_a_page_is_read_to_its_end(store: Store) -> None:
    unit = Unit()
    for number in range(4100):
        unit.audit(AuditEvent("system", "x", str(number)))
    store.recorder.commit_blocking(unit)
    assert verdict(store).checked == 4100


@pytest.mark.parametrize("seq", [1, 7, EVENTS])
@pytest.mark.parametrize(
    "change",
    [
        "at = at + 1",
        "actor = 'cli:y'",
        "action = 'certificate.issue'",
        "object_id = 'other'",
        "outcome = 'failed'",
        "details = replace(details, 't', 'u')",
        "prev_hash = hash",
        "hash = prev_hash",
    ],
)
def test_changed_event_is_found(trail: Store, database: str, seq: int, change: str) -> None:
    tamper(database, [f"UPDATE audit SET {change} WHERE seq = {seq}"])
    found = verdict(trail)
    assert not found.ok
    assert found.first_bad_seq == seq


@pytest.mark.parametrize("seq", [1, 6, EVENTS])
def test_deleted_event_is_found(trail: Store, database: str, seq: int) -> None:
    tamper(database, [f"DELETE FROM audit WHERE seq = {seq}"])
    found = verdict(trail)
    assert (found.ok, found.first_bad_seq) == (False, seq)


def test_deleted_end_with_an_older_head_is_found_only_against_a_kept_head(
    trail: Store, database: str
) -> None:
    kept = verdict(trail).head
    rows = trail.reader.read_blocking(lambda connection: list(audit.export(connection)))
    older = json.loads(rows[-2])
    tamper(
        database,
        [
            f"DELETE FROM audit WHERE seq = {EVENTS}",
            f"UPDATE audit_head SET seq = {EVENTS - 1}, hash = '{older['hash']}'",
        ],
    )
    # Whoever rewrites head and end makes a shorter chain that holds; that is why heads are kept elsewhere.
    found = verdict(trail)
    assert found.ok
    assert found.head != kept


def test_cut_off_end_is_found_by_the_kept_head(trail: Store, database: str) -> None:
    kept = verdict(trail).head
    older = json.loads(trail.reader.read_blocking(lambda connection: list(audit.export(connection)))[-2])
    assert verdict(trail, AuditHead(older["seq"], older["hash"])).ok
    tamper(
        database,
        [
            f"DELETE FROM audit WHERE seq = {EVENTS}",
            f"UPDATE audit_head SET seq = {EVENTS - 1}, hash = '{older['hash']}'",
        ],
    )
    found = verdict(trail, kept)
    assert (found.ok, found.checked, found.first_bad_seq) == (False, EVENTS - 1, EVENTS)
    assert "the chain ends before the kept head" in found.what
    assert verdict(trail, AuditHead(older["seq"], older["hash"])).ok


def test_chain_that_was_written_anew_is_found_by_the_kept_head(trail: Store, database: str) -> None:
    lines = trail.reader.read_blocking(lambda connection: list(audit.export(connection)))
    kept = AuditHead(json.loads(lines[7])["seq"], json.loads(lines[7])["hash"])
    head, statements = AuditHead(0, audit.FIRST_HASH), []
    for line in lines:
        event = json.loads(line)
        actor = "cli:y" if event["seq"] == 5 else event["actor"]
        details = {key: value for key, value in event["details"].items() if key != "v"}
        made = AuditEvent(actor, event["action"], event["object_id"], event["outcome"], details)
        before, ((*_, digest),) = head, audit.chain_rows(head, [made], event["at"])[0]
        head = AuditHead(event["seq"], str(digest))
        statements.append(
            f"UPDATE audit SET actor = '{actor}', prev_hash = '{before.hash}', hash = '{digest}' "
            f"WHERE seq = {event['seq']}"
        )
    tamper(database, [*statements, f"UPDATE audit_head SET hash = '{head.hash}'"])
    assert verdict(trail).ok
    found = verdict(trail, kept)
    assert (found.ok, found.first_bad_seq) == (False, kept.seq)
    assert verdict(trail, AuditHead(4, json.loads(lines[3])["hash"])).ok


def test_swapped_events_are_found(trail: Store, database: str) -> None:
    tamper(
        database,
        [
            "UPDATE audit SET seq = 100 WHERE seq = 4",
            "UPDATE audit SET seq = 4 WHERE seq = 5",
            "UPDATE audit SET seq = 5 WHERE seq = 100",
        ],
    )
    found = verdict(trail)
    assert (found.ok, found.first_bad_seq) == (False, 4)


def test_inserted_event_is_found(trail: Store, database: str) -> None:
    tamper(
        database,
        [
            "INSERT INTO audit SELECT 0, at, actor, action, object_id, outcome, details, prev_hash, hash"  # noqa: ISC004
            " FROM audit WHERE seq = 1"
        ],
    )
    assert not verdict(trail).ok


def test_changed_head_is_found(trail: Store, database: str) -> None:
    tamper(database, [f"UPDATE audit_head SET hash = '{'1' * 64}'"])
    assert not verdict(trail).ok


def test_export_gives_one_json_line_per_event_in_order(trail: Store) -> None:
    lines = trail.reader.read_blocking(lambda connection: list(audit.export(connection)))
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == list(range(1, EVENTS + 1))
    assert events[0]["details"] == {"n": 0, "t": "é\x00", "v": 1}
    assert all(event["prev_hash"] == before["hash"] for before, event in pairwise(events))
