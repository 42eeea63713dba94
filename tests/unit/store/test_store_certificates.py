"""Rows of certificates, credentials, CRLs and bundles, on both databases."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection

from gateway.errors import Conflict
from gateway.model.certificate import CertificateRecord, CertificateStatus, RevocationReason, RevokedEntry
from gateway.model.ids import new_id
from gateway.store import bundles, certificates, credentials, crl_state, settings
from gateway.store.bundles import Activation, BundleRow
from gateway.store.credentials import CredentialRow
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.unit.store.samples import (
    CHAIN,
    ISSUER_KEY,
    NOW,
    NOW_S,
    certificate_record,
    issued_unit,
)


def commit(store: Store, unit: Unit) -> None:
    store.recorder.commit_blocking(unit)


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


def test_serial_number_alone_finds_the_certificates_of_every_issuer(store: Store) -> None:
    serial_hex = "7f"
    records = [
        certificate_record(serial_hex=serial_hex, issuer_key_sha256=letter * 64) for letter in ("c", "a", "b")
    ]
    for record in (*records, certificate_record(serial_hex="7f0")):
        unit = Unit()
        certificates.insert(unit, record, CHAIN)
        commit(store, unit)
    read = store.reader.read_blocking
    assert read(lambda c: certificates.by_serial_any(c, serial_hex)) == tuple(records)
    assert read(lambda c: certificates.by_serial_any(c, "f7")) == ()


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_look_ups_by_serial_number_and_by_transaction_go_by_an_index(store: Store) -> None:
    queries = (
        "SELECT pk FROM certificate WHERE serial_hex = '1' ORDER BY pk",
        "SELECT pk FROM certificate WHERE issuer_key_sha256 = '1' AND serial_hex = '1'",
        "SELECT pk FROM request WHERE transaction_id = '1' ORDER BY id DESC",
    )

    def plan_of(connection: Connection, query: str) -> str:
        return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()[0][-1])

    plans = [store.reader.read_blocking(partial(plan_of, query=query)) for query in queries]
    assert ["certificate_serial_key" in plan for plan in plans] == [True, True, False]
    assert "request_transaction_id" in plans[2]


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
        profiles=("short",),
        prevalidated=("a.test", "10.0.0.0/8"),
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
        bundles.activate(unit, Activation(row.sha256, NOW))
        commit(store, unit)
    read = store.reader.read_blocking
    assert read(bundles.active) == rows[0].sha256
    assert read(lambda c: bundles.get(c, rows[1].sha256)) == rows[1]
    assert read(lambda c: bundles.get(c, "0" * 64)) is None
    assert read(bundles.history) == (rows[1], rows[0])
    assert read(lambda c: settings.get(c, "unknown")) is None
    with pytest.raises(ValueError, match="does not name"):
        bundles.insert(Unit(), BundleRow("0" * 64, "{}", "x", NOW))
