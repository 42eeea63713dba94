"""The tests of whole policies as an administrator writes them: each speaks only of what it is about."""

from __future__ import annotations

from tests.unit.policy.embedded import results

PLACES = "".join(
    f"apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {{name: {name}}}\nprotocol: {protocol}\n"
    "backend: embedded\n---\n"
    for protocol, name in (("acme", "web"), ("scep", "network"), ("est", "line1"))
)

WEB = """\
apiVersion: pkigate/v1
kind: Policy
metadata: {name: web-servers-acme, owner: team-web}
priority: 100
match: {protocol: acme, endpoint: web, operation: enroll}
authenticate: {acme-account: {eab: required, groups: [web-team, ci-runners]}}
keys: {rsa: {min: 2048, max: 4096}, ec: [P-256, P-384]}
names:
  subject: first-dns
  groups:
    - name: public
      dns: {suffix: [shop.example.com, example.net], wildcard: allow, max_labels: 6}
    - name: intranet
      dns: {template: ["${account.label.site}.corp.example"], suffix: [corp.example]}
      ip: {cidr: [10.20.0.0/16, "2001:db8:20::/48"]}
extensions: {extended_key_usage: [serverAuth]}
validity: {default: 47d, max: 90d, client_may_request: true, backdate: 1h, jitter: 6h}
checks:
  - id: no-prod-from-ci
    expr: "!('ci-runners' in account.groups && san.dns.exists(n, n.endsWith('.shop.example.com')))"
    message: CI runners may only request staging names under shop.example.com
issue: {backend: embedded}
tests:
  - name: intranet ok
    request: {account: {groups: [web-team], label: {site: brno}}, csr: {dns: [app.corp.example]}}
    expect: {decision: allow, backend: embedded, eku: [serverAuth]}
  - name: mixed groups refused
    request: {account: {groups: [web-team], label: {site: brno}}, csr: {dns: [a.example.net, b.corp.example]}}
    expect: {decision: deny, rule: names.groups, acme_error: rejectedIdentifier}
  - name: weak key
    request: {account: {groups: [web-team]}, csr: {key: rsa-1024, dns: [a.example.net]}}
    expect: {decision: deny, rule: keys, code: key.size, acme_error: badCSR}
  - name: no production names from CI
    request: {account: {groups: [ci-runners]}, csr: {dns: [a.shop.example.com]}}
    expect: {decision: deny, rule: checks}
  - name: somebody else
    request: {account: {groups: [people]}, csr: {dns: [a.example.net]}}
    expect: {decision: deny, acme_error: unauthorized, rule: authenticate.acme-account.groups}
"""

