"""What was decided over the wire is decided again from its record: by the same policies nothing changes, by
stricter ones exactly what they are stricter about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import gateway as gateways
from tests.support import pki
from tests.support.acme_client import connected
from tests.support.acme_responders import http01_responder
from tests.support.answers import issued, refused
from tests.support.cmp_client import CmpClient
from tests.support.cmp_lab import IMPLICIT, ir
from tests.support.cmp_wire import Pbm, Protection, Signed
from tests.support.devices import device_name, enroll_device
from tests.support.gateway import ROOT, Gateway
from tests.support.scep_answer import BAD_REQUEST
from tests.support.scep_answer import issued as scep_issued
from tests.support.scep_answer import refused as scep_refused
from tests.support.scep_client import Device, ScepServer

NEVER_A_REQUEST = "it never became a request: its message was refused before any policy was asked"
DEFAULT = list(yaml.safe_load_all((ROOT / "policies" / "default.yaml").read_text()))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the default policies that has granted and refused by every protocol."""
    with gateways.running(tmp_path_factory.mktemp("replay")) as started:
        _by_est(started)
        _by_acme(started)
        _by_scep(started)
        _by_cmp(started)
        yield started


def _by_est(gateway: Gateway) -> None:
    client, stranger = gateway.est_client(), pki.Authority("Strange Root")
    own = enroll_device(client, "est-own.test")
    issued(client.simple_enroll(pki.device_csr(pki.key("RSA-2048"), device_name())))
    refused(client.simple_enroll(pki.device_csr(pki.key(), "www.example.com")), 400, "subject.cn")
    refused(client.simple_enroll(pki.csr(pki.key(), cn="x", sans=["ip:10.0.0.1"])), 400, "name.not-allowed")
    wrong = client.having(password="wrong")
    refused(wrong.simple_enroll(pki.device_csr(pki.key(), device_name())), 401, "auth.failed")
    holder = client.having(user=None, identity=own)
    issued(holder.simple_enroll(pki.csr(pki.key(), cn="est-own.test", sans=["est-own.test"])))
    refused(holder.simple_enroll(pki.device_csr(pki.key(), device_name())), 403, "auth.credential-scope")
    issued(holder.simple_reenroll(pki.csr(own.private_key, cn="est-own.test", sans=["est-own.test"])))
    issued(holder.simple_reenroll(pki.device_csr(pki.key(), "est-own.test")))
    foreign = client.having(user=None, identity=stranger.issue(cn="stranger.test"))
    answer = foreign.simple_enroll(pki.device_csr(pki.key(), "stranger.test"))
    refused(answer, 403, "auth.certificate-untrusted")
    refused(client.having(endpoint=None).simple_enroll(b"no CSR"), 400, "message")


def _by_acme(gateway: Gateway) -> None:
    facts = gateway.quickstart["acme"]
    with (
        http01_responder(facts["http01_port"]) as responder,
        connected(facts["directory"], gateway.root_pem) as client,
    ):
        client.registered().issue([device_name("acme"), device_name("acme")], responder)
        client.issue([device_name("acme")], responder, profile="short-lived")
        order = client.ordered([device_name("acme")]).ready(responder)
        order.finalize(order.csr(pki.key("RSA-1024"))).refused(400, "badCSR")
        client.new_order(["www.example.com"]).refused(403, "rejectedIdentifier")


def _by_scep(gateway: Gateway) -> None:
    facts = gateway.quickstart["scep"]
    server = ScepServer(facts["url"]).learned()
    try:
        device = Device(server, pki.key("RSA-2048"))
        scep_issued(device.enrol(facts["challenge"]))
        holder = Device(server, pki.key("RSA-2048")).enrolled(facts["challenge"])
        scep_issued(holder.signing_with(holder.signer).enrol(None))
        other = Device(server, pki.key("RSA-2048"), "www.example.com")
        scep_refused(other.enrol(facts["challenge"]), BAD_REQUEST)
        scep_refused(Device(server, pki.key("RSA-2048")).enrol("wrong challenge"), BAD_REQUEST)
    finally:
        server.close()


