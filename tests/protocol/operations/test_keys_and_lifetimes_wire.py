"""Keys that policy rejects, lifetimes, renewals and extensions, over every protocol's own wire."""

from __future__ import annotations

import hashlib
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID

from tests.support import acme_policies, cmp_lab, database, pki, policies, scep_lab, weak_private_keys
from tests.support.acme_client import certificate_id
from tests.support.acme_lab import Lab, endpoint, new_name, running_lab
from tests.support.answers import issued, refused
from tests.support.cmp_client import CmpClient
from tests.support.cmp_wire import Pbm, Signed
from tests.support.devices import device_name, enroll_device
from tests.support.est_client import EstClient
from tests.support.scep_answer import BAD_REQUEST
from tests.support.scep_answer import refused as scep_refused
from tests.support.scep_client import Device, ScepServer

DEADLINE_S = 60
RFC_9500_P256 = 0xE6CB5BDD80AA45AE9C95E8C15476679FFEC953C16851E711E743939589C64FC1
WEAK = {
    "roca": weak_private_keys.roca_key,
    "close-primes": weak_private_keys.close_primes_key,
    "small-divisor": weak_private_keys.small_divisor_key,
}
STOLEN_KEY = ec.derive_private_key(4711, ec.SECP256R1())
CRL_URL, OCSP_URL = "http://pki.example.test/line.crl", "http://ocsp.example.test/"


def _documents() -> list[policies.Document]:
    enroll, renew, est = policies.enroll_policy, policies.renew_policy, policies.endpoint
    spki_sha256 = hashlib.sha256(pki.spki_der(STOLEN_KEY)).hexdigest()
    stolen = {"rsa": {}, "ec": ["P-256"], "blocklists": ["builtin", "stolen"], "reuse": "allow"}
    extensions = {
        "cdp": CRL_URL,
        "aia": {"ocsp": [OCSP_URL]},
        "other": [{"oid": "1.3.6.1.4.1.55555.1", "value": "DAVwbGFudA=="}],
    }
    return [
        policies.own_certificates(),
        est("default"),
        enroll("plain", "default", priority=10),
        renew("at-once", "default", priority=11, renewal={"revoke_previous": "at-once"}),
        est("later"),
        enroll("later", "later", priority=20, validity={"default": "90d", "jitter": "6h"}),
        renew("later-again", "later", priority=21, renewal={"revoke_previous": "14d"}),
        est("early"),
        enroll("early", "early", priority=22),
        renew("early-again", "early", priority=23, renewal={"window_percent": 33}),
        est("open"),
        enroll("open", "open", priority=24),
        renew("open-again", "open", priority=25, renewal={"window_percent": 100}),
        est("listed"),
        policies.document("List", "stolen", type="spki-sha256", entries=[spki_sha256]),
        enroll("listed", "listed", priority=30, keys=stolen),
        est("one-name"),
        enroll("one-name", "one-name", priority=40, keys={"ec": ["P-256"], "reuse": "same-subject"}),
        est("extended"),
        enroll("extended", "extended", priority=50, extensions=extensions),
        est("bare"),
        enroll("bare", "bare", priority=60, extensions={"cdp": "none", "aia": "none"}),
        scep_lab.endpoint("scep", ca="issuing"),
        scep_lab.first("scep", "scep", 70, issue=[{"backend": "embedded"}]),
        cmp_lab.cmp_endpoint("cmp"),
        cmp_lab.enroll_policy("cmp", "cmp", 80, {"mac": {}}),
        cmp_lab.renew_policy("cmp-again", "cmp", 81, renewal={"revoke_previous": "at-once"}),
        endpoint("default"),
        acme_policies.acme_policy("web", priority=90, renewal={"window": "30d"}),
        endpoint("silent"),
        acme_policies.acme_policy("silent", "silent", priority=91, renewal={"window": "30d", "ari": "off"}),
    ]


