"""What `authenticate` asks beside a credential's being right: groups, bindings, lists; and how it is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.model.decision import Allow, Decision, Deny
from gateway.model.evidence import (
    ACME_ACCOUNT,
    BASIC,
    CHALLENGE_DYNAMIC,
    MAC,
    MTLS,
    CredentialKind,
    Evidence,
    VerifiedCredential,
)
from gateway.model.reasons import ReasonCode
from gateway.policy.engine import Admitted, authorize, select_revocation
from gateway.policy.lists import ListLookup
from gateway.policy.rules import Bundle, CompiledPolicy
from tests.unit.policy.acme_sample import acme_bundle, acme_policy, previewed
from tests.unit.policy.message_sample import (
    CHALLENGE,
    SCEP,
    endpoint,
    message,
    message_bundle,
    message_policy,
    revocation,
    revocation_policy,
    verified,
)
from tests.unit.policy.sample import (
    HOUSE,
    certificate,
    complaints,
    decide,
    facts,
    load,
    policy,
    request,
    subject,
)

LIST = "apiVersion: pkigate/v1\nkind: List\nmetadata: {name: line}\ntype: serial\nentries: [A1]\n"


class Listed:
    """The List ``line`` with these entries; None: its content is not known."""

    def __init__(self, *entries: str, known: bool = True) -> None:
        self._entries, self._known = entries, known

    def contains(self, list_name: str, value: str) -> bool:
        return self._known and list_name == "line" and value in self._entries

    def lookup(self, list_name: str, key: str) -> dict[str, str] | None:
        return {} if self.contains(list_name, key) else None

    def available(self, list_name: str) -> bool:
        return self._known and list_name == "line"


def one(kind: CredentialKind, **parts: object) -> Evidence:
    return verified(kind, **parts)  # type: ignore[arg-type]  # fields of it


def reason(decision: Decision) -> tuple[ReasonCode, str, str]:
    assert isinstance(decision, Deny), decision
    (found,) = decision.reasons
    assert found.where.startswith("p.yaml:")
    return found.code, found.rule, found.message


# -- groups --


def test_basic_credential_of_another_group_is_refused() -> None:
    bundle = load(policy(authenticate="{basic: {groups: [line4, press]}}"))
    assert isinstance(decide(bundle, request(), one(BASIC, groups=("x", "press"))), Allow)
    for groups, told in ((("line5", "lab"), "line5, lab"), ((), "none")):
        code, rule, text = reason(decide(bundle, request(), one(BASIC, groups=groups)))
        assert (code, rule) == (ReasonCode.AUTH_REQUIREMENT, "rules.authenticate.basic.groups")
        assert f"is in the groups {told}, and one of line4, press may ask here" in text


@pytest.mark.parametrize(
    ("protocol", "kind", "word"), [("scep", CHALLENGE_DYNAMIC, "challenge"), ("cmp", MAC, "mac")]
)
def test_credential_of_a_message_of_another_group_is_refused(
    protocol: str, kind: CredentialKind, word: str
) -> None:
    bundle = message_bundle(message_policy(protocol, authenticate=f"{{{word}: {{groups: netops}}}}"))
    asked = message(protocol=SCEP, presented=(CHALLENGE,)) if protocol == "scep" else message()
    assert isinstance(decide(bundle, asked, one(kind, groups=("netops",))), Allow)
    code, rule, _ = reason(decide(bundle, asked, one(kind)))
    assert (code, rule) == (ReasonCode.AUTH_REQUIREMENT, f"messages.authenticate.{word}.groups")


def test_groups_of_one_credential_do_not_count_for_another() -> None:
    both = "{require: any, basic: {groups: [line4]}, mtls: {trust: own}}"
    bundle = load(policy(authenticate=both))
    asked = replace(request(), presented=(certificate(), *request().presented))
    wrong = Evidence(one(MTLS, groups=("line4",)).credentials + one(BASIC).credentials)
    assert reason(decide(bundle, asked, wrong))[1] == "rules.authenticate.basic.groups"


def _account(*groups: str, bound: bool = True) -> Evidence:
    account = VerifiedCredential(
        ACME_ACCOUNT, "acme:1", "ops", credential_id="7" if bound else None, proven=(), groups=groups
    )
    return Evidence((account,))


def _accounts(rule: str) -> Bundle:
    return acme_bundle(acme_policy(authenticate=f"{{acme-account: {{{rule}}}}}"))


@pytest.mark.parametrize("rule", ["groups: [web-team]", "eab: required"])
def test_account_that_is_bound_to_nobody_is_refused_at_the_order(rule: str) -> None:
    bundle = _accounts(rule)
    (found,) = previewed(bundle, "dns:a.test", evidence=_account(bound=False)).reasons
    assert found.code is ReasonCode.AUTH_REQUIREMENT
    assert "bound to no external account" in found.message
    assert not previewed(bundle, "dns:a.test", evidence=_account("web-team")).reasons
    assert not previewed(bundle, "dns:a.test").reasons


def test_account_of_another_group_is_refused_at_the_order() -> None:
    (found,) = previewed(_accounts("groups: [web-team]"), "dns:a.test", evidence=_account("ci")).reasons
    assert found.rule.endswith("authenticate.acme-account.groups")


def test_groups_count_for_revocations_too() -> None:
    rules = "{mac: {groups: [ra]}}"
    bundle = message_bundle(message_policy(), revocation_policy(authenticate=rules))
    asked = replace(revocation(), presented=message().presented)
    admitted = select_revocation(bundle, asked)
    assert isinstance(admitted, Admitted)
    assert authorize(bundle, admitted, asked, one(MAC, groups=("ra",))) is None
    refused = authorize(bundle, admitted, asked, one(MAC))
    assert refused is not None
    assert reason(refused)[1].endswith("mac.groups")


# -- bind --


def _bound(labels: tuple[tuple[str, str], ...], *attributes: tuple[str, str]) -> Decision:
    rules = "{challenge: {accept: dynamic, bind: [subject.serialNumber, subject.CN]}}"
    of_csr = "{source: csr, allow: {any: true}}"
    names = f"{{subject: {{CN: {of_csr}, serialNumber: {of_csr}}}, cn_in_san: false}}"
    bundle = message_bundle(message_policy("scep", authenticate=rules, names=names))
    asked = message(protocol=SCEP, presented=(CHALLENGE,))
    asked = replace(asked, identity=replace(asked.identity, subject=subject(*attributes)))
    return decide(bundle, asked, one(CHALLENGE_DYNAMIC, labels=labels))


LABELS = (("CN", "rtr-1"), ("serialNumber", "FTX1"))


def test_challenge_is_good_for_the_subject_that_it_was_made_for() -> None:
    assert isinstance(_bound(LABELS, ("CN", "rtr-1"), ("serialNumber", "FTX1")), Allow)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ((("CN", "rtr-1"), ("serialNumber", "FTX2")), "bound to another serialNumber than 'FTX2'"),
        ((("CN", "rtr-1"), ("serialNumber", "ftx1")), "bound to another serialNumber than 'ftx1'"),
        ((("CN", "rtr-1"),), "bound to a serialNumber, and the subject has none"),
        (
            (("CN", "rtr-1"), ("serialNumber", "FTX1"), ("serialNumber", "FTX2")),
            "bound to another serialNumber than 'FTX1', 'FTX2'",
        ),
    ],
)
def test_challenge_for_another_subject_is_refused_without_telling_for_which(
    attributes: tuple[tuple[str, str], ...], words: str
) -> None:
    code, rule, text = reason(_bound(LABELS, *attributes))
    assert (code, rule) == (ReasonCode.AUTH_REQUIREMENT, "messages.authenticate.challenge.bind")
    assert words in text


def test_challenge_without_the_label_is_refused() -> None:
    text = reason(_bound(LABELS[:1], ("CN", "rtr-1"), ("serialNumber", "FTX1")))[2]
    assert "is bound to no serialNumber" in text


# -- allow_list --


def _listing(rule: str) -> Bundle:
    by_certificate = "mtls: {trust: own, extract: {serial: {from: subject.serialNumber}}}"
    return load(LIST, policy(authenticate=f"{{{by_certificate}, allow_list: {rule}}}"))


def _ask(bundle: Bundle, lists: ListLookup, *found: tuple[str, str]) -> Decision:
    asked = replace(request(), presented=(certificate(),))
    return decide(bundle, asked, one(MTLS, facts=found), facts(lists=lists))


@pytest.mark.parametrize("rule", ["line", "{list: line}", "{list: line, fact: client.serial}"])
def test_fact_must_stand_in_the_list(rule: str) -> None:
    bundle = _listing(rule)
    assert isinstance(_ask(bundle, Listed("A1"), ("serial", "A1")), Allow)
    code, where, text = reason(_ask(bundle, Listed("A2"), ("serial", "A1")))
    assert (code, where) == (ReasonCode.AUTH_REQUIREMENT, "rules.authenticate.allow_list")
    assert "client.serial 'A1' does not stand in the list line" in text


def test_list_that_is_not_known_and_fact_that_is_not_there_refuse() -> None:
    bundle = _listing("line")
    assert "is not known now" in reason(_ask(bundle, Listed("A1", known=False), ("serial", "A1")))[2]
    assert "client.serial has no value" in reason(_ask(bundle, Listed("A1")))[2]


def test_attribute_of_the_request_may_be_what_is_listed() -> None:
    bundle = _listing("{list: line, fact: csr.subject.CN|upper}")
    asked = replace(request(cn="a1"), presented=(certificate(),))
    assert isinstance(decide(bundle, asked, one(MTLS), facts(lists=Listed("A1"))), Allow)


# -- what is read at load --


def _rule(bundle: Bundle) -> CompiledPolicy:
    (found,) = bundle.policies
    assert isinstance(found, CompiledPolicy)
    return found


def test_certificate_rule_holds_what_was_written() -> None:
    text = """
      mtls:
        trust: own
        ignore_not_after: true
        require: {extended_key_usage: [clientAuth], policies: ["1.2.3"], issuer: {CN: 'CA [0-9]+', O: ACME}}
        extract:
          serial: {from: subject.serialNumber, regex: '^SN:([A-Z0-9]{10})$'}
          model: {from: san.hardwareModuleName.type, required: false}
    """
    rule = _rule(load(policy(authenticate=text))).authenticate.mtls
    assert rule is not None
    assert rule.asked is not None
    assert (rule.ignore_not_after, rule.key) == (True, "mtls")
    assert rule.asked.extended_key_usage == {"1.3.6.1.5.5.7.3.2"}
    assert [oid for oid, _ in rule.asked.issuer] == ["2.5.4.3", "2.5.4.10"]
    serial, model = rule.extract
    assert (serial.name, serial.required, model.required) == ("serial", True, False)
    assert serial.where.startswith("p.yaml:")


def test_challenge_rule_holds_what_was_written() -> None:
    rules = "{challenge: {accept: dynamic, ttl: 1h, bind: subject.serialNumber}}"
    rule = _rule(message_bundle(message_policy("scep", authenticate=rules))).authenticate.challenge
    assert rule is not None
    assert (rule.ttl_s, rule.bound) == (timedelta(hours=1).total_seconds(), (("serialNumber", "2.5.4.5"),))


MISTAKES = {
    "reserved-fact": (
        "mtls: {trust: own, extract: {groups: {from: serial}}}",
        "extract.groups",
        "is a word of",
    ),
    "odd-fact": ("mtls: {trust: own, extract: {a-b: {from: serial}}}", "extract.a-b", "cannot name a fact"),
    "fact-without-place": ("mtls: {trust: own, extract: {a: {}}}", "extract.a", "the key 'from' is missing"),
    "unknown-place": (
        "mtls: {trust: own, extract: {a: {from: san.dsn}}}",
        "extract.a.from",
        "did you mean 'san.dns'?",
    ),
    "bad-regex": (
        "mtls: {trust: own, extract: {a: {from: serial, regex: '(a'}}}",
        "extract.a.regex",
        "is no regular expression",
    ),
    "two-groups": (
        "mtls: {trust: own, extract: {a: {from: serial, regex: '(a)(b)'}}}",
        "extract.a.regex",
        "has 2 groups",
    ),
    "empty-require": ("mtls: {trust: own, require: {}}", "mtls.require", "nothing is asked for"),
    "eku": ("mtls: {trust: own, require: {eku: []}}", "require.eku", "is spelled extended_key_usage"),
    "issuer-cn": (
        "mtls: {trust: own, require: {issuer_cn_regex: a}}",
        "require.issuer_cn_regex",
        "is spelled issuer: {CN: REGEX}",
    ),
    "issuer-attribute": (
        "mtls: {trust: own, require: {issuer: {commonName: a}}}",
        "require.issuer.commonName",
        "write CN",
    ),
    "issuer-regex": (
        "mtls: {trust: own, require: {issuer: {CN: '('}}}",
        "require.issuer.CN",
        "is no regular",
    ),
    "two-ends": (
        "mtls: {trust: own, ignore_not_after: true, allow_expired: 1d}",
        "mtls.allow_expired",
        "its end does not count",
    ),
    "end-of-renewed": (
        "renewal-cert: {trust: own, ignore_not_after: true}",
        "renewal-cert.ignore_not_after",
        "write allow_expired: 90d",
    ),
    "no-group": ("basic: {groups: []}", "basic.groups", "there are too few values"),
    "odd-group": ("basic: {groups: ['net ops']}", "basic.groups", "has the wrong form"),
    "eab": ("basic: {}, eab: required", "authenticate.eab", "write it under acme-account"),
    "eab-groups": ("basic: {}, eab_groups: [a]", "eab_groups", "write acme-account: {groups: [...]}"),
    "eab-groups-inside": ("acme-account: {eab_groups: [a]}", "acme-account.eab_groups", "is spelled groups"),
    "pop": ("basic: {}, require_pop_linking: true", "require_pop_linking", "write pop_linking: required"),
    "source": ("challenge: {source: issued}", "challenge.source", "write accept: [dynamic]"),
    "single-use": ("challenge: {single_use: true}", "challenge.single_use", "write accept: [dynamic]"),
    "static-bound": ("challenge: {bind: [subject.CN]}", "challenge.bind", "write accept: [dynamic]"),
    "bound-to-name": ("challenge: {accept: dynamic, bind: [san.dns]}", "challenge.bind", "write one like"),
    "bound-to-long": (
        "challenge: {accept: dynamic, bind: [subject.commonName]}",
        "challenge.bind",
        "write CN",
    ),
    "no-ttl": ("challenge: {ttl: 0s}", "challenge.ttl", "write at least 1s"),
    "no-list": (
        "basic: {}, allow_list: {list: mine, fact: client.name}",
        "allow_list.list",
        "there is no List 'mine'",
    ),
    "no-fact": ("mtls: {trust: own}, allow_list: line", "authenticate.allow_list", "extracts 'serial'; add"),
    "other-fact": (
        "mtls: {trust: own, extract: {serail: {from: serial}}}, allow_list: line",
        "authenticate.allow_list",
        "did you mean 'serail'?",
    ),
    "no-account": (
        "basic: {}, allow_list: {list: line, fact: account.name}",
        "allow_list.fact",
        "this policy asks for no account",
    ),
    "no-word": ("basic: {}, allow_list: {list: line, fact: client}", "allow_list.fact", "no single value"),
}


@pytest.mark.parametrize(("rules", "path", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_in_what_is_asked_is_told_with_its_place(rules: str, path: str, words: str) -> None:
    (line,) = complaints(HOUSE + LIST + "---\n" + policy(authenticate="{" + rules + "}"))
    place, _, said = line.partition(": ")
    assert place.startswith("p.yaml:")
    assert path in said.partition(": ")[0]
    assert words in said


def test_revocation_asks_for_no_list() -> None:
    rules = "{mac: {}, allow_list: {list: line, fact: client.name}}"
    documents = (LIST, policy(), endpoint("cmp"), revocation_policy(authenticate=rules))
    (line,) = complaints(HOUSE + "---\n".join(documents))
    assert "authenticate.allow_list: who may revoke is not looked up in a list; remove it" in line


def test_no_challenge_is_allowed_where_the_policy_asks_for_a_binding() -> None:
    for more in ("eab: required", "groups: [a]"):
        assert _accounts(f"challenges: [], {more}").policies
