"""`pkigate request`, `cert` and `audit` on a real database with real certificates."""

from __future__ import annotations

import json
import os
import pty
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.datadir import DataDirectory
from gateway.model.ids import reason_id
from gateway.model.outcome import State
from gateway.store import jobs
from tests.support.pki import Authority
from tests.unit.cli.recorded import TRACE, database_of, record_certificate, record_request

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_waiting_request_is_listed_shown_and_approved(on_data: Run, data: DataDirectory) -> None:
    row = record_request(data, State.AWAITING_APPROVAL, approvals_required=1)
    (listed,) = on_data("request", "list", "--state", "awaiting-approval", "--json").document["requests"]
    assert listed["id"] == row.id
    shown = on_data("request", "show", row.id)
    assert "CN=device-1.test" in shown.out
    approved = on_data("request", "approve", row.id, "--note", "by phone")
    assert (approved.code, approved.out) == (0, f"Approved {row.id}: 1 of 1.\n")
    (approval,) = on_data("request", "show", row.id, "--json").document["approvals"]
    assert approval["note"] == "by phone"
    assert approval["actor"].startswith("cli:")


def test_waiting_request_is_approved_by_the_short_id_that_its_client_was_told(
    on_data: Run, data: DataDirectory
) -> None:
    """EST's 202 and the other protocols' words for "not yet" end with it."""
    row = record_request(data, State.AWAITING_APPROVAL, approvals_required=1)
    short_id = reason_id(row.id)
    assert short_id in on_data("request", "list").out
    assert on_data("request", "show", short_id, "--json").document["reason_id"] == short_id
    assert on_data("request", "approve", short_id.lower()).out == f"Approved {row.id}: 1 of 1.\n"
    issued = record_request(data, State.ISSUED)
    assert reason_id(issued.id) not in on_data("request", "list").out
    assert issued.id in on_data("request", "show", reason_id(issued.id)).out


def test_unconfirmed_request_tells_until_when_it_may_be_confirmed(on_data: Run, data: DataDirectory) -> None:
    until = SystemClock().now() + timedelta(minutes=5)
    row = record_request(data, State.UNCONFIRMED, confirm_by=until, content_sha256="1" * 64)
    shown = on_data("request", "show", row.id)
    assert re.search(rf"confirm by +{until:%Y-%m-%d %H:%M:%S}", shown.out)
    document = on_data("request", "show", row.id, "--json").document
    assert document["confirm_by"].startswith(f"{until:%Y-%m-%dT%H:%M:%S}")
    assert (document["content_sha256"], document["confirmed_by_sha256"]) == ("1" * 64, None)
    (listed,) = on_data("request", "list", "--state", "unconfirmed", "--json").document["requests"]
    assert listed["confirm_by"] == document["confirm_by"]


def test_approval_queues_the_issue_and_issues_nothing_itself(on_data: Run, data: DataDirectory) -> None:
    row = record_request(data, State.AWAITING_APPROVAL, approvals_required=1)
    on_data("request", "approve", row.id)
    with sqlite3.connect(data.path / "pkigate.sqlite3") as connection:
        queued = connection.execute("SELECT kind, dedup_key, state FROM job").fetchall()
        certificates = connection.execute("SELECT count(*) FROM certificate").fetchone()
    connection.close()
    assert queued == [("issue-approved", row.id, "ready")]
    assert certificates == (0,)


def test_same_person_cannot_approve_twice(on_data: Run, data: DataDirectory) -> None:
    row = record_request(data, State.AWAITING_APPROVAL, approvals_required=2)
    assert on_data("request", "approve", row.id).out.endswith("1 of 2; 1 more needed.\n")
    again = on_data("request", "approve", row.id)
    assert (again.code, "another person must approve it" in again.err) == (1, True)


def test_rejected_request_is_refused_for_good_and_found_by_its_reason_id(
    on_data: Run, data: DataDirectory
) -> None:
    row = record_request(data, State.AWAITING_APPROVAL, approvals_required=1)
    rejected = on_data("request", "reject", row.id, "--note", "unknown device", "--json").document
    assert rejected["state"] == "refused"
    assert on_data("request", "show", rejected["reason_id"], "--json").document["id"] == row.id
    assert "unknown device" in on_data("request", "show", row.id).out
    assert on_data("request", "approve", row.id).code == 1


def test_refused_request_is_shown_by_reason_id_with_its_trace_as_a_tree(
    on_data: Run, data: DataDirectory
) -> None:
    row = record_request(data, State.REFUSED, decision=TRACE)
    assert row.reason_id is not None
    shown = on_data("request", "show", row.reason_id.lower())
    tree = shown.out[shown.out.index("How policy decided") :].splitlines()
    assert tree == [
        "How policy decided",
        "├─ select",
        "│  ├─ skipped  spare: priority 1  [a.yaml:1:1]",
        "│  └─ chosen  web  [a.yaml:9:3]",
        "└─ names",
        "   └─ refused  web.names.dns: evil\\x1b[31m.com",
        "",
        "Why it was refused",
        "└─ name.not-allowed (identity.sans[0]): not here",
    ]


