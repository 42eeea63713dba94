"""No name outside a rule is ever issued.

GeneralNames are generated for every kind of rule; the names of each plan are read again from their DER by
``cryptography`` and judged by an oracle that shares no code with the engine (``tests.support.name_oracle``).
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MalformedMessage
from gateway.model.decision import Deny
from gateway.model.enrolment import EnrolmentRequest, RequestedIdentity
from gateway.model.evidence import BASIC, Evidence, VerifiedCredential
from gateway.model.names import DistinguishedName, GeneralName
from gateway.pki.names import decode_general_names, encode_general_names
from gateway.policy.rules import Bundle
from tests.support.general_names import cases, forgeries
from tests.support.name_oracle import RULES, SAN, SERIAL, SITE, Rule
from tests.support.pki import csr, shared_key, tlv
from tests.unit.policy.name_sample import READS
from tests.unit.policy.sample import decide, load, policy, request

OUTER = 0x30
EXTRAS = ("deny", "drop")


def _bundle(rules: tuple[Rule, ...], extra: str) -> Bundle:
    names = f"subject: {{}}\ncn_in_san: false\non_extra: {extra}\n" + "\n".join(rule.yaml for rule in rules)
    return load(policy(names=names, authenticate=READS))


BUNDLES = {(index, extra): _bundle((rule,), extra) for index, rule in enumerate(RULES) for extra in EXTRAS}


def _requested(names_der: list[bytes]) -> tuple[GeneralName, ...]:
    """As a front end reads them; a name that it refuses never comes to the engine."""
    found: list[GeneralName] = []
    for name_der in names_der:
        try:
            found += decode_general_names(tlv(OUTER, name_der))
        except MalformedMessage:
            continue
    return tuple(found)


def _signed(names: tuple[GeneralName, ...]) -> list[x509.GeneralName]:
    """The names of a plan as ``cryptography`` reads them, by way of a CSR."""
    if not names:
        return []
    extension = x509.UnrecognizedExtension(SAN, encode_general_names(names))
    csr_der = csr(shared_key("P-256"), cn="x", extensions=[(extension, False)])
    found = x509.load_der_x509_csr(csr_der).extensions
    return list(found.get_extension_for_class(x509.SubjectAlternativeName).value)


CLIENT = Evidence(
    (VerifiedCredential(BASIC, "basic:1", "device", labels=(("site", SITE),), facts=(("serial", SERIAL),)),)
)


def _wanted(names: tuple[GeneralName, ...]) -> EnrolmentRequest:
    return replace(request(), identity=RequestedIdentity(DistinguishedName(), names))


def _hold(index: int, extra: str, names: tuple[GeneralName, ...]) -> int:
    """How many names are issued; each of them must be allowed."""
    rule = RULES[index]
    decision = decide(BUNDLES[index, extra], _wanted(names), CLIENT)
    if isinstance(decision, Deny):
        assert decision.reasons
        assert all(reason.code != "policy.crash" for reason in decision.reasons), decision
        return 0
    assert decision.plan is not None
    signed = _signed(decision.plan.sans)
    assert len(signed) == len(decision.plan.sans)
    for name in signed:
        assert rule.allows(name), (rule.yaml, name)
    return len(signed)


numbers = st.integers(0, len(RULES) - 1)


@given(numbers.flatmap(cases), st.sampled_from(EXTRAS))
def test_no_name_outside_the_rule_is_issued(case: tuple[int, list[bytes]], extra: str) -> None:
    _hold(case[0], extra, _requested(case[1]))


@given(numbers.flatmap(forgeries), st.sampled_from(EXTRAS))
def test_name_whose_text_and_der_differ_is_issued_as_it_was_judged(
    case: tuple[int, list[GeneralName]], extra: str
) -> None:
    _hold(case[0], extra, tuple(case[1]))


@pytest.mark.parametrize("index", range(len(RULES)))
def test_name_that_the_rule_allows_is_issued(index: int) -> None:
    """Else the properties above would hold of a gateway that refuses everything."""
    good = RULES[index].good
    assert _hold(index, "deny", _requested([good])) == 1 if good else True
