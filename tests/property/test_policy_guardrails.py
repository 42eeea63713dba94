"""Guardrails only ever tighten: what is allowed with them is allowed without, and at most lives shorter."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.model.decision import Allow, Deny
from gateway.model.enrolment import EnrolmentRequest, Extension, RequestedIdentity
from gateway.model.evidence import Evidence
from gateway.model.keys import KeyToCome
from gateway.model.names import (
    ATTRIBUTE_OIDS,
    AttributeTypeAndValue,
    DistinguishedName,
    GeneralName,
    NameKind,
)
from gateway.policy.engine import Selected, preview, select
from gateway.policy.rules import Bundle
from tests.unit.policy.sample import NOW, client_key, decide, ec_key, facts, load, policy, request

POLICY = policy(
    keys="{rsa: {}, ec: [P-256]}",
    names="""
      subject: {CN: {source: csr, allow: {any: true}}, O: {source: fixed, value: x.b.test}}
      dns: {suffix: [a.test, b.test, local], wildcard: allow}
      ip: {cidr: ["0.0.0.0/0"]}
      email: {suffix: [a.test]}
      uri: {prefix: ["https://a.test/", "https://b.test/"]}
      cn_in_san: false
      on_extra: drop
    """,
    extensions="{extended_key_usage: [serverAuth, emailProtection], must_staple: if-requested}",
    validity="{default: 90d, max: 200d, client_may_request: true}",
)
WITHOUT = load(POLICY)

suffixes = st.sampled_from(["a.test", "b.test", "x.a.test", "local", "test", "example"])
exact = st.sampled_from(["a.test", "x.a.test", "10.0.0.1", "me@a.test", "https://a.test/", "device 1"])
regexes = st.sampled_from(["^a", "x", "^xn--", "[0-9]", "@", "nothing", r"\.test$", "^https"])


def _words(of: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(of, min_size=1, max_size=2, unique=True)


denied = st.fixed_dictionaries(
    {}, optional={"suffix": _words(suffixes), "exact": _words(exact), "regex": _words(regexes)}
).filter(bool)
keys = st.sampled_from([{"rsa": {}}, {"ec": ["P-256"]}, {"ec": ["P-384"]}, {"rsa": {}, "ec": ["P-256"]}])
bounds = st.fixed_dictionaries(
    {},
    optional={
        "keys": keys,
        "deny_names": denied,
        "validity_max": st.sampled_from(["1h", "30d", "90d", "300d"]),
        "forbid_eku": _words(st.sampled_from(["codeSigning", "serverAuth", "timeStamping"])),
        "ca": st.just("deny"),
        "match": st.sampled_from([{"protocol": "est"}, {"protocol": "acme"}, {"endpoint": ["default"]}]),
    },
).filter(lambda one: set(one) - {"match"})


def _yaml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return "'" + str(value).replace("'", "''") + "'"


def _document(number: int, bound: dict[str, object]) -> str:
    lines = [f"apiVersion: pkigate/v1\nkind: Guardrail\nmetadata: {{name: g{number}}}"]
    return "\n".join([*lines, *(f"{key}: {_yaml(value)}" for key, value in bound.items())]) + "\n"


values = st.sampled_from(
    ["a.test", "x.a.test", "*.a.test", "b.test", "local", "10.0.0.1", "me@a.test", "https://a.test/x", "evil"]
)
names = st.builds(
    GeneralName,
    st.sampled_from([NameKind.DNS, NameKind.IP, NameKind.EMAIL, NameKind.URI]),
    values,
    st.just(b""),
)
subjects = st.one_of(
    st.just(DistinguishedName()),
    st.one_of(values, st.sampled_from(["device 1", "A.TEST.", "X.Local"])).map(
        lambda value: DistinguishedName(((AttributeTypeAndValue(ATTRIBUTE_OIDS["CN"], value),),))
    ),
)
STAPLE = Extension("1.3.6.1.5.5.7.1.24", critical=False, value_der=bytes.fromhex("3003020105"))
spans = st.one_of(st.none(), st.integers(1, 400).map(lambda days: timedelta(days=days)))


@given(
    st.lists(bounds, min_size=1, max_size=3),
    subjects,
    st.lists(names, max_size=4).map(tuple),
    st.booleans(),
    spans,
    st.one_of(st.none(), st.just(timedelta(days=3))),
)
def test_whatever_guardrails_there_are_they_only_ever_tighten(
    guardrails: list[dict[str, object]],
    subject: DistinguishedName,
    sans: tuple[GeneralName, ...],
    staple: bool,
    end: timedelta | None,
    begin: timedelta | None,
) -> None:
    asked = replace(
        request(key=client_key(ec_key())),
        identity=RequestedIdentity(subject, sans, (STAPLE,) if staple else ()),
        not_after=None if end is None else NOW + end,
        not_before=None if begin is None else NOW + begin,
    )
    bundle = load(POLICY, *(_document(number, bound) for number, bound in enumerate(guardrails)))
    free, bound = decide(WITHOUT, asked), decide(bundle, asked)
    _previews_agree(bundle, asked)
    if isinstance(bound, Allow):
        assert isinstance(free, Allow)
        assert bound.plan is not None
        assert free.plan is not None
        assert replace(bound.plan, not_after=free.plan.not_after) == free.plan
        assert bound.plan.not_after <= free.plan.not_after
        assert end is None or bound.plan.not_after == free.plan.not_after  # as asked, or refused
        assert bound.plan.not_after > bound.plan.not_before
        assert (bound.route, bound.approval, bound.policy) == (free.route, free.approval, free.policy)
    elif isinstance(free, Deny):
        told = [(reason.rule, reason.message) for reason in bound.reasons]
        assert all((reason.rule, reason.message) in told for reason in free.reasons)
    else:
        assert all(reason.rule.partition(".")[0] in ("g0", "g1", "g2") for reason in bound.reasons)
        assert all(reason.where.startswith("p.yaml:") for reason in bound.reasons)


def _previews_agree(bundle: Bundle, asked: EnrolmentRequest) -> None:
    """A name that is refused in a preview is refused at the decision, and the other way round."""
    known = decide(bundle, asked)
    ordered = replace(asked, key=KeyToCome())
    selected = select(bundle, ordered)
    assert isinstance(selected, Selected)
    found = preview(bundle, selected, ordered, Evidence(), facts())
    foreseen = {(one.rule, one.path) for one in found.reasons if ".deny_names." in one.rule}
    told = known.reasons if isinstance(known, Deny) else ()
    decided = {(one.rule, one.path) for one in told if ".deny_names." in one.rule}
    # A preview is not asked about a subject that is empty.
    assert foreseen <= decided
    assert {one for one in decided if one[1] != "identity.subject"} <= foreseen
