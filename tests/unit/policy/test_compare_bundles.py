"""What `policy diff` calls a change: meaning, not text."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.policy.compare_bundles import BundleDifference, compare_bundles
from gateway.policy.format import format_text
from gateway.policy.load import PolicySource, load_bundle
from gateway.policy.rules import Bundle
from tests.unit.policy.sample import registry

GOOD = (Path(__file__).with_name("zoo") / "good.yaml").read_text()

SAME = {
    "default-written-out": ("    wildcard: deny\n", ""),
    "default-added": ("grace: 10m", "grace: 600s"),
    "max-that-is-default": (
        "names: {subject: keep-from-previous}\nvalidity: {default: 90d}",
        "names: {subject: keep-from-previous}\nvalidity: {default: 90d, max: 90d}",
    ),
    "one-word-for-a-list": ("endpoint: [line1]", "endpoint: line1"),
    "order-of-a-set": ("ec: [P-256, P-384]", "ec: [P-384, P-256]"),
    "other-unit": ("expires: 5d", "expires: 120h"),
    "quotes": ("owner: manufacturing", "owner: 'manufacturing'"),
    "comment": ("owner: manufacturing", "owner: manufacturing  # they"),
    "usage-by-number": ("  extended_key_usage: [clientAuth]", "  extended_key_usage: [1.3.6.1.5.5.7.3.2]"),
    "auth-that-is-default": ("  auth: [basic, mtls]\n", ""),
}

CHANGED = {
    "value": ("priority: 50", "priority: 51", "priority", 50, 51),
    "list": ("ec: [P-256, P-384]", "ec: [P-256]", "keys.ec", ("P-256", "P-384"), ("P-256",)),
    "key-that-was-not-there": (
        "  ip: {cidr: [10.80.0.0/16], max: 1}\n",
        "  ip: {cidr: [10.80.0.0/16], max: 1}\n  total_max: 5\n",
        "names.total_max",
        100,
        5,
    ),
    "attribute": (
        "{source: fixed, value: Example Factory}",
        "{source: fixed, value: Ex}",
        "names.subject.O.value",
        "Example Factory",
        "Ex",
    ),
    "duration": ("expires: 5d", "expires: 6d", "approval.expires", "5d", "6d"),
    "credential": ("  basic: {}\n  mtls", "  basic: {}\n  mac: {}\n  mtls", "authenticate.mac", None, "{}"),
}


def _bundle(text: str) -> Bundle:
    return load_bundle((PolicySource("p.yaml", text),), registry())


def _compared(before: str, after: str) -> BundleDifference:
    return compare_bundles(_bundle(before), _bundle(after), registry())


@pytest.mark.parametrize("case", SAME)
def test_same_meaning_in_other_words_is_no_change(case: str) -> None:
    old, new = SAME[case]
    assert GOOD.count(old) == 1
    assert _compared(GOOD, GOOD.replace(old, new)).is_empty


def test_order_of_documents_and_layout_are_no_change() -> None:
    turned = "---\n".join(reversed(GOOD.split("---\n")))
    assert _compared(GOOD, turned).is_empty
    assert _compared(GOOD, format_text("p.yaml", turned)).is_empty


@pytest.mark.parametrize("case", CHANGED)
def test_changed_key_is_told_with_both_values(case: str) -> None:
    old, new, *expected = CHANGED[case]
    assert GOOD.count(str(old)) == 1
    found = _compared(GOOD, GOOD.replace(str(old), str(new)))
    (document,) = found.documents
    assert (document.key, document.change) == (("Policy", "", "presses"), "changed")
    (key,) = document.keys
    assert [key.path, key.before, key.after] == expected
    assert found.places == ()


def test_added_document_and_the_places_that_it_serves_are_told() -> None:
    more = """---
apiVersion: pkigate/v1
kind: Policy
metadata: {name: everything}
priority: 10
match: {protocol: est, operation: [enroll, renew, rekey]}
authenticate: {basic: {}, mtls: {trust: own}}
keys: {ec: [P-256]}
names: {subject: first-dns, dns: {suffix: [test]}}
validity: {default: 90d}
issue: {backend: embedded}
"""
    found = _compared(GOOD, GOOD + more)
    assert [(one.key, one.change) for one in found.documents] == [(("Policy", "", "everything"), "added")]
    assert {one.place[2]: (one.before, one.after) for one in found.places} == {
        "enroll": (("presses",), ("everything", "presses")),
        "renew": (("presses-renewal",), ("everything", "presses-renewal")),
        "rekey": (("presses-renewal",), ("everything", "presses-renewal")),
    }
    (hidden,) = found.newly_hidden
    assert "everything (priority 10) hides presses (priority 50) completely" in hidden
    back = _compared(GOOD + more, GOOD)
    assert [one.change for one in back.documents] == ["removed"]
    assert back.newly_hidden == ()


def test_changed_priorities_change_the_order_of_a_place() -> None:
    both = GOOD.replace(
        "operation: [renew, rekey]", "operation: [renew, rekey], source_ip: 10.0.0.0/8"
    ).replace("operation: [enroll]", "operation: [enroll, renew]")
    found = _compared(both, both.replace("priority: 50", "priority: 70"))
    (place,) = found.places
    assert place.place == ("est", "line1", "renew")
    assert (place.before, place.after) == (("presses", "presses-renewal"), ("presses-renewal", "presses"))
