"""Whatever is asked for: a plan holds only names that the policy allows, and nothing that no rule names."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from gateway.model.decision import Allow, Deny
from gateway.model.enrolment import Extension, RequestedIdentity
from gateway.model.evidence import (
    ACME_ACCOUNT,
    BASIC,
    CHALLENGE_DYNAMIC,
    CHALLENGE_STATIC,
    MAC,
    MTLS,
    PREVALIDATED,
    RENEWAL_CERT,
    SIGNATURE,
    CredentialKind,
    Evidence,
    ProvenName,
)
from gateway.model.keys import ClientKey, Pop
from gateway.model.names import (
    ATTRIBUTE_OIDS,
    AttributeTypeAndValue,
    DistinguishedName,
    GeneralName,
    NameKind,
)
from gateway.pki.names import decode_general_names, encode_general_names, encode_name
from gateway.policy.credential_check import credential_reasons
from gateway.policy.engine import Admitted, authorize
from tests.unit.policy.acme_sample import account, acme_bundle, acme_policy, ordered, previewed
from tests.unit.policy.message_sample import (
    message,
    message_bundle,
    message_policy,
    revocation,
    revocation_policy,
    verified,
)
from tests.unit.policy.sample import NOW, basic_evidence, decide, ec_key, load, policy, request

SUFFIXES = ("a.test", "b.test")
RULES = """
subject:
  CN: {{source: csr, allow: {{plain: true, suffix: [a.test, b.test]}}}}
  O: {{source: csr, allow: {{exact: [Good]}}}}
  OU: {{source: drop}}
  L: {{source: fixed, value: Oslo}}
dns: {{suffix: [a.test, b.test], max: 5}}
ip: {{cidr: [10.0.0.0/8]}}
email: {{suffix: [a.test]}}
total_max: 8
cn_in_san: false
on_extra: {extra}
"""
BUNDLES = {extra: load(policy(names=RULES.format(extra=extra))) for extra in ("deny", "drop")}

texts = st.one_of(
    st.sampled_from(
        [
            "a.test",
            "x.a.test",
            "*.a.test",
            "xa.test",
            "A.TEST",
            "b.test.",
            "evil.com",
            "10.1.2.3",
            "::ffff:10.0.0.1",
        ]
    ),
    st.from_regex(r"[a-zA-Z0-9*._-]{1,20}", fullmatch=True),
    st.text(max_size=12),
)
general_names = st.builds(GeneralName, st.sampled_from(list(NameKind)), texts, st.binary(max_size=8))
attributes = st.builds(
    AttributeTypeAndValue,
    st.sampled_from([ATTRIBUTE_OIDS[name] for name in ("CN", "O", "OU", "L", "C", "emailAddress")]),
    st.one_of(st.sampled_from(["device 1", "Good", "a.test", "evil.com"]), st.text(max_size=70)),
    st.sampled_from([12, 19, 22, 30, 1]),
)
subjects = st.lists(st.lists(attributes, min_size=1, max_size=2).map(tuple), max_size=4).map(
    lambda rdns: DistinguishedName(tuple(rdns))
)
extensions = st.lists(
    st.builds(
        Extension,
        st.sampled_from(["2.5.29.15", "2.5.29.19", "2.5.29.37", "1.3.6.1.5.5.7.1.24", "1.2.3"]),
        st.booleans(),
        st.binary(max_size=12),
    ),
    max_size=3,
).map(tuple)


def _under(name: str) -> bool:
    return any(name == suffix or name.endswith("." + suffix) for suffix in SUFFIXES)


def _allowed_san(name: GeneralName) -> bool:
    match name.kind:
        case NameKind.DNS:
            return _under(name.value) and "*" not in name.value and name.value == name.value.lower()
        case NameKind.IP:
            return ip_address(name.value) in ip_network("10.0.0.0/8")
        case NameKind.EMAIL:
            return name.value.rpartition("@")[2].lower().endswith("a.test")
        case _:
            return False


@given(
    st.sampled_from(["deny", "drop"]), subjects, st.lists(general_names, max_size=6).map(tuple), extensions
)
def test_names_of_every_plan_satisfy_the_policy(
    extra: str,
    subject: DistinguishedName,
    sans: tuple[GeneralName, ...],
    asked: tuple[Extension, ...],
) -> None:
    wanted = replace(request(), identity=RequestedIdentity(subject, sans, asked))
    decision = decide(BUNDLES[extra], wanted)
    if isinstance(decision, Deny):
        assert decision.reasons
        assert all(reason.message and reason.code != "policy.crash" for reason in decision.reasons)
        return
    plan = decision.plan
    assert plan is not None
    assert len(plan.sans) <= 8
    assert all(map(_allowed_san, plan.sans))
    if plan.sans:
        # What will be signed is read again: it is what was judged.
        assert decode_general_names(encode_general_names(plan.sans)) == plan.sans
    encode_name(plan.subject)
    for rdn in plan.subject.rdns:
        for attribute in rdn:
            assert attribute.oid in {ATTRIBUTE_OIDS[name] for name in ("CN", "O", "L")}
    assert plan.subject.values(ATTRIBUTE_OIDS["L"]) == ("Oslo",)
    assert set(plan.subject.values(ATTRIBUTE_OIDS["O"])) <= {"Good"}
    for value in plan.subject.values(ATTRIBUTE_OIDS["CN"]):
        assert _under(value.lower()) or "." not in value
    assert plan.extensions == ()
    assert plan.key_usage == ("digitalSignature",)


@given(st.lists(texts, max_size=3).map(tuple), st.lists(general_names, max_size=4).map(tuple))
def test_bound_credential_never_gets_a_name_beyond_its_bound(
    bound: tuple[str, ...], sans: tuple[GeneralName, ...]
) -> None:
    wanted = replace(request(), identity=RequestedIdentity(DistinguishedName(), sans))
    decision = decide(BUNDLES["drop"], wanted, basic_evidence(names=bound))
    if isinstance(decision, Allow):
        assert decision.plan is not None
        suffixes = [name.lower().removeprefix("*.").strip(".") for name in bound]
        for name in decision.plan.sans:
            host = name.value.rpartition("@")[2].lower()
            assert any(host == suffix or host.endswith("." + suffix) for suffix in suffixes)


ACME_RULES = """
  subject: {CN: {source: csr, allow: {any: true}}, O: {source: csr, allow: {any: true}}}
  dns: {suffix: [test], wildcard: allow}
  ip: {cidr: ["0.0.0.0/0", "::/0"]}
  email: {suffix: [test]}
  uri: {prefix: ["https://a.test/"]}
  cn_in_san: false
