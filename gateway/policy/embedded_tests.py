"""Runs the tests that stand in Policy documents: each is decided by the whole bundle, as a request would be.

Whatever test fails, is a mistake of the bundle: it is not loaded, and the one before goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.errors import ConfigurationError
from gateway.model.decision import Allow, Decision, Deny
from gateway.model.enrolment import CertificatePlan
from gateway.policy.complaints import Path
from gateway.policy.registry import Registry
from gateway.policy.rules import AdmissionPolicy, Bundle, CompiledPolicy
from gateway.policy.sample_credentials import unknown_facts
from gateway.policy.sample_documents import EmbeddedTest, Expected, SampleRequest
from gateway.policy.sample_request import make_trial
from gateway.policy.selection import accepted_kinds
from gateway.policy.terms import EXTENDED_KEY_USAGE_NAMES, duration_text
from gateway.policy.trial import Trial, Tried, decide
from gateway.policy.yaml_marks import Document

_COMMA = re.compile(r"(?<!\\),")
_WIRE_WORDS = ("acme_error", "scep_failinfo", "cmp_fail", "http")
_MAX_SHOWN = 400
MAX_TESTS_OF_BUNDLE = 2000  # a tenth of a millisecond each


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that did not come out as expected; ``at`` leads to it from the test."""

    at: Path
    text: str


@dataclass(frozen=True, slots=True)
class TestResult:
    """What came of one test; without ``differences`` it has passed. ``path`` leads to it in ``document``."""

    __test__ = False  # no class of pytest's

    policy: str
    name: str
    document: Document
    path: Path
    verdict: str
    decision: Decision
    differences: tuple[Difference, ...]

    @property
    def where(self) -> str:
        """``file:line:column``."""
        return self.document.where(self.path)


PolicyTests = tuple[str, Sequence[EmbeddedTest], Document]  # of the policy of this name


def verdict_of(decision: Decision) -> str:
    """``allow``, ``deny``, or ``pend`` where people must approve."""
    if isinstance(decision, Deny):
        return "deny"
    return "pend" if decision.approval is not None else "allow"


def run_tests(bundle: Bundle, registry: Registry, tests: Iterable[PolicyTests]) -> tuple[TestResult, ...]:
    """Every test of every policy. Raises ConfigurationError if there are too many."""
    tests = tuple(tests)
    number = sum(len(of_policy) for _, of_policy, _ in tests)
    if number > MAX_TESTS_OF_BUNDLE:
        document = tests[-1][2]
        raise ConfigurationError(
            f"{document.where(('tests',))}: tests: all policies together have {number} tests; "
            f"at most {MAX_TESTS_OF_BUNDLE} are run at every load"
        )
    known = {policy.name: policy for policy in (*bundle.policies, *bundle.shadows)}
    results = []
    for name, of_policy, document in tests:
        for index, test in enumerate(of_policy):
            results.append(_result(bundle, registry, known[name], test, document, ("tests", index)))
    return tuple(results)


def _result(
    bundle: Bundle,
    registry: Registry,
    policy: AdmissionPolicy,
    test: EmbeddedTest,
    document: Document,
    path: Path,
) -> TestResult:
    """Decide on the test's request and compare."""
    unknown = [
        Difference(("request", "client", name), text) for name, text in unknown_facts(test.request, policy)
    ]
    trial = make_trial(test.request, policy)
    on_trial = policy if isinstance(policy, CompiledPolicy) and policy.shadow else None
    tried = decide(bundle, trial, on_trial)
    found = (*unknown, *_differences(bundle, registry, test, trial, tried))
    verdict = verdict_of(tried.decision)
    return TestResult(policy.name, test.name, document, path, verdict, tried.decision, found)


def _differences(
    bundle: Bundle,
    registry: Registry,
    test: EmbeddedTest,
    trial: Trial,
    tried: Tried,
) -> Iterator[Difference]:
    expected, decision = test.expect, tried.decision
    verdict = verdict_of(decision)
    if verdict != expected.decision:
        yield _difference("decision", expected.decision, _told(decision, verdict))
        return  # whatever else differs follows from it
    if expected.policy is not None and decision.policy != expected.policy:
        yield _difference("policy", expected.policy, decision.policy or "none")
    if isinstance(decision, Allow):
        yield from _of_grant(expected, decision, test.request)
    else:
        yield from _of_refusal(expected, decision)
        yield from _on_the_wire(bundle, registry, expected, decision, trial, tried)


