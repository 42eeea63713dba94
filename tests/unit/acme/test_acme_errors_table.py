"""Reasons in ACME's words: the table, refusals with subproblems, and what a client is shown of them."""

from __future__ import annotations

import json
import string

import pytest

from gateway.acme.errors import PROBLEMS, AcmeError, Context, problem_of, refusal
from gateway.acme.problems import plain, problem
from gateway.model.ids import new_id, reason_id
from gateway.model.outcome import Refused
from gateway.model.reasons import Reason, ReasonCode

# RFC 8555 section 6.7, RFC 9773 section 7.4, draft-ietf-acme-profiles
TYPES = {
    "badCSR",
    "badNonce",
    "badPublicKey",
    "caa",
    "invalidProfile",
    "malformed",
    "orderNotReady",
    "rateLimited",
    "rejectedIdentifier",
    "serverInternal",
    "unauthorized",
    "unsupportedIdentifier",
}
OF_THE_CSR = ("name.", "key.", "csr.", "subject.", "extension.")
NAMES = (("dns", "a.test"), ("dns", "*.b.test"), ("ip", "192.0.2.1"))


def _shown(error: AcmeError) -> dict[str, object]:
    response = problem(error)
    assert response.content_type == "application/problem+json"
    found: dict[str, object] = json.loads(response.body)
    assert found["status"] == response.status == error.status
    return found


def test_table_is_total_over_reason_codes() -> None:
    """acme.md C61, C87, C97: no reason falls through."""
    assert set(PROBLEMS) == set(ReasonCode)


@pytest.mark.parametrize("context", Context)
@pytest.mark.parametrize("code", ReasonCode)
def test_reason_has_a_registered_type_and_an_error_status(code: ReasonCode, context: Context) -> None:
    """RFC 8555 section 6.7"""
    type_, status = problem_of(code, context)
    assert type_ in TYPES
    assert 400 <= status <= 503


@pytest.mark.parametrize(
    "code",
    [code for code in ReasonCode if code.startswith(("name.", "key.", "csr.", "subject.", "extension."))],
)
def test_reason_about_the_csr_is_bad_csr_at_finalize(code: ReasonCode) -> None:
    """acme.md C87, C88"""
    expected = {ReasonCode.NAME_UNPROVEN: "unauthorized", ReasonCode.NAME_CAA: "caa"}.get(code, "badCSR")
    assert problem_of(code, Context.FINALIZE)[0] == expected


def test_refused_names_are_subproblems_each_with_its_identifier() -> None:
    """acme.md C61, RFC 8555 section 6.7.1"""
    reasons = (
        Reason(ReasonCode.NAME_NOT_ALLOWED, "a.test is not allowed", "identity.sans[0]"),
        Reason(ReasonCode.NAME_KIND, "no addresses here", "identity.sans[2]"),
        Reason(ReasonCode.NAME_COUNT, "too many", "identity.sans"),
        Reason(ReasonCode.NAME_COUNT, "elsewhere", "identity.sans[7]"),
    )
    found = _shown(refusal(Refused(None, reasons), Context.ORDER, NAMES))
    assert found["type"] == "urn:ietf:params:acme:error:rejectedIdentifier"
    assert found["status"] == 403
    assert found["subproblems"] == [
        {
            "type": "urn:ietf:params:acme:error:rejectedIdentifier",
            "detail": "a.test is not allowed",
            "identifier": {"type": "dns", "value": "a.test"},
        },
        {
            "type": "urn:ietf:params:acme:error:unsupportedIdentifier",
            "detail": "no addresses here",
            "identifier": {"type": "ip", "value": "192.0.2.1"},
        },
    ]


def test_name_beyond_the_external_account_is_rejected_at_new_order_and_unauthorized_later() -> None:
    """acme.md C61, B4"""
    reason = Reason(ReasonCode.AUTH_CREDENTIAL_SCOPE, "beyond this credential", "identity.sans[1]")
    found = refusal(Refused(None, (reason,)), Context.ORDER, NAMES)
    assert (found.type, found.status, found.subproblems[0].value) == ("rejectedIdentifier", 403, "*.b.test")
    assert refusal(Refused(None, (reason,)), Context.FINALIZE, NAMES).type == "unauthorized"
    expired = Reason(ReasonCode.AUTH_CREDENTIAL_SCOPE, "expired", "presented")
    assert refusal(Refused(None, (expired,)), Context.ORDER, NAMES).type == "unauthorized"


def test_refusal_that_is_recorded_shows_its_reason_id_and_is_not_recorded_twice() -> None:
    request_id = new_id()
    refused = Refused(request_id, (Reason(ReasonCode.KEY_WEAK, "the key is weak"),))
    error = refusal(refused, Context.FINALIZE)
    assert not error.recorded
    assert _shown(error)["detail"] == f"the key is weak [{reason_id(request_id)}]"


def test_refusal_that_is_not_recorded_yet_will_be() -> None:
    assert refusal(Refused(None, (Reason(ReasonCode.KEY_WEAK, "weak"),)), Context.ORDER).recorded


def test_refusal_with_many_reasons_is_short_and_says_how_many_more() -> None:
    reasons = tuple(Reason(ReasonCode.KEY_WEAK, f"reason {number}") for number in range(9))
    detail = _shown(refusal(Refused(None, reasons), Context.ORDER))["detail"]
    assert detail == "reason 0, reason 1, reason 2, reason 3, reason 4, and 4 more"


def test_refusal_without_reasons_is_unauthorized() -> None:
    assert refusal(Refused(None, ()), Context.ORDER).status == 403


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a `id` $(id) b", "a %60id%60 %24(id) b"),
        ('it\'s "quoted"; really\n', "its quoted, really "),
        ("münchen \u202e\x00", "m%C3%BCnchen %E2%80%AE%00"),
        ("lone \ud800", "lone %3F"),
        ("a|b&c<d>e\\f~g#h!i{j}?", "a%7Cb%26c%3Cd%3Ee%5Cf%7Eg%23h%21i%7Bj%7D%3F"),
        ("x" * 5000, "x" * 1000),
    ],
)
def test_detail_is_plain_ascii_without_shell_metacharacters(text: str, shown: str) -> None:
    """acme.md E12"""
    assert plain(text) == shown
    assert set(plain(text)) <= set(string.ascii_letters + string.digits + " .,:/_@+=*()[]%-")


def test_identifier_of_a_subproblem_is_shown_escaped_too() -> None:
    """acme.md E12"""
    reason = Reason(ReasonCode.NAME_MALFORMED, "no name", "identity.sans[0]")
    found = _shown(refusal(Refused(None, (reason,)), Context.ORDER, (("dns", "a`b"),)))
    assert found["subproblems"][0]["identifier"]["value"] == "a%60b"  # type: ignore[index]  # JSON of a test
