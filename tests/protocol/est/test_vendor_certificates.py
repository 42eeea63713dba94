"""Devices that bootstrap with the certificate of their maker (RFC 7030 section 3.3.2; IEEE 802.1AR): what the
policy reads in it stands in what they get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.support import cmp_bodies, database, pki, policies
from tests.support import gateway as gateways
from tests.support.answers import common_name, issued, refused
from tests.support.cmp_client import CmpClient, Reply
from tests.support.cmp_lab import IMPLICIT, cmp_endpoint, enroll_policy
from tests.support.cmp_wire import Signed
from tests.support.devices import device_name
from tests.support.est_client import Answer, EstClient
from tests.support.gateway import Gateway
from tests.support.vendor import HARDWARE_TYPE, Maker

SERIALS = ("A1B2C3D4E5", "0000000007", "0000000008", "0000000009")
CODE = "auth.requirement"


def _documents(maker: Maker) -> list[policies.Document]:
    mtls: dict[str, Any] = {
        "trust": "vendor",
        "ignore_not_after": True,
        "require": {"issuer": {"CN": "^ACME Devices IDevID CA [0-9]+$"}},
        "extract": {
            "serial": {"from": "subject.serialNumber", "regex": "^SN:([A-Z0-9]{10})$"},
            "model": {"from": "san.hardwareModuleName.type"},
        },
    }
    of_client = {"source": "template", "value": "${client.serial}"}
    names = {
        "subject": {"CN": of_client, "serialNumber": of_client, "O": {"source": "drop"}},
        "uri": {"add": ["urn:dev:os:example-${client.model}-${client.serial}"], "max": 1},
        "cn_in_san": False,
    }
    bootstrap = {"mtls": mtls, "allow_list": "line-serials"}
    dated = {"mtls": {**mtls, "ignore_not_after": False}}
    return [
        policies.own_certificates(),
        policies.trust_store("vendor", maker.root.certificate_pem),
        policies.document("List", "line-serials", type="serial", entries=list(SERIALS), single_use=True),
        policies.endpoint("line1"),
        policies.enroll_policy("bootstrap", "line1", priority=10, authenticate=bootstrap, names=names),
        policies.endpoint("dated"),
        policies.enroll_policy("dated", "dated", priority=20, authenticate=dated, names=names),
        cmp_endpoint("ran"),
        enroll_policy("ran", "ran", 30, {"signature": mtls}, names={**names, "on_extra": "drop"}),
    ]


@dataclass(frozen=True, slots=True)
class Plant:
    gateway: Gateway
    maker: Maker

    def client(self, identity: pki.Identity, endpoint: str = "line1") -> EstClient:
        return self.gateway.est_client(endpoint=endpoint, user=None, password=None, identity=identity)

    def ask(self, identity: pki.Identity, endpoint: str = "line1") -> Answer:
        """The device asks with an empty CSR: it does not know what it will be called."""
        empty = pki.csr(pki.key(), subject=x509.Name([]))
        return self.client(identity, endpoint).simple_enroll(empty)

    def ask_by_cmp(self, identity: pki.Identity) -> Reply:
        """An ir that the device signs with the key of its maker's certificate."""
        url = self.gateway.quickstart["http"]
        client = CmpClient(url, Signed(identity)).having(path="/.well-known/cmp/p/ran")
        body = cmp_bodies.requests(cmp_bodies.request(pki.key(), device_name("cmp")))
        try:
            return client.send("ir", body, generalInfo=IMPLICIT)
        finally:
            client.close()

    def decision(self) -> dict[str, Any]:
        """What was recorded last."""
        newest = self.gateway.cli_json("request", "list", "--limit", "1")["requests"][0]
        found: dict[str, Any] = self.gateway.cli_json("request", "show", newest["id"])
        return found


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    maker = Maker()
    bundle = policies.bundle(*_documents(maker))
    with gateways.running(tmp_path_factory.mktemp("plant"), policies=bundle) as gateway:
        yield Plant(gateway, maker)