"""
OFFERED: tuple[tuple[str, ...], ...] = (
    ("http-01",),
    ("dns-01",),
    ("tls-alpn-01", "dns-01"),
    ("http-01", "dns-01", "tls-alpn-01"),
    (),
)
ACME_BUNDLES = {
    offered: acme_bundle(
        acme_policy(challenges=f"[{', '.join(offered)}]", names=ACME_RULES), options="{eab: always}"
    )
    for offered in OFFERED
}
ACME_NAMES = ("a.test", "b.a.test", "*.a.test", "10.0.0.1", "fd00::1", "a@a.test", "https://a.test/")
ALLOWED_NAMES = {(NameKind.DNS, value) for value in ACME_NAMES[:3]} | {
    (NameKind.IP, value) for value in ACME_NAMES[3:5]
}
OF_SIGNATURES = message_bundle(message_policy(authenticate="{signature: {trust: own}, mac: {}}"))
acme_values = st.sampled_from(ACME_NAMES)
acme_names = st.builds(GeneralName, st.sampled_from(list(NameKind)), acme_values, st.just(b""))
methods = st.sampled_from(["http-01", "dns-01", "tls-alpn-01", PREVALIDATED, "invented-01"])
proofs = st.builds(ProvenName, st.sampled_from(list(NameKind)), acme_values, methods, st.just(NOW))
# Most proofs are of names that policy allows: a random pair of kind and value would seldom lead to a plan.
fitting = st.one_of(
    st.builds(GeneralName, st.just(NameKind.DNS), st.sampled_from(ACME_NAMES[:3]), st.just(b"")),
    st.builds(GeneralName, st.just(NameKind.IP), st.sampled_from(ACME_NAMES[3:5]), st.just(b"")),
)
fitting_proofs = st.builds(
    lambda name, method: ProvenName(name.kind, name.value, method, NOW), fitting, methods
)
able = {"dns": {"http-01", "dns-01", "tls-alpn-01"}, "wildcard": {"dns-01"}, "ip": {"http-01", "tls-alpn-01"}}


def _is_proven(
    name: GeneralName, proven: tuple[ProvenName, ...], offered: tuple[str, ...], spared: bool
) -> bool:
    """The rule once more, in other words than the engine's: RFC 8555 sections 7.1.3 and 8.4, RFC 8738."""
    kind = "wildcard" if name.value.startswith("*.") else name.kind.value
    good = able.get(kind, set()) & set(offered) if name.kind in (NameKind.DNS, NameKind.IP) else set()
    if spared and name.kind in (NameKind.DNS, NameKind.IP):
        good = good | {PREVALIDATED}
    return any((one.kind, one.value) == (name.kind, name.value) and one.method in good for one in proven)