def _of_grant(expected: Expected, decision: Allow, request: SampleRequest) -> Iterator[Difference]:
    route, plan = decision.route, decision.plan
    for key, wanted, got in (
        ("backend", expected.backend, route.backend),
        ("profile", expected.profile, route.profile or ""),
    ):
        if wanted is not None and wanted != got:
            yield _difference(key, wanted, got or "none")
    if plan is not None:
        yield from _of_plan(expected, plan, request)


def _of_plan(expected: Expected, plan: CertificatePlan, request: SampleRequest) -> Iterator[Difference]:
    subject = str(plan.subject)
    if expected.subject is not None and _parts(expected.subject) != _parts(subject):
        yield _difference("subject", expected.subject, subject or "an empty subject")
    if expected.san is not None:
        names = {str(name) for name in plan.sans} | {name.value for name in plan.sans}
        kinds = [str(name) for name in plan.sans]
        if len(expected.san) != len(kinds) or not names.issuperset(expected.san):
            yield _difference("san", _listed(expected.san), _listed(kinds))
    if expected.eku is not None and set(expected.eku) != set(plan.extended_key_usage):
        yield _difference("eku", _usages(expected.eku), _usages(plan.extended_key_usage))
    lifetime = plan.not_after - request.now
    if expected.validity is not None and expected.validity != lifetime:
        yield _difference("validity", duration_text(expected.validity), duration_text(lifetime))


def _of_refusal(expected: Expected, decision: Deny) -> Iterator[Difference]:
    codes = [str(reason.code) for reason in decision.reasons]
    if expected.code is not None and expected.code not in codes:
        yield _difference("code", expected.code, _listed(dict.fromkeys(codes)))
    rules = [reason.rule for reason in decision.reasons]
    if expected.rule is not None and not any(_is_of(rule, expected.rule) for rule in rules):
        yield _difference("rule", expected.rule, _listed(dict.fromkeys(filter(None, rules))))


def _is_of(rule: str, wanted: str) -> bool:
    """Whether ``POLICY.names.dns`` is ``names.dns`` or below ``names``; the policy's name may be left out."""
    for name in (rule, rule.partition(".")[2]):
        if name == wanted or name.startswith((f"{wanted}.", f"{wanted}[")):
            return True
    return False


def _on_the_wire(
    bundle: Bundle, registry: Registry, expected: Expected, decision: Deny, trial: Trial, tried: Tried
) -> Iterator[Difference]:
    wanted = {key: value for key in _WIRE_WORDS if (value := getattr(expected, key)) is not None}
    if not wanted:
        return
    request = trial.request
    words = registry.refusal_words.get(request.protocol)
    if words is None:
        yield Difference(
            ("expect", next(iter(wanted))),
            f"{request.protocol} does not say what a refusal is on its wire; expect code instead",
        )
        return
    accepts = accepted_kinds(bundle, request.protocol, request.endpoint, request.operation)
    found = words(decision.reasons, accepts=accepts, names_only=tried.names_refused)
    for key, value in wanted.items():
        if str(value) != found.get(key):
            got = found.get(key) or f"none: {request.protocol} has {_listed(found)}"
            yield _difference(key, str(value), got)


def _difference(key: str, expected: str, got: str) -> Difference:
    return Difference(("expect", key), f"expected {expected}, got {got}; correct the policy or the test")


def _told(decision: Decision, verdict: str) -> str:
    """The verdict, with the reasons of a refusal and the places of their rules."""
    if not isinstance(decision, Deny):
        return verdict
    reasons = []
    for reason in decision.reasons[:3]:
        place = f" at {reason.where}" if reason.where else ""
        rule = f" ({reason.rule}{place})" if reason.rule else ""
        reasons.append(f"{reason.code}{rule}: {reason.message}")
    text = " / ".join(reasons).replace("\n", " ")
    return f"{verdict}: {text[:_MAX_SHOWN]}"


def _parts(subject: str) -> list[str]:
    return sorted(part.strip() for part in _COMMA.split(subject))


def _usages(oids: Sequence[str]) -> str:
    return _listed([EXTENDED_KEY_USAGE_NAMES.get(oid, oid) for oid in oids])


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
