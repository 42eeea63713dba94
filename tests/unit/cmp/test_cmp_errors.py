"""PKIFailureInfo of reason codes, and the words of refusals."""

from __future__ import annotations

import pytest

from gateway.asn1.cmp_status import PkiFailureInfo
from gateway.cmp.errors import (
    FAILURE_INFO,
    CmpRefusal,
    failure_info,
    failure_of,
    plain,
    retry_strings,
    status_strings,
    unavailable,
)
from gateway.errors import MalformedMessage
from gateway.model.ids import new_id, reason_id
from gateway.model.reasons import Reason, ReasonCode


def test_every_reason_code_has_exactly_one_failure_bit() -> None:
    """cmp.md C: the table is total over the reason codes, and each value is one bit of RFC 9810 5.2.3."""
    assert set(FAILURE_INFO) == set(ReasonCode)
    assert all(bit.bit_count() == 1 and bit in PkiFailureInfo for bit in FAILURE_INFO.values())


@pytest.mark.parametrize(
    ("code", "bit"),
    [
        (ReasonCode.MESSAGE_ASN1, 5),
        (ReasonCode.MESSAGE_ALGORITHM, 0),
        (ReasonCode.MESSAGE_INTEGRITY, 1),
        (ReasonCode.AUTH_SIGNATURE, 1),
        (ReasonCode.AUTH_CERTIFICATE_UNTRUSTED, 20),
        (ReasonCode.AUTH_CERTIFICATE_REVOKED, 10),
        (ReasonCode.CSR_POSSESSION, 9),
        (ReasonCode.SUBJECT_CN, 19),
        (ReasonCode.EXTENSION_NOT_ALLOWED, 16),
        (ReasonCode.POLICY_NO_MATCH, 23),
        (ReasonCode.BACKEND_UNAVAILABLE, 24),
        (ReasonCode.SERVER_FAULT, 25),
        (ReasonCode.TRANSACTION_IN_USE, 21),
    ],
)
def test_failure_bit_is_that_of_the_checklist(code: ReasonCode, bit: int) -> None:
    """cmp.md C22, C35, C36, C41, C42, C52, C53, C58, C63: bit numbers, not names of ours."""
    assert failure_info((Reason(code, "x"),)) == 1 << bit


def test_first_reason_decides_and_none_is_a_bad_request() -> None:
    reasons = (Reason(ReasonCode.KEY_WEAK, "x"), Reason(ReasonCode.POLICY_CRASH, "y"))
    assert failure_info(reasons) is PkiFailureInfo.BAD_CERT_TEMPLATE
    assert failure_info(()) is PkiFailureInfo.BAD_REQUEST


def test_used_up_secret_is_no_wrong_mac() -> None:
    """cmp.md C35, C44: whose MAC was right hears notAuthorized."""
    assert failure_info((Reason(ReasonCode.AUTH_FAILED, "x"),)) is PkiFailureInfo.NOT_AUTHORIZED
    assert FAILURE_INFO[ReasonCode.AUTH_FAILED] is PkiFailureInfo.BAD_MESSAGE_CHECK


def test_refusal_brings_its_own_bit_and_others_take_that_of_their_code() -> None:
    refusal = CmpRefusal(PkiFailureInfo.BAD_TIME, "late", code=ReasonCode.MESSAGE_UNSUPPORTED)
    assert failure_of(refusal) is PkiFailureInfo.BAD_TIME
    assert failure_of(MalformedMessage("bad")) is PkiFailureInfo.BAD_DATA_FORMAT


def test_status_strings_are_bounded_and_hold_no_control_characters() -> None:
    """cmp.md C62: one line per reason, each with its code and the reason id."""
    request_id = new_id()
    reasons = tuple(Reason(ReasonCode.NAME_NOT_ALLOWED, "a\nb\x00" + "x" * 5000) for _ in range(12))
    texts = status_strings(reasons, request_id)
    assert len(texts) == 9
    assert texts[-1] == "and 4 more"
    assert all(text.isprintable() and len(text) < 560 for text in texts)
    assert texts[0].startswith("a b ")
    assert texts[0].endswith(f"[name.not-allowed, {reason_id(request_id)}]")


def test_plain_answer_of_an_unread_body_closes_the_connection() -> None:
    """cmp.md C6"""
    answer = plain(Reason(ReasonCode.HTTP_TOO_LARGE, "large"), None)
    assert (answer.status, answer.close) == (413, True)
    assert plain(Reason(ReasonCode.HTTP_METHOD, "no"), None, headers=(("Allow", "POST"),)).status == 405


def test_text_of_what_passes_says_when_to_come_again() -> None:
    """cmp.md C63: at least a second, as Retry-After."""
    reason = Reason(ReasonCode.OVERLOADED, "full")
    assert retry_strings(reason, 7)[1].endswith("again in 7 s")
    assert retry_strings(reason, 0) == ("full [overloaded]", "nothing is lost: send the message again in 1 s")


def test_unavailable_answer_says_when_to_come_again() -> None:
    """cmp.md C63"""
    answer = unavailable(Reason(ReasonCode.OVERLOADED, "full"), 0)
    assert (answer.status, answer.headers) == (503, (("Retry-After", "1"),))
