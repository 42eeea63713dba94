"""The rules for names of four whole policies: web servers, network devices, a factory, base stations."""

from __future__ import annotations

from dataclasses import replace

from gateway.model.evidence import Evidence
from gateway.model.reasons import ReasonCode
from tests.unit.policy.acme_sample import account, acme_bundle, acme_policy, ordered, previewed, proof
from tests.unit.policy.name_sample import READS, Given, client, planned
from tests.unit.policy.sample import codes, decide, facts, load, policy, request, subject

WEB = """
  subject: first-dns
  groups:
    - name: public
      dns: {suffix: [shop.example.com, example.net], wildcard: allow, max_labels: 6}
    - name: intranet
      dns: {template: ["${account.label.site}.corp.example"], suffix: [corp.example]}
      ip: {cidr: [10.20.0.0/16, "2001:db8:20::/48"]}
  dns: {max: 50}
  ip: {max: 4}
  total_max: 50
"""
NETWORK = """
  subject:
    CN:
      source: csr
      required: true
      allow: {regex: ['^(rtr|sw|fw)-[a-z]{3}[0-9]{2}-[0-9]{3}\\.net\\.example$']}
    serialNumber: {source: csr, required: true, allow: {list: network-inventory}}
    O: {source: fixed, value: Example Networks}
    OU: {source: template, value: "${client.label.site}"}
    unstructuredName: {source: drop}
  dns: {allow: {template: ["${subject.CN}"]}, add: ["${subject.CN}"], max: 1, on_extra: deny}
  ip: {allow: {cidr: [10.0.0.0/8]}, max: 2}
"""
INVENTORY = """\
apiVersion: pkigate/v1
kind: List
metadata: {name: network-inventory}
type: serial
entries: [FTX1234A0BC]
"""
STATIONS = """
  subject:
    CN: {source: template, value: "${client.serial}.${client.vendor|slug}.ran.example"}
    O: {source: fixed, value: Example Mobile}
  dns: {add: ["${client.serial}.${client.vendor|slug}.ran.example"], on_extra: drop, max: 1}
  ip: {allow: {cidr: ["2001:db8:500::/40"]}, max: 1}
"""


def _at(site: str, *names: str) -> Evidence:
    evidence = account(*(proof(name, "dns-01") for name in names))
    return Evidence((replace(evidence.credentials[0], labels=(("site", site),)),))


def test_web_servers_name_one_group_at_a_time() -> None:
    rules = acme_bundle(acme_policy(names=WEB))
    inside = ("dns:app.corp.example", "dns:brno.corp.example")
    assert planned(decide(rules, ordered(*inside), _at("brno", *inside))).sans
    assert previewed(rules, *inside).reasons == ()
    wild = "dns:*.shop.example.com"
    assert planned(decide(rules, ordered(wild), _at("brno", wild))).sans
    mixed = previewed(rules, "dns:a.example.net", "dns:b.corp.example")
    assert [reason.code for reason in mixed.reasons] == [ReasonCode.NAME_NOT_ALLOWED]
    assert mixed.reasons[0].rule == "web.names.groups"
    outside = previewed(rules, "dns:*.corp.example")
    assert [reason.code for reason in outside.reasons] == [ReasonCode.NAME_WILDCARD]


def test_order_is_held_against_the_labels_of_its_account() -> None:
    rules = acme_bundle(
        acme_policy(names='{subject: first-dns, dns: {template: ["${account.label.site}.corp.example"]}}')
    )
    assert previewed(rules, "dns:brno.corp.example", evidence=_at("brno")).reasons == ()
    for evidence in (_at("oslo"), Evidence()):
        refused = previewed(rules, "dns:brno.corp.example", evidence=evidence)
        assert [reason.code for reason in refused.reasons] == [ReasonCode.NAME_NOT_ALLOWED]


def test_network_device_is_named_by_pattern_and_inventory() -> None:
    rules = load(policy(names=NETWORK), INVENTORY)
    known = facts(lists=Given({"network-inventory": frozenset({"FTX1234A0BC"})}))
    who = Evidence((replace(client().credentials[0], labels=(("site", "brno"),)),))
    cn = ("CN", "rtr-brn01-001.net.example")
    device = subject(cn, ("serialNumber", "FTX1234A0BC"), ("unstructuredName", "rtr.local"))
    plan = planned(decide(rules, request("ip:10.1.2.3", name=device), who, known))
    assert str(plan.subject) == (
        "CN=rtr-brn01-001.net.example,serialNumber=FTX1234A0BC,O=Example Networks,OU=brno"
    )
    assert [str(name) for name in plan.sans] == ["ip:10.1.2.3", "dns:rtr-brn01-001.net.example"]
    stolen = subject(cn, ("serialNumber", "FTX0000000"))
    assert codes(decide(rules, request(name=stolen), who, known)) == [ReasonCode.SUBJECT_ATTRIBUTE]
    other = request("dns:rtr-brn01-002.net.example", name=device)
    assert codes(decide(rules, other, who, known)) == [ReasonCode.NAME_NOT_ALLOWED]


def test_base_station_gets_its_own_name_whatever_it_asks_for() -> None:
    rules = load(policy(names=STATIONS, authenticate=READS))
    who = client(serial="E7", vendor="Big Radio AB")
    plan = planned(decide(rules, request("dns:evil.com", "ip:2001:db8:500::1", cn="mine"), who))
    assert str(plan.subject) == "CN=E7.big-radio-ab.ran.example,O=Example Mobile"
    assert [str(name) for name in plan.sans] == ["ip:2001:db8:500::1", "dns:e7.big-radio-ab.ran.example"]
    dotted = decide(rules, request(cn=None), client(serial="E7.evil", vendor="x"))
    assert ReasonCode.NAME_MALFORMED in codes(dotted)
