"""``pkigate policy test``, ``explain`` and ``replay``: what they print, and their exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.datadir import DataDirectory
from gateway.model.outcome import State
from gateway.plugins import load_plugins
from gateway.policy.load import load_bundle
from gateway.policy.sources import read_sources
from gateway.store.bundles import Activation, BundleRow, activate, insert
from gateway.store.unit import Unit
from tests.support import pki
from tests.unit.cli.conftest import Run
from tests.unit.cli.recorded import TRACE, database_of, record_request
from tests.unit.policy.sample import HOUSE, policy, renewal_policy

TESTS = """
- name: good
  request: {csr: {subject: {CN: device 1}, dns: [a.test]}}
  expect: {decision: allow}
- name: weak
  request: {csr: {key: rsa-1024, dns: [a.test]}}
  expect: {decision: DECISION}
"""


def _file(directory: Path, decision: str = "deny") -> Path:
    file = directory / "mine.yaml"
    file.write_text(HOUSE + policy(tests=TESTS.replace("DECISION", decision)) + "---\n" + renewal_policy())
    return file


def test_shipped_policies_pass_their_own_tests(on_data: Run, data: DataDirectory) -> None:
    ended = on_data("policy", "test")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1].startswith("All ")
    found = on_data("policy", "test", "--json").document
    assert found["ok"]
    assert found["failed"] == 0
    tested = {one["policy"] for one in found["tests"]}
    known = {
        one.name
        for one in load_bundle(read_sources(data.policies), load_plugins().registry(lab=False)).policies
    }
    assert tested == known


def test_failing_test_is_printed_with_its_place_and_ends_with_1(pkigate: Run, tmp_path: Path) -> None:
    ended = pkigate("policy", "test", _file(tmp_path, "allow"))
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert lines[0].startswith("ok  rules: good  [allow]  mine.yaml:")
    assert lines[1].startswith("FAILED  rules: weak  [deny]  mine.yaml:")
    assert "expect.decision: expected allow, got deny: key.size (rules.keys at mine.yaml:" in lines[2]
    assert lines[3] == "1 of 2 tests failed."
    found = pkigate("policy", "test", tmp_path / "mine.yaml", "--json")
    assert found.code == 1
    assert [one["passed"] for one in found.document["tests"]] == [True, False]
    validated = pkigate("policy", "validate", tmp_path / "mine.yaml")
    assert validated.code == 1
    assert "test 'weak': expected allow, got deny" in validated.err


def test_policies_without_tests_say_so(pkigate: Run, tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text(HOUSE + policy())
    ended = pkigate("policy", "test", tmp_path)
    assert (ended.code, ended.out) == (0, "")
    assert "There is no test" in ended.err


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_csr_is_explained_with_every_rule_that_refuses(
    pkigate: Run, tmp_path: Path, encoding: Encoding
) -> None:
    csr_der = pki.csr(pki.key(), cn="device 1", sans=["www.example.com"])
    file = tmp_path / "x.csr"
    file.write_bytes(x509.load_der_x509_csr(csr_der).public_bytes(encoding))
    ended = pkigate(
        "policy", "explain", "--bundle", _file(tmp_path), "--csr", file, "--as", "est", "--user", "bob"
    )
    assert (ended.code, ended.err) == (1, "")
    assert "verified   basic bob" in ended.out
    assert "key        EC P-256" in ended.out
    assert (
        "name.not-allowed (identity.sans[0]): 'www.example.com' is not allowed here; allowed are" in ended.out
    )
    assert "by the rule rules.names.dns  [mine.yaml:" in ended.out
    assert ended.out.endswith("DENY by rules; the client is told: http 400\n")


def test_granted_request_is_shown_as_it_would_be_signed(pkigate: Run, tmp_path: Path) -> None:
    facts = tmp_path / "facts.yaml"
    facts.write_text("request: {csr: {subject: {CN: device 1}, dns: [a.test]}}\n")
    ended = pkigate("policy", "explain", "--bundle", _file(tmp_path), "--facts", facts)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith("ALLOW by rules\n")
    found = pkigate("policy", "explain", "--bundle", _file(tmp_path), "--facts", facts, "--json").document
    assert found["verdict"] == "allow"
    assert found["certificate"]["subject"] == "CN=device 1"
    assert found["certificate"]["names"] == ["dns:a.test"]
    assert found["on_the_wire"] is None
    assert [step["step"] for step in found["decision"]["trace"]][:2] == ["select", "authenticate"]


def test_certificate_is_the_one_that_is_renewed(pkigate: Run, tmp_path: Path) -> None:
    identity = pki.Authority("Some Root").issue(cn="device 1", sans=["a.test"])
    certificate, csr = tmp_path / "old.pem", tmp_path / "new.csr"
    certificate.write_bytes(identity.certificate.public_bytes(Encoding.PEM))
    csr.write_bytes(pki.csr(identity.private_key, cn="device 2", sans=["a.test"]))
    options = ("--as", "est", "--operation", "renew", "--cert", certificate, "--csr", csr)
    ended = pkigate("policy", "explain", "--bundle", _file(tmp_path), *options)
    assert ended.code == 1
    assert "renews     CN=device 1" in ended.out
    assert "renewal.names-differ (identity.subject): the subject CN=device 2 differs" in ended.out


MISTAKES = {
    "facts": (
        "csr: {kye: rsa-2048}\n",
        (),
        "facts.yaml:1:7: csr.kye: unknown key 'kye'; did you mean 'key'?",
    ),
    "no-facts": ("- a\n", (), "facts.yaml:1:1: this is no request; write one as in `tests:` of a Policy"),
    "operation": (
        "{}\n",
        ("--operation", "enrol"),
        "operation: 'enrol' is not known; did you mean 'enroll'?",
    ),
    "address": ("{}\n", ("--source-ip", "here"), "source_ip: 'here' is no address; write one like"),
    "recorded": ("{}\n", ("--request", "PG-AAAAAAAA"), "a recorded request says all of this itself"),
}


@pytest.mark.parametrize(("text", "options", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_in_what_is_to_be_explained_is_told(
    pkigate: Run, tmp_path: Path, text: str, options: tuple[str, ...], told: str
) -> None:
    facts = tmp_path / "facts.yaml"
    facts.write_text(text)
    ended = pkigate("policy", "explain", "--bundle", _file(tmp_path), "--facts", facts, *options)
    assert ended.code in (1, 2)
    assert told in " ".join(ended.err.replace("│", " ").split())
    assert ended.out == ""


def test_file_that_is_no_csr_is_told(pkigate: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.pem"
    for content, told in (
        (b"-----BEGIN CERTIFICATE-----\n", "there is no CERTIFICATE REQUEST in it; give one as PEM or DER"),
        (b"\x30\x03", "refused before any policy is asked, with message.asn1: "),
    ):
        file.write_bytes(content)
        ended = pkigate("policy", "explain", "--bundle", _file(tmp_path), "--csr", file)
        assert ended.code == 1
        assert told in ended.err


def _active_policies(data: DataDirectory) -> str:
    bundle = load_bundle(read_sources(data.policies), load_plugins().registry(lab=False))
    row = record_request(data, State.ISSUED)
    unit = Unit()
    insert(unit, BundleRow(bundle.sha256, bundle.documents_json, "files", row.received_at))
    activate(unit, Activation(bundle.sha256, row.received_at))
    with database_of(data) as store:
        store.recorder.commit_blocking(unit)
    return bundle.sha256


def test_records_that_cannot_be_judged_are_counted_with_the_reason(on_data: Run, data: DataDirectory) -> None:
    sha256 = _active_policies(data)
    old = record_request(data, State.REFUSED, decision=TRACE)
    partial = {"verdict": "deny", "asked": {"presented": [], "partial": True}}
    record_request(data, State.REFUSED, decision=partial)
    damaged = {"verdict": "deny", "asked": {"presented": ["basic"]}}
    record_request(data, State.REFUSED, decision=damaged)
    ended = on_data("policy", "replay", "--json")
    assert ended.code == 0
    found = ended.document
    assert (found["bundle_sha256"], found["looked_at"], found["changed"]) == (sha256, 4, [])
    reasons = {one["why"]: one["requests"] for one in found["not_judged"]}
    assert reasons == {
        "it was recorded by an earlier version, which wrote down less": 1,
        "only the beginning of it was recorded, since its sender had shown nothing yet": 1,
        "its record cannot be read: KeyError: 'spki'": 1,
        "it never became a request: its message was refused before any policy was asked": 1,
    }
    text = on_data("policy", "replay", "--last", "2").out
    assert "2 requests decided again by the bundle" in text
    assert "0 change, 0 do not, 2 could not be judged." in text
    ended = on_data("policy", "explain", "--request", old.id)
    assert ended.code == 1
    assert "cannot be decided again: it was recorded by an earlier version" in ended.err
    assert on_data("policy", "explain", "--request", "PG-AAAAAAAA").code == 3
