"""What the table modules write and find again, on both databases."""

from __future__ import annotations

import secrets
from datetime import timedelta
from functools import partial

import pytest

from gateway.enrolment.states import CLOSED
from gateway.errors import Conflict
from gateway.model.certificate import CertificateRecord, CertificateStatus, RevocationReason, RevokedEntry
from gateway.model.ids import new_id
from gateway.model.outcome import State
from gateway.store import bundles, certificates, credentials, crl_state, requests, settings
from gateway.store.bundles import BundleRow
from gateway.store.credentials import CredentialRow
from gateway.store.requests import Approval
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.unit.store.samples import (
    CHAIN,
    ISSUER_KEY,
    NOW,
    NOW_S,
    certificate_record,
    issued_unit,
    request_row,
    request_unit,
)


def commit(store: Store, unit: Unit) -> None:
    store.recorder.commit_blocking(unit)


def test_request_comes_back_as_it_was_written(store: Store) -> None:
    row = request_row(
        state=State.REFUSED,
        identity="basic:7",
        identity_label="dévice",
        subject="CN=a",
        sans=("dns:a.test", "ip:192.0.2.1"),
        spki_sha256="c" * 64,
        csr_der=b"\x00\xff",
        renews_sha256="d" * 64,
        policy="web",
        bundle_sha256="e" * 64,
        backend="embedded",
        profile="p",
        plan={"subject": "CN=a", "usages": ["x"]},
        decision={"trace": [["names", "ok"]]},
        ca_handle="https://ca.test/1",
        approvals=(Approval("cli:x", NOW, "fine"),),
        approvals_required=2,
        expires_at=NOW + timedelta(days=1),
        retry_after_s=60,
        certificate_sha256="f" * 64,
        closed_at=NOW,
        answers_until=NOW + timedelta(minutes=10),
    )
    unit = Unit()
    requests.insert(unit, row)
    commit(store, unit)
    assert store.reader.read_blocking(lambda connection: requests.get(connection, row.id)) == row
    assert row.reason_id is not None
    by_reason = row.reason_id
    assert store.reader.read_blocking(lambda connection: requests.get(connection, by_reason)) == row
    assert store.reader.read_blocking(lambda connection: requests.get(connection, "PG-00000000")) is None


def test_move_changes_state_version_and_named_columns_only(store: Store) -> None:
    unit, row = request_unit()
    commit(store, unit)
    later = NOW + timedelta(seconds=5)
    moving = Unit()
    requests.move(
        moving,
        row.id,
        1,
        State.AWAITING_APPROVAL,
        from_state=State.AWAITING_APPROVAL,
        at=later,
        approvals=(Approval("cli:x", later),),
        decision={"k": 1},
        expires_at=later,
    )
    commit(store, moving)
    found = store.reader.read_blocking(lambda connection: requests.get(connection, row.id))
    assert found is not None
    assert (found.version, found.updated_at, found.closed_at) == (2, later, None)
    assert found.approvals == (Approval("cli:x", later),)
    assert (found.decision, found.expires_at, found.correlation) == ({"k": 1}, later, row.correlation)


@pytest.mark.parametrize("state", list(State))
def test_move_closes_exactly_the_states_that_nothing_follows(store: Store, state: State) -> None:
    unit, row = request_unit(state=State.SUBMITTING)
    commit(store, unit)
    moving = Unit()
    requests.move(moving, row.id, 1, state, from_state=State.SUBMITTING, at=NOW)
    commit(store, moving)
    found = store.reader.read_blocking(lambda connection: requests.get(connection, row.id))
    assert found is not None
    assert (found.closed_at is not None) == (state in CLOSED)


def test_move_from_another_state_or_version_is_a_conflict(store: Store) -> None:
    unit, row = request_unit()
    commit(store, unit)
    for version, state in ((2, State.AWAITING_APPROVAL), (1, State.SUBMITTING)):
        moving = Unit()
        requests.move(moving, row.id, version, State.REFUSED, from_state=state, at=NOW)
        with pytest.raises(Conflict):
            commit(store, moving)


def test_correlation_finds_the_open_request_before_closed_ones_within_their_grace(store: Store) -> None:
    correlation = secrets.token_hex(32)

    def find(now_s: int) -> str | None:
        found = store.reader.read_blocking(
            lambda connection: requests.find_by_correlation(connection, correlation, now_s)
        )
        return None if found is None else found.id

    rows = []
    for minutes in (0, 1):
        unit, row = request_unit(
            correlation=correlation,
            received_at=NOW + timedelta(minutes=minutes),
            answers_until=NOW + timedelta(minutes=10 + minutes),
            state=State.REFUSED,
        )
        commit(store, unit)
        rows.append(row)
    assert find(NOW_S) == rows[1].id
    assert find(NOW_S + 660) == rows[1].id
    assert find(NOW_S + 661) is None
    unit, open_row = request_unit(correlation=correlation, received_at=NOW - timedelta(minutes=5))
    commit(store, unit)
    assert find(NOW_S) == open_row.id
    assert find(NOW_S + 10**6) == open_row.id


