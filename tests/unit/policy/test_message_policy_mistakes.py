"""What an administrator is told of credentials of messages, of an endpoint's CA and of Compat documents."""

from __future__ import annotations

import pytest

from gateway.policy.load import load_bundle
from gateway.policy.sources import PolicySource
from tests.support.pki import Authority
from tests.unit.policy.message_sample import endpoint, message_policy
from tests.unit.policy.sample import HOUSE, complaints, load, policy, registry

RA_OF_EVERYBODY = (
    "authenticate.signature.ra: the trust store 'own' holds CAs of this gateway, so everybody who enrolled "
    "here would be a registration authority; write extended_key_usage: [cmcRA], or name a trust store"
)
OPTION_OF_CMP = "is said once for all requests of an endpoint; write it under `options` of the CMP Endpoint"
AUTHENTICATE = {
    "unknown-challenge": (
        "{challenge: {accept: [static, dinamic]}}",
        "challenge.accept.1: 'dinamic' is not known; did you mean 'dynamic'?",
    ),
    "no-challenge": ("{challenge: {accept: []}}", "challenge.accept: there are too few values; at least 1"),
    "key-of-mac": ("{mac: {trust: own}}", "authenticate.mac.trust: unknown key 'trust'; known here: groups"),
    "empty-mac": ("{mac: }", "authenticate.mac: there is no value; write one, {} for none in particular"),
    "signature-without-trust": ("{signature: {}}", "authenticate.signature: the key 'trust' is missing"),
    "unknown-trust": (
        "{signature: {trust: mine}}",
        "authenticate.signature.trust: there is no TrustStore 'mine'; known here: own",
    ),
    "ra-of-our-own-ca": ("{signature: {trust: own, ra: true}}", RA_OF_EVERYBODY),
    "ra-of-own-names": (
        "{signature: {trust: own, ra: true, names: own, extended_key_usage: cmcRA}}",
        "authenticate.signature.names: a registration authority asks for its clients' names; write names",
    ),
    "confirm": ("{mac: {}, confirm: implicit}", f"authenticate.confirm: 'confirm' {OPTION_OF_CMP}"),
    "unconfirmed-after": (
        "{mac: {}, unconfirmed_after: 5m}",
        f"authenticate.unconfirmed_after: 'unconfirmed_after' {OPTION_OF_CMP}",
    ),
    "message-time-skew": (
        "{mac: {}, message_time_skew: 5m}",
        f"authenticate.message_time_skew: 'message_time_skew' {OPTION_OF_CMP}",
    ),
}


@pytest.mark.parametrize("case", AUTHENTICATE)
def test_wrong_credential_of_a_message_is_refused_with_its_place(case: str) -> None:
    rules, expected = AUTHENTICATE[case]
    (line,) = complaints(HOUSE + "---\n".join([endpoint(), message_policy(authenticate=rules)]))
    assert line.startswith("p.yaml:28:")
    assert expected in line


def test_ra_with_a_usage_or_a_ca_of_its_own_is_loaded() -> None:
    by_usage = "{signature: {trust: own, ra: true, extended_key_usage: cmcRA}}"
    assert load(endpoint(), message_policy(authenticate=by_usage)).policies
    pem = Authority("RA issuer").certificate_pem.decode().replace("\n", "\\n")
    text = f'apiVersion: pkigate/v1\nkind: TrustStore\nmetadata: {{name: ras}}\ncertificates: ["{pem}"]\n'
    by_ca = "{signature: {trust: ras, ra: true}}"
    assert load(endpoint(), text, message_policy(authenticate=by_ca)).policies


def test_endpoint_hands_out_what_its_ca_says() -> None:
    issuing = HOUSE.replace(
        "type: embedded\n", "type: embedded\noptions: {issuing: [{name: one}, {name: two}]}\n"
    )
    text = issuing + "---\n".join(
        [
            endpoint(),
            endpoint("scep", more="ca: two\n"),
            message_policy(issue="{backend: embedded, profile: one}"),
        ]
    )
    bundle = load_bundle((PolicySource("p.yaml", text),), registry())
    assert bundle.endpoints["cmp", "default"].ca is None
    assert bundle.endpoints["scep", "default"].ca == "two"


