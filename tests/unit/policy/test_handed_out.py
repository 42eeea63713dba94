"""Policies that issue by another CA than their endpoint hands out are found, and only those."""

from __future__ import annotations

import pytest

from gateway.plugins import load_plugins
from gateway.policy.handed_out import foreign_issuers
from gateway.policy.load import load_bundle
from gateway.policy.rules import Bundle
from gateway.policy.sources import PolicySource
from tests.unit.policy.sample import policy

_CAS = "{issuing: [{name: first, key: ec-p256}, {name: second, key: rsa-2048}]}"
_FAR = "{address: 'localhost:1'}"


def _backend(name: str, options: str, kind: str = "embedded") -> str:
    return (
        f"apiVersion: pkigate/v1\nkind: Backend\nmetadata: {{name: {name}}}\n"
        f"type: {kind}\noptions: {options}\n"
    )


def _endpoint(protocol: str, backend: str = "embedded", ca: str = "") -> str:
    named = f"ca: {ca}\n" if ca else ""
    return (
        "apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {name: default}\n"
        f"protocol: {protocol}\nbackend: {backend}\n{named}"
    )


def _bundle(endpoint: str, protocol: str, issue: str, *, cas: str = _CAS) -> Bundle:
    authenticate = {"est": "{basic: {}}", "scep": "{challenge: {}}", "cmp": "{mac: {}}"}
    match = f"{{protocol: {protocol}, operation: enroll}}"
    given = {"match": match, "authenticate": authenticate.get(protocol, "{acme-account: {}}"), "issue": issue}
    documents = (
        _backend("embedded", cas),
        _backend("far", _FAR, "sample-remote"),
        endpoint,
        policy(**given),
    )
    return load_bundle((PolicySource("p.yaml", "---\n".join(documents)),), load_plugins().registry(lab=False))


@pytest.mark.parametrize(
    ("protocol", "messages"), [("est", "cacerts"), ("scep", "GetCACert"), ("cmp", "caCerts")]
)
def test_policy_of_another_ca_is_told_with_its_place_and_both_remedies(protocol: str, messages: str) -> None:
    bundle = _bundle(_endpoint(protocol), protocol, "{backend: embedded, profile: second}")
    (found,) = foreign_issuers(bundle)
    assert str(found).startswith(
        f"p.yaml:19:1: rules issues by the CA 'second', but its {protocol} endpoint 'default' hands out "
        "'first' ("
    )
    assert messages in str(found)
    assert str(found).endswith("; write ca: second in the Endpoint, or issue: {profile: first} here")


def test_policy_of_another_backend_is_told() -> None:
    (found,) = foreign_issuers(_bundle(_endpoint("cmp"), "cmp", "{backend: far}"))
    assert (found.issuing, found.handed_out) == ("far", "embedded")
    assert "write backend: far in the Endpoint" in str(found)


@pytest.mark.parametrize(
    ("endpoint", "issue", "cas"),
    [
        (_endpoint("cmp"), "{backend: embedded}", _CAS),
        (_endpoint("cmp", ca="first"), "{backend: embedded}", _CAS),
        (_endpoint("cmp"), "{backend: embedded, profile: first}", _CAS),
        (_endpoint("cmp", ca="second"), "{backend: embedded, profile: second}", _CAS),
        (_endpoint("cmp"), "{backend: embedded, profile: second}", f"{_CAS[:-1]}, default_issuing: second}}"),
        (_endpoint("cmp", backend="far"), "{backend: far, profile: template}", _CAS),
    ],
    ids=["both-default", "endpoint-names-it", "policy-names-it", "both-name-it", "other-default", "template"],
)
def test_policy_of_the_same_ca_is_not_told(endpoint: str, issue: str, cas: str) -> None:
    assert foreign_issuers(_bundle(endpoint, "cmp", issue, cas=cas)) == ()


def test_protocol_that_hands_out_the_chain_with_each_certificate_is_not_told() -> None:
    assert foreign_issuers(_bundle(_endpoint("acme"), "acme", "{backend: far}")) == ()