def test_issued_request_keeps_its_correlation_until_it_is_retired(store: Store) -> None:
    unit, row, _ = issued_unit()
    commit(store, unit)
    assert row.correlation is not None
    correlation = row.correlation
    copy, _, _ = issued_unit(correlation=correlation)
    with pytest.raises(Conflict):
        commit(store, copy)
    latest = store.reader.read_blocking(lambda c: requests.latest_by_correlation(c, correlation))
    assert latest is not None
    assert latest.id == row.id
    successor, successor_row, _ = issued_unit(correlation=correlation)
    requests.retire(successor, row.id)
    commit(store, successor)
    latest = store.reader.read_blocking(lambda c: requests.latest_by_correlation(c, correlation))
    assert latest is not None
    assert latest.id == successor_row.id
    late, _, _ = issued_unit(correlation=correlation)
    requests.retire(late, row.id)
    with pytest.raises(Conflict):
        commit(store, late)


def test_many_messages_without_correlation_stand_side_by_side(store: Store) -> None:
    for _ in range(3):
        unit, _ = request_unit(correlation=None)
        commit(store, unit)


def test_request_search_filters_and_pages_newest_first(store: Store) -> None:
    ids = []
    for number in range(7):
        unit, row = request_unit(
            endpoint="a" if number % 2 else "b",
            state=State.REFUSED if number < 2 else State.AWAITING_APPROVAL,
            received_at=NOW + timedelta(seconds=number),
        )
        commit(store, unit)
        ids.append(row.id)
    newest_first = sorted(ids, reverse=True)
    seen: list[str] = []
    before: str | None = None
    while True:
        page = store.reader.read_blocking(partial(requests.search, limit=3, before_id=before))
        seen += [row.id for row in page.rows]
        before = page.next_before_id
        if before is None:
            break
    assert seen == newest_first

    def found(**filters: object) -> set[str]:
        page = store.reader.read_blocking(lambda c: requests.search(c, **filters))  # type: ignore[arg-type]
        return {row.id for row in page.rows}

    assert found(state=State.REFUSED) == set(ids[:2])
    assert found(state=State.AWAITING_APPROVAL, endpoint="a") == {ids[3], ids[5]}
    assert found(since=NOW + timedelta(seconds=5)) == set(ids[5:])
    assert found(protocol="scep") == set()


def test_expired_and_idle_requests_are_found_and_closed_ones_are_not(store: Store) -> None:
    unit, waiting = request_unit(expires_at=NOW - timedelta(seconds=1))
    commit(store, unit)
    unit, _ = request_unit(state=State.REFUSED, expires_at=NOW - timedelta(seconds=1))
    commit(store, unit)
    unit, submitting = request_unit(state=State.SUBMITTING, updated_at=NOW - timedelta(minutes=5))
    commit(store, unit)
    expired = store.reader.read_blocking(lambda c: requests.expired(c, NOW_S))
    assert [row.id for row in expired] == [waiting.id]
    idle = store.reader.read_blocking(lambda c: requests.in_states(c, [State.SUBMITTING], NOW_S - 60))
    assert [row.id for row in idle] == [submitting.id]


def test_certificate_and_chain_come_back_by_every_key(store: Store) -> None:
    unit, row, record = issued_unit()
    commit(store, unit)
    read = store.reader.read_blocking
    assert read(lambda c: certificates.by_sha256(c, record.sha256)) == record
    assert read(lambda c: certificates.by_serial(c, ISSUER_KEY, record.serial_hex)) == record
    assert read(lambda c: certificates.by_request(c, row.id)) == record
    assert read(lambda c: certificates.by_spki(c, record.spki_sha256)) == (record,)
    assert read(lambda c: certificates.chain(c, record.chain_sha256)) == CHAIN
    assert read(lambda c: certificates.status(c, record.sha256)) is CertificateStatus.GOOD
    assert read(lambda c: certificates.status(c, "0" * 64)) is None
    assert read(lambda c: certificates.chain(c, "0" * 64)) == ()


def test_same_serial_of_one_issuer_is_a_conflict(store: Store) -> None:
    record = certificate_record()
    for twin, fails in ((record, False), (certificate_record(serial_hex=record.serial_hex), True)):
        unit = Unit()
        certificates.insert(unit, twin, CHAIN)
        if fails:
            with pytest.raises(Conflict):
                commit(store, unit)
        else:
            commit(store, unit)


def test_chain_under_a_wrong_name_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="chain_sha256"):
        certificates.insert(Unit(), certificate_record(), CHAIN[:1])


