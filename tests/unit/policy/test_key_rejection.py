"""``keys.reject``, ``keys.blocklists`` and ``keys.reuse``: keys that are refused whatever their type."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.model.decision import Decision
from gateway.model.keys import PublicKey
from gateway.model.reasons import ReasonCode
from gateway.pki.keys import public_key
from gateway.pki.known_keys import debian_fingerprint
from gateway.policy.facts import CertifiedNames, Facts
from gateway.policy.lists import lists_at_load
from gateway.policy.rules import Bundle
from tests.support import weak_private_keys
from tests.unit.policy.sample import (
    HOUSE,
    allowed,
    client_key,
    codes,
    complaints,
    decide,
    ec_key,
    facts,
    load,
    policy,
    request,
)

WEAK = {
    "roca": weak_private_keys.roca_key,
    "fermat": weak_private_keys.close_primes_key,
    "small-primes": weak_private_keys.small_divisor_key,
}
RFC_9500_P256 = 0xE6CB5BDD80AA45AE9C95E8C15476679FFEC953C16851E711E743939589C64FC1


def described(private_key: object) -> PublicKey:
    spki_der = private_key.public_key().public_bytes(  # type: ignore[attr-defined]  # any private key
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return public_key(spki_der)


def judged(keys: str, key: PublicKey, known: Facts | None = None, *documents: str) -> Decision:
    bundle = load(policy(keys=keys), *documents)
    return decide(bundle, request(key=client_key(key)), known=known)


def key_list(name: str, type_: str, *entries: str) -> str:
    listed = ", ".join(f"'{entry}'" for entry in entries)
    head = f"apiVersion: pkigate/v1\nkind: List\nmetadata: {{name: {name}}}\n"
    return f"{head}type: {type_}\nentries: [{listed}]\n"


def with_lists(keys: str, *documents: str) -> tuple[Bundle, Facts]:
    bundle = load(policy(keys=keys), *documents)
    return bundle, facts(lists=lists_at_load(bundle.lists))


@pytest.mark.parametrize("word", WEAK)
def test_weak_key_is_refused_without_being_asked_for(word: str) -> None:
    decision = judged("{rsa: {}}", described(WEAK[word]()))
    assert codes(decision) == [ReasonCode.KEY_WEAK]
    assert "make a new key pair" in decision.reasons[0].message  # type: ignore[union-attr]
    assert decision.reasons[0].rule == "rules.keys"  # type: ignore[union-attr]


@pytest.mark.parametrize("word", WEAK)
def test_weak_key_is_refused_where_only_its_fault_is_named(word: str) -> None:
    key = described(WEAK[word]())
    assert codes(judged(f"{{rsa: {{}}, reject: {word}}}", key)) == [ReasonCode.KEY_WEAK]
    others = ", ".join(sorted({*WEAK} - {word}))
    allowed(judged(f"{{rsa: {{}}, reject: [{others}]}}", key))


def test_point_of_small_order_is_no_key() -> None:
    spki_der = bytes.fromhex("302a300506032b6570032100") + bytes([1]) + bytes(31)
    decision = judged("{eddsa: [Ed25519], reject: []}", public_key(spki_der))
    assert codes(decision) == [ReasonCode.KEY_WEAK]


def test_key_of_a_ca_is_refused_unless_the_policy_says_otherwise() -> None:
    known = facts(key_of_ca=True)
    assert codes(judged("{ec: [P-256]}", ec_key(), known)) == [ReasonCode.KEY_REUSE]
    allowed(judged("{ec: [P-256], reject: [roca]}", ec_key(), known))


def test_key_of_an_account_is_refused_unless_the_policy_says_otherwise() -> None:
    known = facts(key_of_account=True)
    assert codes(judged("{ec: [P-256]}", ec_key(), known)) == [ReasonCode.KEY_REUSE]
    allowed(judged("{ec: [P-256], reject: ca-key}", ec_key(), known))


def test_accounts_are_looked_up_only_where_the_policy_asks() -> None:
    assert load(policy()).policies[0].needs_account_keys
    assert not load(policy(keys="{ec: [P-256], reject: []}")).policies[0].needs_account_keys


def test_published_key_is_refused_by_the_builtin_list() -> None:
    key = described(ec.derive_private_key(RFC_9500_P256, ec.SECP256R1()))
    assert codes(judged("{ec: [P-256]}", key)) == [ReasonCode.KEY_WEAK]
    allowed(judged("{ec: [P-256], reject: roca}", key))


def test_listed_key_is_refused_by_its_hash() -> None:
    stolen = key_list("stolen", "spki-sha256", ec_key().spki_sha256.upper())
    bundle, known = with_lists("{ec: [P-256], blocklists: [builtin, stolen]}", stolen)
    decision = decide(bundle, request(), known=known)
    assert codes(decision) == [ReasonCode.KEY_WEAK]
    assert "'stolen'" in decision.reasons[0].message  # type: ignore[union-attr]
    allowed(decide(bundle, request(key=client_key(ec_key(1))), known=known))


@pytest.mark.parametrize("whole", [False, True])
def test_key_of_debians_list_is_refused_by_its_fingerprint(whole: bool) -> None:
    """CVE-2008-0166: openssl-blacklist has the end of a SHA-1 of what openssl prints."""
    private_key = weak_private_keys.close_primes_key()  # any key will do
    modulus = weak_private_keys.modulus(private_key)
    digest = hashlib.sha1(b"Modulus=%X\n" % modulus, usedforsecurity=False).hexdigest()
    assert debian_fingerprint(modulus) == digest[-20:]
    debian = key_list("debian", "debian-openssl", digest if whole else digest[-20:])
    bundle, known = with_lists("{rsa: {}, reject: debian-weak, blocklists: debian}", debian)
    key = client_key(described(private_key))
    assert codes(decide(bundle, request(key=key), known=known)) == [ReasonCode.KEY_WEAK]
    bundle, known = with_lists("{rsa: {}, reject: blocklist, blocklists: debian}", debian)
    allowed(decide(bundle, request(key=key), known=known))


def test_block_list_that_cannot_be_read_excludes_every_key() -> None:
    bundle, _ = with_lists("{ec: [P-256], blocklists: stolen}", key_list("stolen", "spki-sha256", "00" * 32))
    decision = decide(bundle, request(), known=facts())
    assert codes(decision) == [ReasonCode.KEY_WEAK]
    assert "cannot be read" in decision.reasons[0].message  # type: ignore[union-attr]


def test_key_of_one_subject_serves_for_no_other() -> None:
    bundle = load(policy(keys="{ec: [P-256], reuse: same-subject}"))
    same = facts(key_stands_in=(CertifiedNames("CN=device 1", frozenset({"dns:b.test"})),))
    allowed(decide(bundle, request("dns:a.test"), known=same))
    other = facts(key_stands_in=(CertifiedNames("CN=device 2", frozenset()),))
    decision = decide(bundle, request("dns:a.test"), known=other)
    assert codes(decision) == [ReasonCode.KEY_REUSE]
    assert decision.reasons[0].rule == "rules.keys.reuse"  # type: ignore[union-attr]
    assert "CN=device 2" in decision.reasons[0].message  # type: ignore[union-attr]


@pytest.mark.parametrize(("names", "fits"), [({"dns:a.test"}, True), ({"dns:a.test", "dns:b.test"}, False)])
def test_key_without_a_subject_serves_for_the_same_names_only(names: set[str], fits: bool) -> None:
    bundle = load(policy(keys="{ec: [P-256], reuse: same-subject}"))
    known = facts(key_stands_in=(CertifiedNames("", frozenset(names)),))
    decision = decide(bundle, request("dns:a.test", cn=None), known=known)
    assert (getattr(decision, "plan", None) is not None) is fits


def test_key_of_one_subject_is_still_nobody_elses() -> None:
    bundle = load(policy(keys="{ec: [P-256], reuse: same-subject}"))
    known = facts(key_known_to_others=True, key_stands_in=(CertifiedNames("CN=device 2", frozenset()),))
    assert codes(decide(bundle, request(), known=known)) == [ReasonCode.KEY_REUSE]


MISTAKES = {
    "unknown-word": (
        "keys: {ec: [P-256], reject: [rocca]}",
        "30:28: keys.reject.0: 'rocca' is not known; did you mean 'roca'?",
    ),
    "debian-without-list": (
        "keys: {ec: [P-256], reject: [debian-weak]}",
        "keys.reject: debian-weak needs the list of those keys, which is too large to be built in; name",
    ),
    "lists-without-effect": (
        "keys: {ec: [P-256], reject: [roca], blocklists: [builtin]}",
        "keys.blocklists: these lists are not looked into, since reject does not name blocklist; add it",
    ),
    "no-list": (
        "keys: {ec: [P-256], reject: [blocklist], blocklists: []}",
        "keys.blocklists: blocklist has no list to look into; write builtin or",
    ),
    "unknown-list": (
        "keys: {ec: [P-256], blocklists: [builtin, stolen]}",
        "keys.blocklists.1: there is no List 'stolen'",
    ),
    "unknown-list-alone": (
        "keys: {ec: [P-256], blocklists: stolen}",
        "keys.blocklists: there is no List 'stolen'",
    ),
    "server-keys": (
        "keys: {ec: [P-256], generate: server}",
        "keys: 'generate' (keys made by the gateway) is not available in this version: the requester",
    ),
    "misplaced-size": (
        "keys: {min: 2048, rsa: {}}",
        "keys: 'min' belongs to a type of key; write rsa: {min: 2048}",
    ),
    "reuse": (
        "keys: {ec: [P-256], reuse: same-subjects}",
        "keys.reuse: 'same-subjects' is not known; did you mean 'same-subject'?",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_in_what_is_rejected_is_told(case: str) -> None:
    keys, expected = MISTAKES[case]
    (line,) = complaints(HOUSE + policy(keys=keys.removeprefix("keys: ")))
    assert expected.partition(": ")[2] in line, line
    assert line.startswith("p.yaml:")


def test_list_of_other_things_is_no_block_list() -> None:
    names = "---\n" + key_list("names", "dns", "a.test")
    (line,) = complaints(HOUSE + policy(keys="{ec: [P-256], blocklists: [names]}") + names)
    assert "keys.blocklists.0: 'names' is a list of type dns; a list of keys has the type" in line