def test_ca_that_the_backend_does_not_have_is_refused_with_its_place() -> None:
    (line,) = complaints(HOUSE + "---\n".join([endpoint(more="ca: isuing\n"), message_policy()]))
    assert line == (
        "p.yaml:22:5: ca: the backend 'embedded' has no CA or profile 'isuing'; did you mean 'issuing'?"
    )


def test_profile_that_the_backend_does_not_have_is_refused_with_its_place() -> None:
    (line,) = complaints(HOUSE + policy(issue="{backend: embedded, profile: root}"))
    assert line.startswith("p.yaml:30:37: issue.profile: the backend 'embedded' has no CA or profile 'root'")
    (line,) = complaints(HOUSE + policy(issue="[{backend: embedded, profile: root}]"))
    assert line.startswith("p.yaml:30:38: issue.0.profile: the backend 'embedded' has no CA")


def test_ca_of_a_backend_that_is_wrong_itself_is_not_told_of() -> None:
    broken = HOUSE.replace("type: embedded\n", "type: embedded\noptions: {issuing: []}\n")
    (line,) = complaints(broken + "---\n".join([endpoint(more="ca: two\n"), message_policy()]))
    assert "options.issuing: there are too few values" in line


def compat(name: str = "printers", protocol: str = "scep", priority: str = "10", more: str = "") -> str:
    head = f"apiVersion: pkigate/v1\nkind: Compat\nmetadata: {{name: {name}}}\n"
    return f"{head}protocol: {protocol}\npriority: {priority}\n{more or 'clients: printers'}\n"


def test_compat_documents_stand_in_the_order_of_their_priority() -> None:
    bundle = load(
        policy(),
        compat("late", priority="20", more="clients: b\norder: 7"),
        compat("early", priority="10", more="clients: a"),
        compat("early", "cmp", priority="20"),
    )
    habits = bundle.compatibility["scep"]
    assert [(one.name, one.settings.clients, one.settings.order) for one in habits] == [
        ("early", "a", 0),
        ("late", "b", 7),
    ]
    assert [one.where for one in habits] == ["p.yaml:40:1", "p.yaml:32:1"]
    assert [one.name for one in bundle.compatibility["cmp"]] == ["early"]
    assert load(policy()).compatibility == {}


def test_compat_documents_are_part_of_the_bundle_and_its_name() -> None:
    one, other = load(policy(), compat()), load(policy(), compat(more="clients: others"))
    assert len({one.sha256, other.sha256, load(policy()).sha256}) == 3
    assert '"clients":"printers"' in one.documents_json


WRONG_COMPAT = {
    "missing-key": (
        compat(more="order: 1"),
        "p.yaml:32:1: the key 'clients' is missing; add it: Who they are",
    ),
    "wrong-value": (
        compat(more="clients: a\norder: ten"),
        "p.yaml:38:8: order: 'ten' is no whole number; write one",
    ),
    "too-large": (compat(more="clients: a\norder: 10"), "p.yaml:38:8: order: '10' is too large; at most 9"),
    "unknown-key": (
        compat(more="client: a\nclients: b"),
        "p.yaml:37:1: client: unknown key 'client'; did you mean 'clients'?",
    ),
    "no-priority": (
        compat().replace("priority: 10\n", ""),
        "p.yaml:32:1: the key 'priority' is missing; add it: Of several that fit a request",
    ),
    "protocol-without-habits": (
        compat(protocol="est"),
        "p.yaml:35:11: protocol: no installed plug-in takes habits of clients of 'est'; known here: cmp",
    ),
    "misspelt-protocol": (
        compat(protocol="sccep"),
        "p.yaml:35:11: protocol: no installed plug-in takes habits of clients of 'sccep'; did you mean 'scep",
    ),
    "same-priority": (
        compat() + "---\n" + compat("others"),
        "p.yaml:43:11: priority: 'printers' at p.yaml:32:1 has the same priority; give one of them another",
    ),
    "same-name": (
        compat() + "---\n" + compat(priority="11"),
        "p.yaml:41:18: metadata.name: another Compat has the name 'printers' already, at p.yaml:34:18",
    ),
}


@pytest.mark.parametrize("case", WRONG_COMPAT)
def test_mistake_in_a_compat_document_is_told_with_its_place(case: str) -> None:
    document, expected = WRONG_COMPAT[case]
    (line,) = complaints(HOUSE + policy() + "---\n" + document)
    assert line.startswith(expected)
