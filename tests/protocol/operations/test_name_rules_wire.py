"""Name rules over the wire: subjects by template, patterns and names of rare kinds, by EST and by CMP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.support import cmp_lab, pki, policies
from tests.support import gateway as gateways
from tests.support.answers import dns_names, issued, refused
from tests.support.cmp_client import CmpClient
from tests.support.cmp_wire import Pbm
from tests.support.est_client import EstClient
from tests.support.gateway import Gateway

UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
DEVICE: policies.Document = {
    "subject": {
        "CN": {"source": "template", "value": "${client.name}"},
        "OU": {"source": "template", "value": "${client.label.site}"},
        "O": {"source": "fixed", "value": "Example Factory"},
    },
    "dns": {
        "allow": {"template": ["${client.name}.${client.label.site|slug}.test"]},
        "add": ["${client.name}.${client.label.site|slug}.test"],
        "max": 1,
    },
    "uri": {"add": ["urn:dev:os:example-${client.label.site}-${client.name}"]},
    "cn_in_san": False,
}
PATTERNS: policies.Document = {
    "subject": {"CN": {"source": "csr", "allow": {"regex": ["(rtr|sw)-[a-z]{3}[0-9]{2}"]}}},
    "dns": {"glob": ["*.plant.test"], "regex": ["gw-[0-9]+\\.test"]},
    "cn_in_san": False,
}
PEOPLE: policies.Document = {
    "subject": {"CN": {"source": "csr", "allow": {"plain": True}}},
    "other": {"max": 1, "allow": {"upn": {"suffix": ["corp.test"]}}},
    "directory": {"under": ["O=Example"], "attributes": {"CN": {"glob": ["badge-*"]}}},
    "registered_id": {"under": ["1.3.6.1.4.1.55555"]},
    "cn_in_san": False,
}
RULES = {"device": DEVICE, "patterns": PATTERNS, "people": PEOPLE}


def _documents() -> Iterator[policies.Document]:
    for number, (name, rules) in enumerate(RULES.items()):
        yield policies.endpoint(name)
        yield policies.enroll_policy(f"est-{name}", name, priority=10 + number, names=rules)
        yield cmp_lab.cmp_endpoint(name)
        yield cmp_lab.enroll_policy(f"cmp-{name}", name, 20 + number, {"mac": {}}, names=rules)


@dataclass(frozen=True)
class Names:
    """The gateway with these rules, and a device at the site Brno that may ask by either protocol."""

    gateway: Gateway
    password: str
    cmp: CmpClient

    def est(self, endpoint: str, **more: Any) -> EstClient:
        known = {"user": "press-7", "password": self.password}
        return self.gateway.est_client(**{**known, "endpoint": endpoint, **more})

    def at(self, endpoint: str) -> CmpClient:
        return self.cmp.having(path=f"/.well-known/cmp/p/{endpoint}")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    bundle = policies.bundle(*_documents())
    with gateways.running(tmp_path_factory.mktemp("names"), policies=bundle) as gateway:
        site = ("--label", "site=Brno North")
        password = gateway.cli_json("credential", "add", "est", "--user", "press-7", *site)["secret"]
        secret = gateway.cli_json("credential", "add", "cmp-secret", "--ref", "press-7", *site)["secret"]
        client = CmpClient(gateway.quickstart["http"], Pbm("press-7", secret.encode()))
        yield Names(gateway, password, client)
        client.close()


def _sans(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def _asking(*general_names: x509.GeneralName) -> Sequence[tuple[x509.ExtensionType, bool]]:
    return [(x509.SubjectAlternativeName(general_names), False)]


def _upn(text: str, tag: int = 0x0C) -> x509.OtherName:
    return x509.OtherName(UPN, pki.tlv(tag, text.encode()))


def _badge(name: str) -> x509.DirectoryName:
    attributes = [(NameOID.ORGANIZATION_NAME, "Example"), (NameOID.COMMON_NAME, name)]
    return x509.DirectoryName(x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes]))


def test_est_device_gets_the_names_that_its_credential_makes(names: Names) -> None:
    csr_der = pki.csr(pki.key(), cn="whatever it says")
    certificate = issued(names.est("device").simple_enroll(csr_der))
    assert certificate.subject.rfc4514_string() == "O=Example Factory,OU=Brno North,CN=press-7"
    assert dns_names(certificate) == ["press-7.brno-north.test"]
    uris = _sans(certificate).get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == ["urn:dev:os:example-Brno%20North-press-7"]


def test_est_device_without_a_label_is_refused_and_told_which_word_is_missing(names: Names) -> None:
    secret = names.gateway.cli_json("credential", "add", "est", "--user", "press-9")["secret"]
    client = names.est("device", user="press-9", password=secret)
    answer = client.simple_enroll(pki.csr(pki.key(), cn="x"))
    refused(answer, 400, "name.missing")
    assert "client.label.site has no value in this request" in answer.text


def test_est_name_of_another_device_is_refused(names: Names) -> None:
    csr_der = pki.csr(pki.key(), cn="x", sans=["press-8.brno-north.test"])
    refused(names.est("device").simple_enroll(csr_der), 400, "name.not-allowed")


@pytest.mark.parametrize("host", ["a.plant.test", "gw-17.test", "GW-17.test"])
def test_est_name_that_fits_a_pattern_is_issued(names: Names, host: str) -> None:
    certificate = issued(names.est("patterns").simple_enroll(pki.csr(pki.key(), cn="rtr-brn01", sans=[host])))
    assert dns_names(certificate) == [host.lower()]


@pytest.mark.parametrize(
    ("cn", "host", "code"),
    [
        ("rtr-brn01", "b.a.plant.test", "name.not-allowed"),
        ("rtr-brn01", "gw-17x.test", "name.not-allowed"),
        ("rtr-brn01", "*.plant.test", "name.wildcard"),
        ("rtr-brn01x", "a.plant.test", "subject.cn"),
    ],
)
def test_est_name_that_fits_no_pattern_is_refused(names: Names, cn: str, host: str, code: str) -> None:
    refused(names.est("patterns").simple_enroll(pki.csr(pki.key(), cn=cn, sans=[host])), 400, code)


def test_est_rare_names_are_issued_as_they_were_judged(names: Names) -> None:
    registered = x509.RegisteredID(x509.ObjectIdentifier("1.3.6.1.4.1.55555.7"))
    wanted = _asking(_upn("Anna.Ek@CORP.test"), _badge("badge-17"), registered)
    certificate = issued(
        names.est("people").simple_enroll(pki.csr(pki.key(), cn="Anna Ek", extensions=wanted))
    )
    assert set(_sans(certificate)) == {_upn("Anna.Ek@corp.test"), _badge("badge-17"), registered}


RARE = {
    "upn-elsewhere": (_upn("anna@evil.test"), "name.not-allowed"),
    "upn-as-ia5": (_upn("anna@corp.test", 0x16), "name.malformed"),
    "upn-with-null": (_upn("anna\0@corp.test"), "name.malformed"),
    "other-type": (x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01x"), "name.not-allowed"),
    "badge": (_badge("boss"), "name.not-allowed"),
    "arc": (x509.RegisteredID(x509.ObjectIdentifier("1.3.6.1.4.1.555556")), "name.not-allowed"),
    "dns": (x509.DNSName("a.test"), "name.kind"),
}


@pytest.mark.parametrize("case", RARE)
def test_est_rare_name_that_no_rule_allows_is_refused(names: Names, case: str) -> None:
    name, code = RARE[case]
    answer = names.est("people").simple_enroll(pki.csr(pki.key(), cn="Anna Ek", extensions=_asking(name)))
    refused(answer, 400, code)


def test_cmp_device_gets_the_names_that_its_credential_makes(names: Names) -> None:
    reply = names.at("device").send("ir", cmp_lab.ir(pki.key(), "whatever", sans=()))
    assert reply.outcome == "grantedWithMods", reply.statuses  # RFC 9810 5.2.3: not all is as it was asked
    assert reply.certificate.subject.rfc4514_string() == "O=Example Factory,OU=Brno North,CN=press-7"
    assert dns_names(reply.certificate) == ["press-7.brno-north.test"]


def test_cmp_template_with_a_principal_is_issued(names: Names) -> None:
    wanted = _asking(_upn("anna@corp.test"))
    asked = cmp_lab.ir(pki.key(), "Anna Ek", sans=(), extensions=wanted)
    reply = names.at("people").send("ir", asked)
    assert reply.outcome == "accepted", reply.statuses
    assert list(_sans(reply.certificate)) == [_upn("anna@corp.test")]


@pytest.mark.parametrize("case", sorted(RARE))
def test_cmp_rare_name_that_no_rule_allows_is_bad_cert_template(names: Names, case: str) -> None:
    asked = cmp_lab.ir(pki.key(), "Anna Ek", sans=(), extensions=_asking(RARE[case][0]))
    reply = names.at("people").send("ir", asked)
    assert reply.outcome == "badCertTemplate", reply.statuses
    assert not reply.certificates
