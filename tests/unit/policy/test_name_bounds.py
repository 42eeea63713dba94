"""What a list of suffixes, addresses and networks of a credential holds."""

from __future__ import annotations

import pytest

from gateway.model.decision import Allow
from gateway.model.reasons import ReasonCode
from gateway.policy.name_bound import read_bound
from tests.unit.policy.sample import basic_evidence, codes, decide, load, policy, request, san

ENTRIES = ("a.test", "*.b.test", ".C.test", "10.1.2.3", "10.2.0.0/16", "fd00::/8", "10.3.4.5/8", "192.0.2")
HELD = {
    "dns:a.test": True,
    "dns:x.y.a.test": True,
    "dns:*.a.test": True,
    "dns:xa.test": False,
    "dns:b.test": True,
    "dns:c.test": True,
    "dns:test": False,
    "email:me@a.test": True,
    "email:me@d.test": False,
    "ip:10.1.2.3": True,
    "ip:10.1.2.4": False,
    "ip:10.2.255.1": True,
    "ip:10.3.4.5": False,  # what was meant by 10.3.4.5/8 is not guessed
    "ip:fd00::7": True,
    "ip:fe80::7": False,
    "uri:https://a.test/": False,
}


@pytest.mark.parametrize("name", HELD)
def test_name_is_held_by_an_entry_of_its_own_kind(name: str) -> None:
    assert read_bound(ENTRIES).holds(san(name)) is HELD[name]


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ("a.test", True),
        ("A.Test", True),
        ("10.1.2.3", True),
        ("10.9.9.9", False),
        ("fd00::7", True),
        ("fd00::7%eth0", False),
        ("device 1", False),
    ],
)
def test_common_name_is_held_as_a_whole(value: str, held: bool) -> None:
    assert read_bound(ENTRIES).holds_text(value) is held


def test_empty_list_holds_nothing() -> None:
    assert not read_bound(()).holds(san("dns:a.test"))
    assert str(read_bound(())) == "nothing"
    assert not read_bound(("", ".")).holds(san("dns:a.test"))


def test_credential_with_addresses_may_ask_for_these_alone() -> None:
    rules = "{subject: {CN: {source: csr, allow: {plain: true}}}, ip: {cidr: 10.0.0.0/8}, cn_in_san: false}"
    bundle = load(policy(names=rules))
    evidence = basic_evidence(names=("10.1.0.0/16",))
    assert isinstance(decide(bundle, request("ip:10.1.2.3", cn=None), evidence), Allow)
    refused = decide(bundle, request("ip:10.1.2.3", "ip:10.2.2.3", cn=None), evidence)
    assert codes(refused) == [ReasonCode.AUTH_CREDENTIAL_SCOPE]
    assert "'10.2.2.3' is beyond this credential; it may ask for addresses in 10.1.0.0/16" in str(refused)
