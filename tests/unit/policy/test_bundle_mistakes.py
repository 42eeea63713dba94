"""What an administrator is told of the other documents, and of documents that do not fit together."""

from __future__ import annotations

import pytest

from tests.unit.policy.sample import HOUSE, complaints, policy

GOOD = policy()

HOUSE_MISTAKES = {
    "unknown-kind": (
        "kind: Backend",
        "kind: Backand",
        "p.yaml:2:7: kind: 'Backand' is no kind of document; did you mean",
    ),
    "planned-kind": (
        "kind: Backend",
        "kind: NotificationRoute",
        "p.yaml:2:7: kind: documents of the kind 'NotificationRoute' are not available",
    ),
    "unknown-type": (
        "type: embedded",
        "type: embeded",
        "p.yaml:4:7: type: no installed plug-in brings the type of CA 'embeded'",
    ),
    "plug-in-option": (
        "protocol: est\n",
        "protocol: est\noptions: {wrap: 65}\n",
        "p.yaml:10:17: options.wrap: '65' is not known; ",
    ),
    "plug-in-unknown-option": (
        "protocol: est\n",
        "protocol: est\noptions: {warp: 64}\n",
        "p.yaml:10:11: options.warp: unknown key 'warp'; did you mean 'wrap'?",
    ),
    "reserved-endpoint": (
        "{name: default}",
        "{name: cacerts}",
        "p.yaml:8:18: metadata.name: 'cacerts' is a word of the protocol est and cannot name an endpoint",
    ),
    "endpoint-backend": (
        "backend: embedded",
        "backend: remote",
        "p.yaml:10:10: backend: there is no Backend 'remote'",
    ),
    "store-backend": (
        "backends: [embedded]",
        "backends: [x]",
        "p.yaml:15:12: backends.0: there is no Backend 'x'",
    ),
    "empty-store": (
        "backends: [embedded]",
        "backends: []",
        "p.yaml:12:1: the trust store is empty; name certificates",
    ),
    "store-protocol": (
        "backends: [embedded]",
        "backends: [embedded]\nprotocols: [ets]",
        "p.yaml:16:13: protocols.0: no installed plug-in brings the protocol 'ets'; did you mean 'est'?",
    ),
    "store-pem": (
        "backends: [embedded]",
        "certificates: [nothing]",
        "p.yaml:15:16: certificates.0: there is no PEM block; write -----BEGIN CERTIFICATE-----",
    ),
    "store-file": (
        "backends: [embedded]",
        "files: [roots.pem]",
        "p.yaml:15:9: files.0: the file 'roots.pem' cannot be read from here; write its content out",
    ),
}


@pytest.mark.parametrize("case", HOUSE_MISTAKES)
def test_mistake_in_another_document_is_told_with_its_place(case: str) -> None:
    old, new, expected = HOUSE_MISTAKES[case]
    assert old in HOUSE
    found = complaints(HOUSE.replace(old, new, 1) + GOOD)
    assert any(one.startswith(expected) for one in found), found


def test_two_documents_of_one_name_are_refused() -> None:
    found = complaints(HOUSE + GOOD + "---\n" + policy(priority="101"))
    assert "another Policy has the name 'rules' already, at p.yaml:19:18; choose another name" in found[0]


def test_overlap_of_equal_priorities_is_refused() -> None:
    found = complaints(HOUSE + GOOD + "---\n" + policy("other", authenticate="{mtls: {trust: own}}"))
    assert "metadata" not in found[0]
    assert "the policy 'rules' at p.yaml:17:1 has the same priority 100" in found[0]


def test_bundle_without_policy_is_refused() -> None:
    assert "there is no Policy, so nothing would be issued" in complaints(HOUSE)[0]


@pytest.mark.parametrize("text", ["- a", "word", "[1, 2]"])
def test_document_that_is_no_mapping_is_refused(text: str) -> None:
    assert "this is no document; begin with apiVersion" in complaints(text)[0]