@dataclass(frozen=True, slots=True)
class House:
    """One gateway that speaks every protocol."""

    acme: Lab
    cmp: CmpClient
    challenge: str

    def est(self, label: str = "default") -> EstClient:
        return self.acme.gateway.est_client(endpoint=label)

    def crl(self) -> x509.CertificateRevocationList:
        with urllib.request.urlopen(self.acme.gateway.quickstart["ca"]["crl"], timeout=60) as answer:
            return x509.load_der_x509_crl(answer.read())

    def wait_for_entry(self, certificate: x509.Certificate) -> x509.RevokedCertificate:
        """The line of this certificate on the CRL, once it is there."""
        ends = time.monotonic() + DEADLINE_S
        while time.monotonic() < ends:
            entry = self.crl().get_revoked_certificate_by_serial_number(certificate.serial_number)
            if entry is not None:
                return entry
            time.sleep(0.2)
        raise AssertionError(f"{certificate.serial_number:x} is not on the CRL")

    def rows(self, query: str) -> list[Any]:
        return list(database.rows(self.acme.gateway.sql_url, query))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_lab(tmp_path_factory.mktemp("keys"), docs=_documents()) as lab:
        gateway = lab.gateway
        secret = gateway.cli_json("credential", "add", "cmp-secret", "--ref", "lab")["secret"]
        challenge = gateway.cli_json("credential", "add", "scep-challenge", "--static")["challenge"]
        mac = Pbm("lab", secret.encode())
        client = CmpClient(gateway.quickstart["http"], mac).having(path="/.well-known/cmp/p/cmp")
        try:
            yield House(lab, client, str(challenge))
        finally:
            client.close()


@pytest.mark.parametrize("weak", WEAK)
def test_weak_key_is_refused_by_est(house: House, weak: str) -> None:
    csr_der = pki.device_csr(WEAK[weak](), device_name())
    refused(house.est().simple_enroll(csr_der), 400, "key.weak")


@pytest.mark.parametrize("weak", WEAK)
def test_weak_key_is_refused_by_acme(house: House, weak: str) -> None:
    order = house.acme.account().ordered([new_name()]).ready(house.acme.http)
    document = order.finalize(order.csr(WEAK[weak]())).refused(400, "badCSR")
    assert "make a new key pair" in str(document)
    order.certified()  # the order stands, and another key is taken


@pytest.mark.parametrize("weak", WEAK)
def test_weak_key_is_refused_by_cmp(house: House, weak: str) -> None:
    reply = house.cmp.send("ir", cmp_lab.ir(WEAK[weak](), device_name("cmp")))
    assert (reply.body_name, reply.outcome) == ("ip", "badCertTemplate")
    assert "make a new key pair" in str(reply.status.text)
    assert house.cmp.send("ir", cmp_lab.ir(pki.key(), device_name("cmp"))).outcome == "accepted"


def test_weak_key_is_refused_by_scep(house: House) -> None:
    url = f"{house.acme.gateway.quickstart['http']}/scep/scep"
    server = ScepServer(url).learned()
    try:
        reply = Device(server, weak_private_keys.close_primes_key()).enrol(house.challenge)
        scep_refused(reply, BAD_REQUEST, "key.weak")
        Device(server, pki.shared_key("RSA-2048")).enrolled(house.challenge)
    finally:
        server.close()


def test_published_key_is_refused(house: House) -> None:
    key = ec.derive_private_key(RFC_9500_P256, ec.SECP256R1())
    refused(house.est().simple_enroll(pki.device_csr(key, device_name())), 400, "key.weak")


def test_listed_key_is_refused_and_another_is_certified(house: House) -> None:
    client = house.est("listed")
    refused(client.simple_enroll(pki.device_csr(STOLEN_KEY, device_name())), 400, "key.weak")
    enroll_device(client)


def test_key_of_an_acme_account_is_refused_by_other_protocols(house: House) -> None:
    key = house.acme.account().key
    refused(house.est().simple_enroll(pki.device_csr(key, device_name())), 400, "key.reuse")
    reply = house.cmp.send("ir", cmp_lab.ir(key, device_name("cmp")))
    assert reply.outcome == "badCertTemplate"


def test_key_of_one_name_is_refused_for_another(house: House) -> None:
    client, key, host = house.est("one-name"), pki.key(), device_name()
    issued(client.simple_enroll(pki.device_csr(key, host)))
    refused(client.simple_enroll(pki.device_csr(key, device_name())), 400, "key.reuse")
    again = pki.csr(key, cn=host, sans=[host, device_name()])
    issued(client.simple_enroll(again))


def test_jitter_spreads_the_ends_and_a_key_keeps_its_own(house: House) -> None:
    client, key, host = house.est("later"), pki.key(), device_name()
    lives = []
    for private_key in (key, *(pki.key() for _ in range(7))):
        leaf = issued(client.simple_enroll(pki.device_csr(private_key, device_name())))
        lives.append(leaf.not_valid_after_utc - leaf.not_valid_before_utc)
    whole = timedelta(days=90, minutes=5)
    assert all(whole - timedelta(hours=6) <= life <= whole for life in lives)
    assert len(set(lives)) > 4
    leaf = issued(client.simple_enroll(pki.device_csr(key, host)))
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == lives[0]


