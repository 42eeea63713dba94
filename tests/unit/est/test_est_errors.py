"""EST's table of statuses and its refusal texts."""

from __future__ import annotations

import pytest

from gateway.est import errors
from gateway.model.evidence import BASIC, MTLS
from gateway.model.ids import new_id, reason_id
from gateway.model.outcome import Refused, Unavailable
from gateway.model.reasons import Reason, ReasonCode
from tests.unit.est.house import header, text


def test_table_of_statuses_is_total_and_names_errors_only() -> None:
    assert set(errors.STATUS) == set(ReasonCode)
    assert all(400 <= status < 600 for status in errors.STATUS.values())


@pytest.mark.parametrize("code", ReasonCode)
def test_every_code_has_a_text_with_its_message_code_and_reason_id(code: ReasonCode) -> None:
    """est.md C42."""
    request_id = new_id()
    response = errors.refusal(
        Refused(request_id, (Reason(code, "what was wrong"),)), realm="est", accepts=(BASIC,)
    )
    assert response.status == errors.STATUS[code]
    assert text(response).endswith(f": what was wrong [{code}, {reason_id(request_id)}]\n")


def test_text_names_the_subject_of_the_finding_first() -> None:
    reason = Reason(
        ReasonCode.NAME_NOT_ALLOWED, '"host.evil.com" is not allowed here; allowed are names under test'
    )
    shown = errors.refusal_text((reason,), "01890a5d-ac96-774b-bcce-b302099a8057").decode()
    assert shown == (
        'names: "host.evil.com" is not allowed here; allowed are names under test'
        " [name.not-allowed, PG-PC10K6G0AQ]\n".replace(
            "PG-PC10K6G0AQ", reason_id("01890a5d-ac96-774b-bcce-b302099a8057")
        )
    )


@pytest.mark.parametrize("code", [ReasonCode.AUTH_MISSING, ReasonCode.AUTH_FAILED, ReasonCode.AUTH_KIND])
def test_challenge_is_sent_once_only_where_basic_is_taken(code: ReasonCode) -> None:
    """est.md C9 and C11: no endless 401 loop where Basic is off."""
    refused = Refused(new_id(), (Reason(code, "m"),))
    challenged = errors.refusal(refused, realm="factory 7", accepts=(MTLS, BASIC))
    assert challenged.status == 401
    assert header(challenged, "WWW-Authenticate") == 'Basic realm="factory 7"'
    for accepts in ((), (MTLS,)):
        plain = errors.refusal(refused, realm="est", accepts=accepts)
        assert plain.status == 403
        assert header(plain, "WWW-Authenticate") is None


def test_first_reason_decides_the_status_and_each_has_its_line() -> None:
    reasons = (Reason(ReasonCode.KEY_SIZE, "RSA-1024 is too short"), Reason(ReasonCode.POLICY_NO_MATCH, "no"))
    response = errors.refusal(Refused(new_id(), reasons), realm="est", accepts=())
    assert response.status == 400
    assert [line.split(":")[0] for line in text(response).splitlines()] == ["key", "policy"]


def test_hostile_message_stays_short_one_line_and_utf8() -> None:
    hostile = "a\r\nSet-Cookie: x\x00\x1b[31m\ud800é" + "b" * 10_000
    body = errors.refusal_text((Reason(ReasonCode.NAME_MALFORMED, hostile),) * 50, None)
    shown = body.decode("utf-8")
    assert len(body) < 6000
    assert len(shown.splitlines()) == 9
    assert shown.endswith("and 42 more\n")
    assert not any(c in shown for c in "\r\x00\x1b")


def test_refusal_without_reasons_is_forbidden() -> None:
    assert errors.refusal(Refused(new_id(), ()), realm="est", accepts=(BASIC,)).status == 403


@pytest.mark.parametrize(("seconds", "shown"), [(7, "7"), (0, "1"), (-3, "1")])
def test_unavailable_is_503_with_whole_seconds(seconds: int, shown: str) -> None:
    """est.md C41."""
    outcome = Unavailable(Reason(ReasonCode.BACKEND_UNAVAILABLE, "the CA is out of reach"), seconds)
    response = errors.unavailable(outcome)
    assert response.status == 503
    assert header(response, "Retry-After") == shown
    assert text(response) == "CA: the CA is out of reach [backend.unavailable]\n"


@pytest.mark.parametrize(
    ("code", "close"),
    [(ReasonCode.HTTP_TOO_LARGE, True), (ReasonCode.HTTP_TIMEOUT, True), (ReasonCode.AUTH_MISSING, False)],
)
def test_connection_is_closed_exactly_where_the_body_was_not_read(code: ReasonCode, close: bool) -> None:
    response = errors.refusal(Refused(new_id(), (Reason(code, "m"),)), realm="est", accepts=(BASIC,))
    assert response.close is close
