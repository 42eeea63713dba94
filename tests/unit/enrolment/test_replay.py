"""Recorded requests decided by another bundle: when what verification found still counts, and when not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.enrolment.record import Judged, refused_row, request_row
from gateway.enrolment.recorded import trial_of
from gateway.enrolment.replay import Rejudged, Replay
from gateway.model.decision import Allow, Deny
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import (
    CHALLENGE_DYNAMIC,
    MTLS,
    Evidence,
    PresentedChallenge,
    SecretBytes,
    VerifiedCredential,
)
from gateway.model.ids import ProtocolName, RequestId, new_id
from gateway.model.outcome import State
from gateway.policy.lists import EMPTY_LISTS
from gateway.policy.rules import Bundle
from gateway.policy.trial import Trial, decide
from gateway.store.columns import json_object, json_text
from gateway.store.requests import RequestRow
from tests.support.pki import Authority
from tests.unit.policy.sample import NOW, basic_evidence, certificate, facts, load, policy, request

EXTRACT = "{mtls: {trust: own, extract: {serial: {from: subject.serialNumber, regex: 'SN:([0-9]+)'}}}}"
LEAF = Authority("Some Root").issue(cn="device 1").certificate.public_bytes(Encoding.DER)
BY_CERTIFICATE = Evidence(
    (VerifiedCredential(MTLS, "cert:1", "device", LEAF, facts=(("serial", "17"),), detail=(("ours", "no"),)),)
)


def _stored(row: RequestRow) -> RequestRow:
    """The row as it comes back from a database."""
    assert row.decision is not None
    assert row.remote is not None
    return replace(
        row, decision=json_object(json_text(row.decision)), remote=json_object(json_text(row.remote))
    )


def _row(bundle: Bundle, asked: EnrolmentRequest, evidence: Evidence) -> RequestRow:
    """What the gateway records of a request that it evaluates."""
    decision = decide(bundle, Trial(asked, evidence, facts())).decision
    judged = Judged(asked, RequestId(new_id()), NOW, evidence, decision, facts=facts())
    return _stored(request_row(judged, State.SUBMITTING))


def _refused(bundle: Bundle, asked: EnrolmentRequest, evidence: Evidence) -> RequestRow:
    """What it records of one that is refused before: no policy is for it, or its credential is wrong."""
    decision = decide(bundle, Trial(asked, evidence, facts())).decision
    assert isinstance(decision, Deny)
    return _stored(
        refused_row(Judged(asked, RequestId(new_id()), NOW, Evidence(), decision), decision.reasons)
    )


def _rejudged(row: RequestRow, then: Bundle | None, now: Bundle) -> Rejudged:
    return Replay(now, EMPTY_LISTS, lambda _: then, lambda _: None).rejudge(row)


def _by_certificate() -> EnrolmentRequest:
    return request("dns:a.test", presented=(certificate(LEAF),))


def test_facts_of_a_certificate_count_where_they_are_read_alike() -> None:
    then = load(policy(authenticate=EXTRACT))
    row = _row(then, _by_certificate(), BY_CERTIFICATE)
    by_fact = 'subject: {CN: {source: template, value: "${client.serial}"}}, cn_in_san: false'
    names = f"{{{by_fact}, dns: {{suffix: [test]}}}}"
    now = load("# moved\n\n" + policy(authenticate=EXTRACT, names=names))
    found = _rejudged(row, then, now)
    assert (found.why_not, found.changed) == ("", False)
    trial = trial_of(row, lambda _: None)
    assert isinstance(trial, Trial)
    decision = decide(now, trial).decision
    assert isinstance(decision, Allow)
    assert decision.plan is not None
    assert str(decision.plan.subject) == "CN=17"


OTHERWISE = {
    "facts": EXTRACT.replace("[0-9]+", "[0-9]{2}"),
    "usage": EXTRACT.replace("trust: own", "trust: own, extended_key_usage: [serverAuth]"),
    "grace": EXTRACT.replace("trust: own", "trust: own, allow_expired: 1d"),
}


@pytest.mark.parametrize("authenticate", OTHERWISE.values(), ids=OTHERWISE)
def test_certificate_that_would_be_verified_otherwise_is_not_judged(authenticate: str) -> None:
    then = load(policy(authenticate=EXTRACT))
    found = _rejudged(
        _row(then, _by_certificate(), BY_CERTIFICATE), then, load(policy(authenticate=authenticate))
    )
    assert found.now is None
    assert found.why_not.startswith("rules verifies mtls otherwise than rules did then")


def test_credential_that_nobody_looked_at_is_not_judged() -> None:
    then = load(policy())
    asked = request("dns:a.test", presented=(*request().presented, certificate(LEAF)))
    row = _row(then, asked, basic_evidence())
    now = load(policy(authenticate="{basic: {}, mtls: {trust: own}}"))
    assert _rejudged(row, then, now).why_not == "mtls was not looked at then, and rules would verify it"


def test_request_whose_bundle_is_gone_is_not_judged_by_another_one() -> None:
    row = _row(load(policy()), request("dns:a.test"), basic_evidence())
    found = _rejudged(row, None, load(policy(validity="{default: 10d}")))
    assert found.why_not == "the bundle that decided on it is not in the database any more"


def test_groups_are_judged_anew() -> None:
    then = load(policy())
    in_groups = replace(basic_evidence().credentials[0], groups=("web",))
    row = _row(then, request("dns:a.test"), Evidence((in_groups,)))
    for group, changed in (("web", False), ("db", True)):
        found = _rejudged(row, then, load(policy(authenticate=f"{{basic: {{groups: [{group}]}}}}")))
        assert (found.changed, found.why_not) == (changed, "")


def test_request_that_no_policy_was_for_is_judged_only_if_none_is_still() -> None:
    then = load(policy(match="{protocol: est, operation: enroll, source_ip: 10.0.0.0/8}"))
    row = _refused(then, request("dns:a.test"), basic_evidence())
    assert not _rejudged(row, then, then).changed
    found = _rejudged(row, then, load(policy()))
    assert found.why_not == (
        "no policy was for it then, so its credential was never verified; rules would judge it now"
    )


def test_age_of_a_challenge_is_not_known_any_more() -> None:
    head = "apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {name: default}\n"
    place = f"{head}protocol: scep\nbackend: embedded\n"
    match = "{protocol: scep, operation: enroll}"
    then = load(place, policy(match=match, authenticate="{challenge: {}}"))
    asked = request(
        "dns:a.test", protocol=ProtocolName("scep"), presented=(PresentedChallenge(SecretBytes(b"x")),)
    )
    row = _row(then, asked, Evidence((VerifiedCredential(CHALLENGE_DYNAMIC, "challenge:1", "x"),)))
    assert not _rejudged(row, then, load(place, policy(match=match, authenticate="{challenge: {}}"))).changed
    now = load(place, policy(match=match, authenticate="{challenge: {ttl: 1h}}"))
    assert "verifies challenge-dynamic otherwise" in _rejudged(row, then, now).why_not


def test_key_that_nobody_looked_up_is_not_granted_again() -> None:
    then, now = (
        load(policy(keys="{ec: [P-256], reuse: allow}")),
        load(policy(keys="{ec: [P-256], reuse: deny}")),
    )
    row = _row(then, request("dns:a.test"), basic_evidence())
    assert (
        "in whose certificates its key stands, which was not looked up then"
        in _rejudged(row, then, now).why_not
    )
    refused = _row(then, request("dns:evil.example"), basic_evidence())
    assert not _rejudged(refused, then, now).changed


def test_change_that_may_come_from_an_unknown_list_is_not_judged() -> None:
    then = load(policy())
    row = _row(then, request("dns:a.test"), basic_evidence())
    url = "apiVersion: pkigate/v1\nkind: List\nmetadata: {name: ours}\ntype: dns\n"
    url += "url: https://lists.example/ours.txt\nrefresh: 15m\n"
    names = "{dns: {list: ours}, subject: {CN: {source: drop}}, cn_in_san: false}"
    found = _rejudged(row, then, load(url, policy(names=names)))
    assert found.why_not == "the content of the lists ours is not known here"
    assert _rejudged(row, then, load(url, policy())).why_not == ""