def test_requests_are_filtered_by_time_and_endpoint(on_data: Run, data: DataDirectory) -> None:
    record_request(data, State.ISSUED)
    assert len(on_data("request", "list", "--since", "1h", "--json").document["requests"]) == 1
    assert on_data("request", "list", "--since", "2099-01-01", "--json").document["requests"] == []
    assert on_data("request", "list", "--endpoint", "other", "--json").document["requests"] == []


@pytest.mark.parametrize("arguments", [("request", "show"), ("request", "approve"), ("cert", "show")])
def test_unknown_object_ends_with_the_code_for_not_found(on_data: Run, arguments: tuple[str, str]) -> None:
    ended = on_data(*arguments, "0123456789abcdef")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("error: there is no ")
    assert ended.err.count("\n") == 1


def test_certificate_is_found_by_serial_with_colons_by_prefix_and_by_fingerprint(
    on_data: Run, data: DataDirectory, authority: Authority
) -> None:
    record = record_certificate(data, authority)
    record_certificate(data, authority, "device-2.test")
    padded = record.serial_hex.zfill(40).upper()
    colons = ":".join(padded[at : at + 2] for at in range(0, 40, 2))
    for identifier in (
        record.serial_hex,
        colons,
        record.serial_hex[:12],
        record.sha256,
        record.sha256[:12].upper(),
    ):
        shown = on_data("cert", "show", identifier, "--json")
        assert shown.code == 0, identifier
        assert shown.document["sha256"] == record.sha256


def test_certificate_is_not_found_by_digits_in_a_subject_that_a_requester_chose(
    on_data: Run, data: DataDirectory, authority: Authority
) -> None:
    victim = record_certificate(data, authority)
    record_certificate(data, authority, f"{victim.serial_hex}.test")
    assert on_data("cert", "show", victim.serial_hex, "--json").document["sha256"] == victim.sha256