def test_revocation_stands_in_the_entries_and_makes_the_crl_stale(store: Store) -> None:
    unit, _, record = issued_unit()
    commit(store, unit)
    read = store.reader.read_blocking
    assert read(lambda c: crl_state.get(c, ISSUER_KEY)).revocation_count == 0
    revoking = Unit()
    certificates.revoke(revoking, record, RevocationReason.KEY_COMPROMISE, NOW)
    commit(store, revoking)
    assert read(lambda c: certificates.status(c, record.sha256)) is CertificateStatus.REVOKED
    entry = RevokedEntry(int(record.serial_hex, 16), NOW, RevocationReason.KEY_COMPROMISE)
    assert read(lambda c: certificates.revoked_entries(c, ISSUER_KEY, NOW_S)) == (entry,)
    assert read(lambda c: certificates.revoked_entries(c, "0" * 64, NOW_S)) == ()
    after = int(record.not_after.timestamp()) + 1
    assert read(lambda c: certificates.revoked_entries(c, ISSUER_KEY, after)) == ()
    assert read(lambda c: crl_state.get(c, ISSUER_KEY)).revocation_count == 1
    again = Unit()
    certificates.revoke(again, record, RevocationReason.SUPERSEDED, NOW)
    with pytest.raises(Conflict):
        commit(store, again)
    assert read(lambda c: crl_state.get(c, ISSUER_KEY)).revocation_count == 1


def test_hold_can_be_released_or_made_final_and_each_counts(store: Store) -> None:
    unit, _, record = issued_unit()
    commit(store, unit)
    read = store.reader.read_blocking

    def now_stored() -> CertificateRecord:
        found = read(lambda c: certificates.by_sha256(c, record.sha256))
        assert found is not None
        return found

    for step in ("hold", "release", "hold", "revoke"):
        changing = Unit()
        if step == "release":
            certificates.release_hold(changing, now_stored())
        else:
            reason = (
                RevocationReason.CERTIFICATE_HOLD
                if step == "hold"
                else RevocationReason.CESSATION_OF_OPERATION
            )
            certificates.revoke(changing, now_stored(), reason, NOW)
        commit(store, changing)
        if step == "release":
            assert now_stored() == record
            assert read(lambda c: certificates.revoked_entries(c, ISSUER_KEY, NOW_S)) == ()
    assert now_stored().status is CertificateStatus.REVOKED
    assert read(lambda c: crl_state.get(c, ISSUER_KEY)).revocation_count == 4
    with pytest.raises(ValueError, match="revoked already"):
        certificates.revoke(Unit(), now_stored(), RevocationReason.UNSPECIFIED, NOW)
    with pytest.raises(ValueError, match="not on hold"):
        certificates.release_hold(Unit(), now_stored())


def test_many_revocations_of_one_batch_are_all_counted(store: Store) -> None:
    unit = Unit()
    records = [certificate_record() for _ in range(5)]
    for record in records:
        certificates.insert(unit, record, CHAIN)
    commit(store, unit)
    revoking = Unit()
    for record in records:
        certificates.revoke(revoking, record, RevocationReason.SUPERSEDED, NOW)
    commit(store, revoking)
    state = store.reader.read_blocking(lambda c: crl_state.get(c, ISSUER_KEY))
    assert state.revocation_count == 5
    assert len(store.reader.read_blocking(lambda c: certificates.revoked_entries(c, ISSUER_KEY, NOW_S))) == 5


def test_certificate_search_finds_text_status_and_expiry_and_pages(store: Store) -> None:
    records = [
        certificate_record(subject=f"CN=Dev-{number}_x", not_after=NOW + timedelta(days=number))
        for number in range(6)
    ]
    for record in records:
        unit = Unit()
        certificates.insert(unit, record, CHAIN)
        commit(store, unit)

    def search(**filters: object) -> list[str]:
        page = store.reader.read_blocking(lambda c: certificates.search(c, **filters))  # type: ignore[arg-type]
        return [record.subject for record in page.records]

    assert search(containing="dev-3") == ["CN=Dev-3_x"]
    assert search(containing="%") == []
    assert len(search(containing="_")) == 6
    assert search(containing=records[2].serial_hex[:12]) == ["CN=Dev-2_x"]
    assert search(containing=records[4].sha256.upper()) == ["CN=Dev-4_x"]
    assert search(expires_before=NOW + timedelta(days=2)) == ["CN=Dev-1_x", "CN=Dev-0_x"]
    assert search(status=CertificateStatus.REVOKED) == []
    first = store.reader.read_blocking(lambda c: certificates.search(c, limit=4))
    assert first.next_cursor is not None
    rest = store.reader.read_blocking(lambda c: certificates.search(c, limit=4, cursor=first.next_cursor))
    assert [*first.records, *rest.records] == records[::-1]
    assert rest.next_cursor is None


