"""Whatever was asked, by whom, and decided: its record is enough to decide the same again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.enrolment.record import Judged, request_row
from gateway.enrolment.recorded import trial_of
from gateway.enrolment.replay import Replay
from gateway.model.enrolment import EnrolmentRequest, Extension, Operation
from gateway.model.evidence import (
    ACME_ACCOUNT,
    BASIC,
    MTLS,
    RENEWAL_CERT,
    Evidence,
    Linking,
    ProvenName,
    VerifiedCredential,
)
from gateway.model.ids import RequestId, new_id
from gateway.model.keys import ClientKey, Pop
from gateway.model.names import GeneralName, NameKind
from gateway.model.outcome import State
from gateway.pki.certificate import parse_certificate
from gateway.pki.names import decode_general_names
from gateway.policy.engine import Selected, evaluate, select
from gateway.policy.facts import CertifiedNames, Facts, PreviousCertificate
from gateway.policy.lists import EMPTY_LISTS
from gateway.policy.rules import Bundle
from gateway.policy.sample_certificate import sample_certificate
from gateway.policy.sample_keys import sample_key
from gateway.policy.trial import Trial, decide
from gateway.store.columns import json_object, json_text
from gateway.store.requests import RequestRow
from tests.unit.policy.sample import (
    CA_END,
    NOW,
    certificate,
    load,
    password,
    policy,
    renewal_policy,
    request,
    sans,
    subject,
)

TEXTS = (
    "dns:a.test",
    "dns:*.b.test",
    "dns:evil.example",
    "ip:10.0.0.1",
    "email:a@b.test",
    "uri:spiffe://a.test/b",
)
# An otherName (UPN), a directoryName and a registeredID, as DER.
RARE = decode_general_names(
    bytes.fromhex(
        "302ba014060a2b060104018237140203a0060c0475406162a40f300d310b300906035504030c02616288022a03"
    )
)
BUNDLE = load(
    policy(
        authenticate="{basic: {}, mtls: {trust: own}}",
        keys="{rsa: {}, ec: [P-256], reuse: same-subject}",
        names="{subject: {CN: {source: csr, allow: {plain: true}}, O: {source: drop}}, cn_in_san: false, "
        "dns: {suffix: [test]}, ip: {cidr: [10.0.0.0/8]}}",
        extensions="{must_staple: if-requested}",
        validity="{default: 90d, max: 90d, client_may_request: true, jitter: 6h}",
    ),
    renewal_policy(renewal="{window: 30d}", names="{subject: keep-from-previous, dns: {suffix: [test]}}"),
)
names = st.lists(st.sampled_from([*sans(*TEXTS), *RARE]), max_size=6).map(tuple)
keys = st.builds(
    ClientKey,
    st.sampled_from(["rsa-2048", "rsa-1024", "ec-p256", "ec-p384", "ed25519"]).map(sample_key),
    st.sampled_from(Pop),
    st.sampled_from([None, "sha256", "sha1"]),
)
subjects = st.lists(
    st.tuples(st.sampled_from(["CN", "O", "C", "1.2.3.4"]), st.text(min_size=1, max_size=8)), max_size=3
).map(lambda attributes: subject(*attributes))
words = st.lists(st.sampled_from(["web", "db"]), max_size=2, unique=True).map(tuple)
pairs = st.dictionaries(st.sampled_from(["site", "rack"]), st.text(max_size=5), max_size=2).map(
    lambda found: tuple(found.items())
)
extensions = st.lists(
    st.builds(Extension, st.sampled_from(["1.2.3.4", "2.5.29.19"]), st.booleans(), st.just(b"\x05\x00")),
    max_size=2,
).map(tuple)
moments = st.none() | st.integers(-60, 100).map(lambda days: NOW + timedelta(days=days))
facts = st.builds(
    Facts,
    now=st.just(NOW),
    issuer_not_after=st.sampled_from([None, CA_END, NOW + timedelta(days=5)]),
    key_known_to_others=st.booleans(),
    key_stands_in=st.sampled_from([(), (CertifiedNames("CN=other", frozenset({"dns:a.test"})),)]),
    key_of_ca=st.booleans(),
    key_of_account=st.booleans(),
)


@st.composite
def credentials(draw: st.DrawFn, kind: str, certificate_der: bytes | None) -> VerifiedCredential:
    detail: tuple[tuple[str, str], ...] = ()
    if certificate_der is not None:
        sha256 = parse_certificate(certificate_der).sha256
        detail = (("certificate_sha256", sha256), ("ours", draw(st.sampled_from(["yes", "no"]))))
    proven = (ProvenName(NameKind.DNS, "a.test", "http-01", datetime(2026, 1, 1, tzinfo=UTC)),)
    return VerifiedCredential(
        kind=kind,  # type: ignore[arg-type]  # one of the constants
        identity=f"{kind}:1",
        label=draw(st.text(max_size=9)),
        certificate_der=certificate_der,
        credential_id=draw(st.none() | st.just("0193b3a0")),
        names=draw(st.none() | st.just(("a.test",))),
        profiles=draw(st.none() | st.just(())),
        proven=proven if kind == ACME_ACCOUNT else None,
        detail=detail,
        groups=draw(words),
        labels=draw(pairs),
        facts=draw(pairs),
    )


@st.composite
def enrolments(draw: st.DrawFn) -> tuple[EnrolmentRequest, Evidence, Facts]:
    kind = draw(st.sampled_from([BASIC, MTLS, ACME_ACCOUNT]))
    leaf = sample_certificate(
        subject(("CN", "device 1")),
        sans("dns:a.test"),
        sample_key("ec-p256").spki_der,
        NOW - timedelta(days=80),
        NOW,
    )
    asked = _request(draw, Operation.ENROLL)
    asked = replace(asked, presented=(password(),) if kind != MTLS else (certificate(),))
    one = draw(credentials(kind, leaf if kind == MTLS else None))
    return asked, Evidence((one,)), draw(facts)


@st.composite
def renewals(draw: st.DrawFn) -> tuple[EnrolmentRequest, Evidence, Facts]:
    operation = draw(st.sampled_from([Operation.RENEW, Operation.REKEY]))
    asked = _request(draw, operation)
    old = parse_certificate(
        sample_certificate(
            draw(st.sampled_from([subject(("CN", "device 1")), subject(("CN", "device 2"), ("O", "x"))])),
            draw(st.sampled_from([(), sans("dns:a.test")])),
            sample_key("ec-p256").spki_der,
            NOW - timedelta(days=80),
            NOW + timedelta(days=draw(st.integers(-5, 60))),
        )
    )
    previous = PreviousCertificate(
        old.subject, old.sans, old.spki_sha256, old.not_before, old.not_after, draw(st.booleans())
    )
    asked = replace(
        asked,
        presented=(certificate(old.certificate_der, kind=RENEWAL_CERT),),
        renews_der=old.certificate_der,
    )
    one = draw(credentials(RENEWAL_CERT, old.certificate_der))
    return asked, Evidence((one,)), replace(draw(facts), previous=previous)


def _request(draw: st.DrawFn, operation: Operation) -> EnrolmentRequest:
    alternative: tuple[GeneralName, ...] = draw(names)
    asked = request(
        name=draw(subjects),
        operation=operation,
        extensions=draw(extensions),
        key=draw(keys),
        profile=draw(st.none() | st.just("long")),
        not_before=draw(moments),
        not_after=draw(moments),
        linking=draw(st.sampled_from(Linking)),
    )
    return replace(asked, identity=replace(asked.identity, sans=alternative))


def _recorded(judged: Judged) -> RequestRow:
    """The row as it comes back from a database."""
    row = request_row(judged, State.SUBMITTING)
    assert row.decision is not None
    assert row.remote is not None
    return replace(
        row, decision=json_object(json_text(row.decision)), remote=json_object(json_text(row.remote))
    )


def _holds(bundle: Bundle, asked: EnrolmentRequest, evidence: Evidence, known: Facts) -> None:
    selected = select(bundle, asked)
    assert isinstance(selected, Selected)
    decision = decide(bundle, Trial(asked, evidence, known)).decision
    if evidence.credentials[0].kind != ACME_ACCOUNT:  # no policy here looks at one, so that it is left out
        assert decision == evaluate(bundle, selected, asked, evidence, known)
    row = _recorded(Judged(asked, RequestId(new_id()), NOW, evidence, decision, facts=known))
    held = {
        parse_certificate(der).sha256: der for der in (c.certificate_der for c in evidence.credentials) if der
    }
    trial = trial_of(row, held.get)
    assert isinstance(trial, Trial), trial
    assert (trial.request.identity, trial.request.key) == (asked.identity, asked.key)
    assert (trial.evidence.credentials[0].groups, trial.facts) == (evidence.credentials[0].groups, known)
    assert decide(bundle, trial).decision == decision
    found = Replay(bundle, EMPTY_LISTS, lambda _: None, held.get).rejudge(row)
    assert not found.changed
    assert found.why_not == ""


@settings(max_examples=150, deadline=None)
@given(enrolments())
def test_enrolment_is_decided_the_same_from_its_record(
    case: tuple[EnrolmentRequest, Evidence, Facts],
) -> None:
    _holds(BUNDLE, *case)


@settings(max_examples=150, deadline=None)
@given(renewals())
def test_renewal_is_decided_the_same_from_its_record(case: tuple[EnrolmentRequest, Evidence, Facts]) -> None:
    _holds(BUNDLE, *case)