def test_prefix_of_several_certificates_is_refused_with_the_candidates(
    on_data: Run, data: DataDirectory, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.cert.MIN_PREFIX_DIGITS", 1)
    records = [record_certificate(data, authority, f"device-{number}.test") for number in range(33)]
    # Of 33 fingerprints two share their first digit, whatever they are.
    digits = [record.sha256[0] for record in records]
    shared = next(digit for digit in digits if digits.count(digit) > 1)
    ended = on_data("cert", "show", shared)
    assert ended.code == 1
    assert "write more digits" in ended.err
    assert ended.err.count("sha256") >= 2


def test_printed_pem_is_the_certificate_and_chain_that_openssl_verifies(
    on_data: Run, data: DataDirectory, authority: Authority, tmp_path: Path
) -> None:
    record = record_certificate(data, authority)
    (tmp_path / "leaf.pem").write_text(on_data("cert", "show", record.sha256, "--pem").out)
    both = on_data("cert", "show", record.sha256, "--pem", "--chain").out
    assert both.count("BEGIN CERTIFICATE") == 2
    (tmp_path / "root.pem").write_text(both.partition("-----END CERTIFICATE-----\n")[2])
    verified = subprocess.run(
        ["openssl", "verify", "-CAfile", tmp_path / "root.pem", tmp_path / "leaf.pem"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.stdout.endswith("OK\n"), verified.stderr


def test_revoked_certificate_has_reason_and_time_and_stale_crl(
    on_data: Run, data: DataDirectory, authority: Authority
) -> None:
    record = record_certificate(data, authority)
    revoked = on_data("cert", "revoke", record.serial_hex, "--reason", "keyCompromise", "--json").document
    assert (revoked["status"], revoked["revocation_reason"]) == ("revoked", "keyCompromise")
    assert revoked["revoked_at"].endswith("Z")
    with sqlite3.connect(data.path / "pkigate.sqlite3") as connection:
        bumped = connection.execute("SELECT issuer_key_sha256, revocation_count FROM crl_state").fetchall()
    connection.close()
    assert bumped == [(record.issuer_key_sha256, 1)]
    (listed,) = on_data("cert", "list", "--status", "revoked", "--json").document["certificates"]
    assert listed["serial"] == record.serial_hex
    again = on_data("cert", "revoke", record.serial_hex)
    assert (again.code, "is revoked already" in again.err) == (1, True)


def test_held_certificate_can_be_released_and_a_good_one_cannot(
    on_data: Run, data: DataDirectory, authority: Authority
) -> None:
    record = record_certificate(data, authority)
    assert on_data("cert", "release", record.sha256).code == 1
    assert on_data("cert", "revoke", record.sha256, "--reason", "certificateHold").code == 0
    again = on_data("cert", "revoke", record.sha256, "--reason", "certificateHold")
    assert (again.code, "is on hold already" in again.err) == (1, True)
    assert on_data("cert", "release", record.sha256, "--json").document["status"] == "good"


def test_unknown_revocation_reason_is_a_usage_error(on_data: Run) -> None:
    ended = on_data("cert", "revoke", "0123456789", "--reason", "bored")
    assert (ended.code, "keyCompromise" in ended.err) == (2, True)


@pytest.mark.parametrize("identifier", ["12345", "device-1", ""])
def test_word_that_names_no_certificate_is_a_usage_error(on_data: Run, identifier: str) -> None:
    assert on_data("cert", "show", identifier).code == 2


def test_table_in_a_pipe_has_aligned_plain_columns(
    on_data: Run, data: DataDirectory, authority: Authority
) -> None:
    record = record_certificate(data, authority)
    heading, line = on_data("cert", "list").out.splitlines()
    assert line.startswith(record.serial_hex)
    assert heading.index("SUBJECT") == line.index("CN=device-1.test")
    assert "\x1b" not in heading + line


def test_table_on_a_terminal_has_bold_headings_and_keeps_brackets_in_names(data: DataDirectory) -> None:
    record_request(data, State.ISSUED, identity_label="[red]\x1b[31mx[/red]")
    controller, terminal = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", "request", "list", "--data-dir", str(data.path)],
            stdout=terminal,
            check=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "300"},
        )
        shown = os.read(controller, 65536).decode()
    finally:
        os.close(controller)
        os.close(terminal)
    assert "\x1b[1m" in shown
    assert "[red]" in shown
    assert "\x1b[31m" not in shown


def test_whole_audit_chain_verifies_and_a_changed_event_is_found(on_data: Run, data: DataDirectory) -> None:
    for _ in range(3):
        record_request(data, State.ISSUED)
    verified = on_data("audit", "verify", "--json")
    assert (verified.code, verified.document["ok"], verified.document["checked"]) == (0, True, 3)
    with sqlite3.connect(data.path / "pkigate.sqlite3") as connection:
        connection.execute("UPDATE audit SET actor = 'somebody' WHERE seq = 2")
    connection.close()
    broken = on_data("audit", "verify", "--json")
    assert (broken.code, broken.document["ok"], broken.document["first_bad_seq"]) == (1, False, 2)
    in_words = on_data("audit", "verify")
    assert (in_words.code, in_words.err.count("\n")) == (1, 1)


def test_kept_head_is_checked_and_wrong_ones_are_told(on_data: Run, data: DataDirectory) -> None:
    record_request(data, State.ISSUED)
    kept = re.search(r"head ([0-9]+:[0-9a-f]{64})\.", on_data("audit", "verify").out)
    assert kept is not None
    record_request(data, State.ISSUED)
    ended = on_data("audit", "verify", "--head", kept[1])
    assert ended.code == 0
    assert ended.out.endswith("It contains the head 1 that was kept.\n")
    other = on_data("audit", "verify", "--head", f"1:{'0' * 64}")
    assert (other.code, "event 1 is not the one of the kept head" in other.err) == (1, True)
    later = on_data("audit", "verify", "--head", f"3:{'0' * 64}", "--json")
    assert (later.code, later.document["ok"], later.document["first_bad_seq"]) == (1, False, 3)
    assert on_data("audit", "verify", "--head", "1").code == 2


def test_audit_export_writes_a_new_private_file_and_never_over_another(
    on_data: Run, data: DataDirectory, tmp_path: Path
) -> None:
    record_request(data, State.ISSUED)
    file = tmp_path / "audit.jsonl"
    assert on_data("audit", "export", "-o", file).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (event,) = [json.loads(line) for line in file.read_text().splitlines()]
    assert event["action"] == "request.submit"
    again = on_data("audit", "export", "-o", file)
    assert (again.code, "File exists" in again.err) == (1, True)


def test_audit_export_with_json_is_one_document(on_data: Run, data: DataDirectory) -> None:
    assert on_data("audit", "export", "--json").document == []
    record_request(data, State.ISSUED)
    record_request(data, State.ISSUED)
    assert [event["seq"] for event in on_data("audit", "export", "--json").document] == [1, 2]


async def test_revocation_is_queued_for_a_worker_to_tell_the_ca(
    on_data: Run, data: DataDirectory, authority: Authority
) -> None:
    record = record_certificate(data, authority)
    on_data("cert", "revoke", record.sha256)
    with database_of(data) as store:
        (job,) = await jobs.claim(store.recorder, ["revoke-at-ca"], "test", SystemClock().now())
    assert job.args == {"sha256": record.sha256, "backend": record.backend}