NETWORK = """\
apiVersion: pkigate/v1
kind: Policy
metadata: {name: network-devices-scep-initial, owner: netops}
priority: 200
match: {protocol: scep, endpoint: network, operation: enroll, auth: challenge-dynamic}
authenticate:
  challenge: {accept: [dynamic], bind: [subject.serialNumber, subject.CN]}
keys: {rsa: {sizes: [2048, 3072]}}
names:
  subject:
    CN: {source: csr, required: true, allow: {regex: ['(rtr|sw)-[a-z]{3}[0-9]{2}-[0-9]{3}[.]net[.]example']}}
    serialNumber: {source: csr, required: true, allow: {list: network-inventory}}
    O: {source: fixed, value: Example Networks}
    OU: {source: template, value: "${challenge.attrs.site}"}
  dns: {template: ["${subject.CN}"], add: ["${subject.CN}"], max: 1}
extensions: {key_usage: [digitalSignature, keyEncipherment], extended_key_usage: [serverAuth, clientAuth]}
validity: {default: 1y, backdate: 1d}
limits: [{per: subject, active: 2, on_exceed: pend}]
approval: {when: limits.exceeded, required: 2, expires: 5d}
issue: {backend: embedded}
tests:
  - name: good router
    request:
      challenge: {valid: true, attrs: {site: brno}}
      csr: {key: rsa-2048, subject: {CN: rtr-brn01-001.net.example, serialNumber: FTX1234A0BC}}
      list: {network-inventory: [FTX1234A0BC]}
    expect:
      decision: allow
      subject: "CN=rtr-brn01-001.net.example,serialNumber=FTX1234A0BC,OU=brno,O=Example Networks"
      san: "dns:rtr-brn01-001.net.example"
  - name: replayed challenge
    request:
      challenge: {valid: false, reason: used}
      csr: {key: rsa-2048, subject: {CN: rtr-brn01-001.net.example, serialNumber: FTX1234A0BC}}
    expect: {decision: deny, scep_failinfo: badRequest}
  - name: a challenge for another router
    request:
      challenge: {attrs: {site: brno, CN: sw-brn01-001.net.example}}
      csr: {subject: {CN: rtr-brn01-001.net.example, serialNumber: FTX1234A0BC}}
    expect: {decision: deny, rule: authenticate.challenge.bind, scep_failinfo: badRequest}
  - name: not in the inventory
    request:
      challenge: {attrs: {site: brno}}
      csr: {subject: {CN: rtr-brn01-001.net.example, serialNumber: FTX0}}
    expect: {decision: deny, rule: names.subject, scep_failinfo: badRequest}
  - name: a third certificate of a router
    request:
      challenge: {attrs: {site: brno}}
      csr: {subject: {CN: rtr-brn01-001.net.example, serialNumber: FTX1234A0BC}}
      list: {network-inventory: [ftx1234a0bc]}
      limits: {exceeded: true}
    expect: {decision: pend}
---
apiVersion: pkigate/v1
kind: List
metadata: {name: network-inventory}
type: serial
entries: [NONE]
"""

FACTORY = """\
apiVersion: pkigate/v1
kind: Policy
metadata: {name: factory-iot-est-bootstrap, owner: manufacturing}
priority: 300
match: {protocol: est, endpoint: line1, operation: enroll, auth: mtls, source_ip: [10.80.0.0/16]}
authenticate:
  mtls:
    trust: own
    ignore_not_after: true
    extract:
      serial: {from: subject.serialNumber, regex: '^SN:([A-Z0-9]{10})$'}
      model: {from: san.hardwareModuleName.type}
  allow_list: {list: line-serials, fact: client.serial}
  pop_linking: required
keys: {ec: [P-256], reuse: deny}
names:
  subject:
    CN: {source: template, value: "${client.serial}"}
    serialNumber: {source: template, value: "${client.serial}"}
    O: {source: fixed, value: Example Factory}
  uri: {add: ["urn:dev:os:example-${client.model}-${client.serial}"], max: 1}
  cn_in_san: false
extensions: {extended_key_usage: [clientAuth]}
validity: {default: 2y, backdate: 10m}
issue: {backend: embedded}
tests:
  - name: known serial
    request:
      client: {trusted: true, serial: A1B2C3D4E5, model: GW200}
      csr: {key: ec-p256}
      list: {line-serials: [A1B2C3D4E5]}
    expect: {decision: allow, subject: "CN=A1B2C3D4E5,serialNumber=A1B2C3D4E5,O=Example Factory"}
  - name: unknown serial
    request: {client: {trusted: true, serial: ZZZZZZZZZZ, model: GW200}, csr: {key: ec-p256}}
    expect: {decision: deny, http: 403}
---
apiVersion: pkigate/v1
kind: List
metadata: {name: line-serials}
type: serial
entries: [NONE]
"""


def _passed(text: str) -> list[str]:
    found = results(PLACES + text)
    assert [differs for _, _, differs in found if differs] == []
    return [verdict for _, verdict, _ in found]


def test_tests_of_web_servers_by_acme_pass() -> None:
    assert _passed(WEB) == ["allow", "deny", "deny", "deny", "deny"]


def test_tests_of_network_devices_by_scep_pass() -> None:
    assert _passed(NETWORK) == ["allow", "deny", "deny", "deny", "pend"]


def test_tests_of_a_factory_by_est_pass() -> None:
    assert _passed(FACTORY) == ["allow", "deny"]
