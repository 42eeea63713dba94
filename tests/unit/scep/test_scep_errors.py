"""SCEP's table of failInfo values and its texts."""

from __future__ import annotations

import pytest

from gateway.model.ids import new_id, reason_id
from gateway.model.reasons import Reason, ReasonCode
from gateway.scep import errors
from gateway.scep.errors import FAIL_INFO, HTTP_STATUS, FailInfo


def test_table_of_fail_infos_is_total() -> None:
    assert set(FAIL_INFO) == set(ReasonCode)
    assert {value for value in FAIL_INFO.values() if value is not None} == set(FailInfo)
    assert set(HTTP_STATUS) <= set(ReasonCode)
    assert all(400 <= status < 500 for status in HTTP_STATUS.values())


@pytest.mark.parametrize("code", ReasonCode)
def test_every_code_has_a_fail_info_and_a_text_with_its_reason_id(code: ReasonCode) -> None:
    """RFC 8894 3.2.1.4: a FAILURE MUST have a failInfo."""
    request_id = new_id()
    reasons = (Reason(code, "what was wrong"),)
    assert errors.fail_info(reasons) in set(FailInfo)
    assert errors.fail_info_text(reasons, request_id) == f"what was wrong [{code}, {reason_id(request_id)}]"
    assert errors.plain(reasons[0], request_id).status in {400, 404, 405, 408, 413}


def test_first_reason_decides_and_the_others_stand_in_the_text() -> None:
    reasons = tuple(
        Reason(code, f"fault {number}")
        for number, code in enumerate([ReasonCode.KEY_SIZE, *[ReasonCode.NAME_NOT_ALLOWED] * 6])
    )
    assert errors.fail_info(reasons) is FailInfo.BAD_ALG
    text = errors.fail_info_text(reasons, None)
    assert text.startswith("fault 0 [key.size]; fault 1 [name.not-allowed]; ")
    assert text.endswith("; and 3 more")
    assert errors.fail_info(()) is FailInfo.BAD_REQUEST


def test_text_is_bounded_and_without_control_characters() -> None:
    """scep.md C27."""
    text = errors.fail_info_text((Reason(ReasonCode.NAME_MALFORMED, "a\r\nb\x00" + "c" * 5000),), None)
    assert text.startswith("a  b c")
    assert text.isprintable()
    assert len(text) < 450


@pytest.mark.parametrize(("seconds", "shown"), [(0, "1"), (7, "7")])
def test_unavailable_is_503_with_a_time_of_at_least_a_second(seconds: int, shown: str) -> None:
    """scep.md C48, C49."""
    response = errors.unavailable(Reason(ReasonCode.BACKEND_UNAVAILABLE, "the CA is away"), seconds, None)
    assert (response.status, response.headers) == (503, (("Retry-After", shown),))


@pytest.mark.parametrize(
    ("code", "status"),
    [(ReasonCode.HTTP_TOO_LARGE, 413), (ReasonCode.HTTP_TIMEOUT, 408), (ReasonCode.MESSAGE_ASN1, 400)],
)
def test_connection_is_closed_where_the_body_was_not_read(code: ReasonCode, status: int) -> None:
    response = errors.plain(Reason(code, "no"), None)
    assert (response.status, response.close) == (status, status != 400)