def test_credential_comes_back_by_name_until_it_is_revoked(store: Store) -> None:
    row = CredentialRow(
        new_id(),
        "basic",
        "dev",
        NOW,
        protocol="est",
        endpoints=("default",),
        verifier="hmac-sha256:" + "0" * 64,
        sealed=b"\x00",
        names=("a.test",),
        expires_at=NOW + timedelta(days=1),
        source="demo",
    )
    unit = Unit()
    credentials.insert(unit, row)
    commit(store, unit)
    read = store.reader.read_blocking
    assert read(lambda c: credentials.by_name(c, "basic", "dev")) == row
    assert read(lambda c: credentials.by_name(c, "basic", "dev\x00")) is None
    assert read(lambda c: credentials.by_name(c, "mac", "dev")) is None
    assert "0" * 64 not in repr(row)
    twin = Unit()
    credentials.insert(twin, CredentialRow(new_id(), "basic", "dev", NOW))
    with pytest.raises(Conflict):
        commit(store, twin)
    revoking = Unit()
    credentials.revoke(revoking, row.id, NOW)
    commit(store, revoking)
    assert read(lambda c: credentials.by_name(c, "basic", "dev")) is None
    again = Unit()
    credentials.revoke(again, row.id, NOW)
    with pytest.raises(Conflict):
        commit(store, again)
    successor = Unit()
    credentials.insert(successor, CredentialRow(new_id(), "basic", "dev", NOW))
    commit(store, successor)
    assert len(read(lambda c: credentials.search(c)).rows) == 1
    assert len(read(lambda c: credentials.search(c, with_revoked=True, kind="basic")).rows) == 2
    assert read(lambda c: credentials.search(c, source="demo", with_revoked=True, protocol="scep")).rows == ()
    found = read(lambda c: credentials.get(c, row.id))
    assert found is not None
    assert found.revoked_at == NOW


def test_use_of_an_expired_or_used_up_credential_is_a_conflict(store: Store) -> None:
    counted = CredentialRow(new_id(), "basic", "a", NOW, uses_left=2)
    free = CredentialRow(new_id(), "basic", "b", NOW, expires_at=NOW + timedelta(seconds=1))
    unit = Unit()
    credentials.insert(unit, counted)
    credentials.insert(unit, free)
    commit(store, unit)

    def use(row: CredentialRow, at_s: int) -> bool:
        using = Unit()
        credentials.use(using, row.id, NOW + timedelta(seconds=at_s))
        try:
            commit(store, using)
        except Conflict:
            return False
        return True

    assert [use(counted, 0) for _ in range(3)] == [True, True, False]
    assert [use(free, 0), use(free, 0), use(free, 1)] == [True, True, False]
    found = store.reader.read_blocking(lambda c: credentials.get(c, free.id))
    assert found is not None
    assert found.uses_left is None


def test_crl_is_stored_once_per_number_and_stale_after_the_next_revocation(store: Store) -> None:
    def state() -> crl_state.CrlState:
        return store.reader.read_blocking(lambda c: crl_state.get(c, ISSUER_KEY))

    def build(before: crl_state.CrlState) -> Unit:
        unit = Unit()
        crl_state.store_crl(
            unit, before, crl_der=b"crl", this_update=NOW, next_update=NOW + timedelta(hours=1)
        )
        return unit

    empty = state()
    assert empty.stale
    commit(store, build(empty))
    first = state()
    assert (first.number, first.crl_der, first.stale) == (1, b"crl", False)
    with pytest.raises(Conflict):
        commit(store, build(empty))
    bumping = Unit()
    crl_state.bump(bumping, ISSUER_KEY)
    crl_state.ensure(bumping, ISSUER_KEY)
    commit(store, bumping)
    assert state().stale
    commit(store, build(state()))
    assert (state().number, state().built_count, state().stale) == (2, 1, False)


def test_bundle_history_and_the_active_one(store: Store) -> None:
    import hashlib

    rows = [
        BundleRow(hashlib.sha256(text.encode()).hexdigest(), text, "policies", NOW) for text in ("{}", "[1]")
    ]
    for row in (*rows, rows[0]):
        unit = Unit()
        bundles.insert(unit, row)
        bundles.activate(unit, row.sha256, NOW)
        commit(store, unit)
    read = store.reader.read_blocking
    assert read(bundles.active) == rows[0].sha256
    assert read(lambda c: bundles.get(c, rows[1].sha256)) == rows[1]
    assert read(lambda c: bundles.get(c, "0" * 64)) is None
    assert read(bundles.history) == (rows[1], rows[0])
    assert read(lambda c: settings.get(c, "unknown")) is None
    with pytest.raises(ValueError, match="does not name"):
        bundles.insert(Unit(), BundleRow("0" * 64, "{}", "x", NOW))