def _refused(plant: Plant, identity: pki.Identity, *words: str, endpoint: str = "line1") -> None:
    before = database.certificate_count(plant.gateway.sql_url)
    answer = plant.ask(identity, endpoint)
    refused(answer, 403, CODE)
    for word in words:
        assert word in answer.text
    assert database.certificate_count(plant.gateway.sql_url) == before


@pytest.mark.parametrize("serial", SERIALS[:2])
def test_what_is_read_in_the_makers_certificate_stands_in_the_new_one(plant: Plant, serial: str) -> None:
    certificate = issued(plant.ask(plant.maker.device(serial)))
    for oid in (NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER):
        assert [part.value for part in certificate.subject.get_attributes_for_oid(oid)] == [serial]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == [f"urn:dev:os:example-{HARDWARE_TYPE}-{serial}"]


def test_facts_stand_in_the_record_of_the_decision(plant: Plant) -> None:
    issued(plant.ask(plant.maker.device(SERIALS[2])))
    (credential,) = plant.decision()["decision"]["credentials"]
    assert credential["facts"] == {"serial": SERIALS[2], "model": HARDWARE_TYPE}


def test_serial_number_of_another_form_is_refused_and_named_with_its_rule(plant: Plant) -> None:
    _refused(plant, plant.maker.device("A1B2"), "subject.serialNumber", "'SN:A1B2'", "^SN:([A-Z0-9]{10})$")
    (reason,) = plant.decision()["decision"]["reasons"]
    assert reason["rule"] == "bootstrap.authenticate.mtls.extract.serial"
    assert "bundle.yaml:" in reason["where"]


def test_certificate_without_the_fact_is_refused(plant: Plant) -> None:
    _refused(plant, plant.maker.device(SERIALS[0], module=None), "has no san.hardwareModuleName.type")


def test_device_of_another_line_is_refused(plant: Plant) -> None:
    line = plant.maker.line("ACME Toys CA 1")
    _refused(plant, plant.maker.device(SERIALS[0], line=line), "whose CN matches", "'ACME Toys CA 1'")


def test_device_that_is_not_listed_is_refused(plant: Plant) -> None:
    device = plant.maker.device("ZZZZZZZZZZ")
    _refused(plant, device, "client.serial 'ZZZZZZZZZZ' does not stand in the list line-serials")


def test_entry_of_the_list_serves_one_device_once(plant: Plant) -> None:
    issued(plant.ask(plant.maker.device(SERIALS[3])))
    refused(plant.ask(plant.maker.device(SERIALS[3])), 403, "auth.credential-scope")


def test_device_whose_line_has_ended_is_refused_where_ends_count(plant: Plant) -> None:
    refused(plant.ask(plant.maker.device(SERIALS[0]), "dated"), 403, "auth.certificate-expired")
    living = plant.maker.line(ends=timedelta(days=30))
    assert issued(plant.ask(plant.maker.device(SERIALS[0], line=living), "dated"))


def test_other_makers_device_is_refused(plant: Plant) -> None:
    refused(plant.ask(Maker().device(SERIALS[0])), 403, "auth.certificate-untrusted")


def test_what_is_read_stands_in_the_certificate_over_cmp_too(plant: Plant) -> None:
    """The signature of an ir with the maker's certificate (RFC 9483 section 4.1.1)."""
    reply = plant.ask_by_cmp(plant.maker.device("CMP0000001"))
    assert reply.outcome == "grantedWithMods", reply.statuses
    assert common_name(reply.certificate) == "CMP0000001"


def test_serial_number_of_another_form_is_not_authorized_over_cmp(plant: Plant) -> None:
    reply = plant.ask_by_cmp(plant.maker.device("A1"))
    assert reply.outcome == "notAuthorized", reply.statuses
    assert "'SN:A1'" in reply.status.text