@given(
    st.sampled_from(OFFERED),
    st.lists(st.one_of(fitting, acme_names), min_size=1, max_size=3).map(tuple),
    st.lists(st.one_of(fitting_proofs, proofs), max_size=6).map(tuple),
    st.booleans(),
    st.one_of(st.none(), acme_values),
)
def test_no_plan_of_an_account_holds_a_name_that_is_not_proven(
    offered: tuple[str, ...],
    asked: tuple[GeneralName, ...],
    proven: tuple[ProvenName, ...],
    bound: bool,
    cn: str | None,
) -> None:
    """acme.md E2: whatever is ordered, proven and offered. And what is proven is granted."""
    wanted = ordered(cn=cn)
    wanted = replace(wanted, identity=replace(wanted.identity, sans=asked))
    evidence = account(*proven, credential_id="9" if bound else None)
    decision = decide(ACME_BUNDLES[offered], wanted, evidence)
    spared = bound and not offered
    if isinstance(decision, Allow):
        assert decision.plan is not None
        assert decision.plan.sans
        assert all(_is_proven(name, proven, offered, spared) for name in decision.plan.sans)
        names = {name.value for name in decision.plan.sans}
        assert names >= set(decision.plan.subject.values(ATTRIBUTE_OIDS["CN"]))
        preview = previewed(ACME_BUNDLES[offered], evidence=evidence, identity=wanted.identity)
        assert preview.reasons == ()  # nobody proves a name in vain: what is issued was foreseen
    else:
        allowed_names = all((name.kind, name.value) in ALLOWED_NAMES for name in asked)
        complete = all(_is_proven(name, proven, offered, spared) for name in asked)
        assert cn is not None or not (allowed_names and complete), decision.reasons


ALTERNATIVES = {
    "basic: {}": {BASIC},
    "mtls: {trust: own}": {MTLS},
    "challenge: {}": {CHALLENGE_STATIC, CHALLENGE_DYNAMIC},
    "challenge: {accept: static}": {CHALLENGE_STATIC},
    "mac: {}": {MAC},
    "signature: {trust: own}": {SIGNATURE},
}
KINDS = sorted({kind for kinds in ALTERNATIVES.values() for kind in kinds} | {RENEWAL_CERT, ACME_ACCOUNT})
rules = st.lists(st.sampled_from(sorted(ALTERNATIVES)), min_size=1, unique_by=lambda rule: rule.split(":")[0])


@given(rules, st.sampled_from(["any", "all"]), st.sets(st.sampled_from(KINDS)))
def test_credentials_are_enough_exactly_if_the_policy_names_them(
    named: list[str], require: str, kinds: set[CredentialKind]
) -> None:
    """For certificates and revocations alike: one rule that is met, or every one of them."""
    met = [not kinds.isdisjoint(ALTERNATIVES[rule]) for rule in named]
    enough = all(met) if require == "all" else any(met)
    evidence = verified(*sorted(kinds), proven=None)

    authenticate = f"{{require: {require}, {', '.join(named)}}}"
    bundle = message_bundle(message_policy(authenticate=authenticate, names="{subject: first-dns}"))
    (rule,) = bundle.policies
    reasons = credential_reasons(rule, message(), evidence)
    assert (not reasons) is enough
    assert all(reason.code == "auth.missing" for reason in reasons)

    if "challenge" in authenticate:
        return
    bundle = message_bundle(revocation_policy(authenticate=authenticate))
    (rule,) = bundle.policies
    denied = authorize(bundle, Admitted(rule, ()), revocation(), evidence)
    assert (denied is None) is enough


@given(st.sampled_from(Pop), st.lists(st.booleans(), min_size=1, max_size=3))
def test_key_without_proof_of_possession_is_never_certified(pop: Pop, authorities: list[bool]) -> None:
    """RFC 4211 section 4: but on the word of a registration authority that is among the verified ones."""
    credentials = [verified(SIGNATURE, ra=ra).credentials[0] for ra in authorities]
    asked = message(key=ClientKey(ec_key(), pop, None))
    decision = decide(OF_SIGNATURES, asked, Evidence(tuple(credentials)))
    proven = pop is Pop.SIGNATURE or (pop is Pop.RA_VERIFIED and any(authorities))
    assert isinstance(decision, Allow) is proven