def _by_cmp(gateway: Gateway) -> None:
    facts = gateway.quickstart["cmp"]
    secret = Pbm(facts["ref"], facts["secret"].encode())
    host, private_key = device_name("cmp"), pki.key()
    certificate = _cmp(gateway, secret, "ir", ir(private_key, host), "accepted").certificate
    _cmp(gateway, secret, "cr", ir(pki.key(), "www.example.com"), "badCertTemplate")
    own = Signed(pki.Identity(certificate, private_key))
    _cmp(gateway, own, "cr", ir(pki.key(), host), "accepted")
    _cmp(gateway, own, "cr", ir(pki.key(), device_name("cmp")), "notAuthorized")
    _cmp(gateway, own, "kur", ir(pki.key(), host), "accepted")
    stranger = Signed(pki.Authority("Strange Root").issue(cn="stranger.test"))
    _cmp(gateway, stranger, "cr", ir(pki.key(), "stranger.test"), "signerNotTrusted")


def _cmp(gateway: Gateway, protection: Protection, name: str, body: bytes, outcome: str) -> Any:
    client = CmpClient(gateway.quickstart["http"], protection)
    try:
        reply = client.send(name, body, generalInfo=IMPLICIT)
    finally:
        client.close()
    assert reply.outcome == outcome, reply.statuses
    return reply