def test_renewed_certificate_is_revoked_at_once_where_the_policy_says_so(house: House) -> None:
    """The CRL shows it as superseded, and the new one is good."""
    client, host = house.est(), device_name()
    old = enroll_device(client, host)
    answer = client.having(user=None, identity=old).simple_reenroll(pki.device_csr(pki.key(), host))
    new = issued(answer)
    entry = house.wait_for_entry(old.certificate)
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value
    assert reason.reason is x509.ReasonFlags.superseded
    assert house.crl().get_revoked_certificate_by_serial_number(new.serial_number) is None
    events = house.rows("SELECT actor FROM audit WHERE action = 'certificate.supersede'")
    assert {*events} == {("system",)}


def test_updated_certificate_is_revoked_once_the_new_one_is_confirmed(house: House) -> None:
    """CMP: until the certConf comes nothing may be taken from the device."""
    key, host = pki.key(), device_name("cmp")
    first = house.cmp.transaction()
    old = first.send("ir", cmp_lab.ir(key, host)).certificate
    assert first.confirm(old).body_name == "pkiconf"
    second = house.cmp.having(protection=Signed(pki.Identity(old, key))).transaction()
    new = second.send("kur", cmp_lab.ir(pki.key(), host)).certificate
    query = f"SELECT count(*) FROM job JOIN request ON dedup_key = request.id WHERE subject LIKE '%{host}' "
    assert house.rows(query + "AND kind = 'revoke-previous'") == [(0,)]
    assert second.confirm(new).body_name == "pkiconf"
    house.wait_for_entry(old)
    assert house.crl().get_revoked_certificate_by_serial_number(new.serial_number) is None


def test_renewed_certificate_is_good_until_its_time_has_come(house: House) -> None:
    client, host = house.est("later"), device_name()
    old = enroll_device(client, host)
    before = time.time()
    issued(client.having(user=None, identity=old).simple_reenroll(pki.device_csr(pki.key(), host)))
    ((run_at,),) = house.rows("SELECT run_at FROM job WHERE kind = 'revoke-previous' AND state = 'ready'")
    assert before + 14 * 86_400 - 1 <= run_at <= time.time() + 14 * 86_400
    assert house.crl().get_revoked_certificate_by_serial_number(old.certificate.serial_number) is None


def test_renewal_before_its_part_of_the_life_is_refused(house: House) -> None:
    for label, fits in (("early", False), ("open", True)):
        client, host = house.est(label), device_name()
        old = enroll_device(client, host)
        answer = client.having(user=None, identity=old).simple_reenroll(pki.device_csr(pki.key(), host))
        if fits:
            issued(answer)
        else:
            refused(answer, 403, "renewal.window")


def test_policys_urls_and_other_extensions_stand_in_the_certificate(house: House) -> None:
    leaf = enroll_device(house.est("extended")).certificate
    (point,) = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [name.value for name in point.full_name or ()] == [CRL_URL]
    (access,) = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert access.access_location.value == OCSP_URL
    other = leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"))
    assert (other.critical, other.value.value) == (False, b"\x0c\x05plant")


def test_policy_leaves_out_where_crl_and_status_are_found(house: House) -> None:
    leaf = enroll_device(house.est("bare")).certificate
    oids = {extension.oid for extension in leaf.extensions}
    assert ExtensionOID.CRL_DISTRIBUTION_POINTS not in oids
    assert ExtensionOID.AUTHORITY_INFORMATION_ACCESS not in oids
    usual = enroll_device(house.est()).certificate
    assert {ExtensionOID.CRL_DISTRIBUTION_POINTS, ExtensionOID.AUTHORITY_INFORMATION_ACCESS} <= {
        extension.oid for extension in usual.extensions
    }


def test_renewal_information_follows_the_window_of_the_policy(house: House) -> None:
    """RFC 9773 section 4.2"""
    account = house.acme.account()
    leaf = account.issue([new_name()], house.acme.http).leaf
    answer = account.get(f"{account.directory['renewalInfo']}/{certificate_id(leaf)}")
    window = answer.ok()["suggestedWindow"]
    start, end = (datetime.fromisoformat(window[name]) for name in ("start", "end"))
    assert start == leaf.not_valid_after_utc - timedelta(days=30)
    assert start < end <= leaf.not_valid_after_utc


def test_renewal_information_can_be_switched_off_by_the_policy(house: House) -> None:
    account = house.acme.account("silent")
    leaf = account.issue([new_name()], house.acme.http).leaf
    answer = account.get(f"{account.directory['renewalInfo']}/{certificate_id(leaf)}")
    assert answer.status == 404
