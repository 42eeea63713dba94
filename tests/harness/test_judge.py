"""The judge of the kill harness finds each kind of fault, and only those."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.journal import Journal, Stored, judge

KEY, OTHER_KEY = "k" * 64, "o" * 64
CERTIFICATE, OTHER = b"certificate", b"another"


def _stored(*rows: tuple[str, bytes], **more: Any) -> Stored:
    return Stored({_sha256(der): (spki, der) for spki, der in rows}, **more)


def _sha256(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """One request that was sent and answered."""
    with Journal(tmp_path / "journal.jsonl") as opened:
        opened.sent(KEY)
        opened.got(KEY, CERTIFICATE)
        yield opened


def test_answered_and_recorded_once_is_clean(journal: Journal) -> None:
    assert judge(journal, _stored((KEY, CERTIFICATE))).clean


def test_received_certificate_that_is_not_stored_is_lost(journal: Journal) -> None:
    verdict = judge(journal, _stored((KEY, OTHER)))
    assert verdict.lost
    assert not verdict.clean


def test_two_certificates_for_one_request_are_doubled(journal: Journal) -> None:
    verdict = judge(journal, _stored((KEY, CERTIFICATE), (KEY, OTHER)))
    assert verdict.duplicated == [KEY]
    assert not verdict.clean


def test_repeat_with_another_certificate_differs(journal: Journal) -> None:
    journal.got(KEY, OTHER)
    stored = _stored((KEY, CERTIFICATE), (OTHER_KEY, OTHER))
    assert judge(journal, stored).differing == [KEY]


def test_certificate_that_nobody_asked_for_is_foreign(journal: Journal) -> None:
    rows = ((KEY, CERTIFICATE), (OTHER_KEY, OTHER))
    assert judge(journal, _stored(*rows)).foreign
    assert judge(journal, _stored(*rows, already_there=frozenset({_sha256(OTHER)}))).clean


def test_accepted_certificate_that_is_revoked_is_withdrawn(journal: Journal) -> None:
    journal.confirmed(KEY, CERTIFICATE)
    verdict = judge(journal, _stored((KEY, CERTIFICATE), revoked=frozenset({_sha256(CERTIFICATE)})))
    assert verdict.withdrawn == [_sha256(CERTIFICATE)]
    assert not verdict.clean


def test_revoked_certificate_that_nobody_accepted_is_clean(journal: Journal) -> None:
    assert judge(journal, _stored((KEY, CERTIFICATE), revoked=frozenset({_sha256(CERTIFICATE)}))).clean


def test_request_that_waits_for_its_confirmation_is_not_clean(journal: Journal) -> None:
    assert not judge(journal, _stored((KEY, CERTIFICATE), unconfirmed=("a request",))).clean


def test_request_without_answer_is_not_clean(journal: Journal) -> None:
    journal.sent(OTHER_KEY)
    verdict = judge(journal, _stored((KEY, CERTIFICATE)))
    assert verdict.unanswered == 1
    assert not verdict.clean


def test_server_fault_is_not_clean(journal: Journal) -> None:
    journal.trouble(KEY, 500, b"oops")
    assert not judge(journal, _stored((KEY, CERTIFICATE))).clean


def test_journal_without_answers_is_not_clean(tmp_path: Path) -> None:
    with Journal(tmp_path / "empty.jsonl") as empty:
        assert not judge(empty, _stored()).clean