def _replayed(gateway: Gateway, *arguments: str) -> tuple[int, dict[str, Any]]:
    ended = gateway.cli("policy", "replay", "--last", "1000", "--json", *arguments, check=False)
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def _recorded(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.cli_json("request", "list", "--limit", "1000")["requests"]
    return found


def _bundle(directory: Path, documents: list[dict[str, Any]]) -> str:
    """A bundle of these documents, without the tests of the default policies."""
    directory.mkdir()
    texts = (json.dumps({key: value for key, value in one.items() if key != "tests"}) for one in documents)
    (directory / "other.yaml").write_text("\n---\n".join(texts) + "\n")
    return str(directory)


def _changed_policy(name: str, **parts: Any) -> list[dict[str, Any]]:
    return [{**one, **parts} if one["metadata"]["name"] == name else one for one in DEFAULT]


def test_same_policies_change_nothing_that_was_granted_or_refused(gateway: Gateway) -> None:
    code, found = _replayed(gateway)
    rows = _recorded(gateway)
    assert found["changed"] == []
    assert code == 0
    judged = [row for row in rows if row["policy"] is not None]
    assert {row["protocol"] for row in judged} == {"est", "acme", "scep", "cmp"}
    assert found["looked_at"] == len(rows)
    assert found["same"] == len(judged)
    others = len(rows) - len(judged)
    assert found["not_judged"] == [{"why": NEVER_A_REQUEST, "requests": others}]
    assert {row["state"] for row in judged} == {"issued", "refused"}


def test_same_policies_in_other_words_change_nothing_either(gateway: Gateway, tmp_path: Path) -> None:
    """The bundle has another name, so that what verification found is compared rule by rule."""
    code, found = _replayed(gateway, "--bundle", _bundle(tmp_path / "same", DEFAULT))
    assert (code, found["changed"]) == (0, [])
    assert [one["why"] for one in found["not_judged"]] == [NEVER_A_REQUEST]


def test_stricter_policies_change_exactly_what_they_are_stricter_about(
    gateway: Gateway, tmp_path: Path
) -> None:
    stricter = _bundle(
        tmp_path / "keys", _changed_policy("est-first-certificate", keys={"rsa": {"min": 2048}})
    )
    code, found = _replayed(gateway, "--bundle", stricter)
    assert code == 1
    expected = {
        row["id"]
        for row in _recorded(gateway)
        if row["policy"] == "est-first-certificate" and row["state"] == "issued"
    }
    changed = {one["id"]: one for one in found["changed"]}
    granted = {name for name, one in changed.items() if one["then"]["verdict"] == "allow"}
    # One of those that were granted has an RSA key. Refused ones may be refused for their key first now.
    assert granted < expected
    assert len(expected - granted) == 1
    for one in changed.values():
        now = one["now"]
        assert (now["verdict"], now["policy"], now["code"]) == ("deny", "est-first-certificate", "key.type")
        assert now["rule"] == "est-first-certificate.keys"
        assert now["where"].startswith("other.yaml:")
    text = gateway.cli("policy", "replay", "--bundle", stricter, check=False).stdout
    assert f"{next(iter(granted))}  est/default enroll  CN=" in text
    assert "then: allow by est-first-certificate, backend embedded" in text
    assert "now:  deny by est-first-certificate: key.type (est-first-certificate.keys)  [other.yaml:" in text
    assert f": {len(changed)} change, " in text


def test_policy_that_is_no_longer_there_refuses_its_requests(gateway: Gateway, tmp_path: Path) -> None:
    without = [one for one in DEFAULT if one["metadata"]["name"] != "scep-renewal"]
    code, found = _replayed(gateway, "--bundle", _bundle(tmp_path / "without", without))
    assert code == 1
    expected = {row["id"] for row in _recorded(gateway) if row["policy"] == "scep-renewal"}
    assert {one["id"] for one in found["changed"]} == expected
    assert {one["now"]["code"] for one in found["changed"]} == {"policy.no-match"}


def test_what_would_have_to_be_verified_anew_is_not_judged(gateway: Gateway, tmp_path: Path) -> None:
    """A certificate that one trust store took says nothing of what another one takes."""
    pem = pki.Authority("Other Root").certificate_pem.decode()
    documents = [
        {**one, "backends": [], "certificates": [pem]} if one["kind"] == "TrustStore" else one
        for one in DEFAULT
    ]
    code, found = _replayed(gateway, "--bundle", _bundle(tmp_path / "trust", documents))
    assert (code, found["changed"]) == (0, [])
    reasons = {one["why"] for one in found["not_judged"]} - {NEVER_A_REQUEST}
    assert any(
        why.startswith("est-renewal verifies renewal-cert otherwise than est-renewal did then")
        for why in reasons
    )


def test_recorded_request_is_explained_from_its_record(gateway: Gateway, tmp_path: Path) -> None:
    kinds = {(row["protocol"], row["state"]): row for row in _recorded(gateway) if row["policy"] is not None}
    assert len(kinds) == 8
    for row in kinds.values():
        ended = gateway.cli(
            "policy", "explain", "--request", row["reason_id"] or row["id"], "--json", check=False
        )
        found = json.loads(ended.stdout)
        if found["verdict"] == "allow":
            assert (row["state"], ended.returncode) == ("issued", 0)
            assert found["decision"]["route"]["backend"] == row["backend"]
            assert set(row["names"]) <= set(found["certificate"]["names"])
        elif row["state"] == "refused":
            assert ended.returncode == 1
            assert found["on_the_wire"]
    stricter = _bundle(tmp_path / "other", _changed_policy("acme-web-servers", keys={"eddsa": ["Ed25519"]}))
    (row,) = (
        one for one in _recorded(gateway) if one["policy"] == "acme-web-servers" and one["state"] == "issued"
    )
    ended = gateway.cli("policy", "explain", "--request", row["id"], "--bundle", stricter, check=False)
    assert ended.returncode == 1
    assert "key.type (key): EC P-256 keys are not allowed here; allowed are Ed25519" in ended.stdout
    assert "by the rule acme-web-servers.keys  [other.yaml:" in ended.stdout
    assert "DENY by acme-web-servers; the client is told: acme_error badCSR" in ended.stdout
    assert f"It was decided by the bundle {row['bundle_sha256']}; this is " in ended.stderr
