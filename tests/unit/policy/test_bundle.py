"""Bundles: their name, trust stores, endpoints, what is advertised, and the JSON Schema."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import ConfigurationError
from gateway.est.options import EstOptions
from gateway.model.enrolment import Operation
from gateway.model.keys import KeyType
from gateway.model.wanted import WantedKey
from gateway.policy.document import DOCUMENT_KINDS
from gateway.policy.engine import describe
from gateway.policy.load import load_bundle
from gateway.policy.schema import json_schema
from gateway.policy.sources import PolicySource, read_directory
from tests.support.pki import Authority
from tests.unit.policy.sample import HOUSE, complaints, load, policy, registry, renewal_policy

POLICIES = Path(__file__).parents[3] / "policies"


def with_store(text: str) -> str:
    return HOUSE.replace("backends: [embedded]", text) + policy()


def test_name_of_a_bundle_depends_on_what_it_says_alone() -> None:
    one, other = policy("one"), policy("other", priority="200")
    first = load(one, other)
    again = load_bundle(
        (PolicySource("b.yaml", other), PolicySource("a.yaml", "# a comment\n" + one + "---\n" + HOUSE)),
        registry(),
    )
    assert first.sha256 == again.sha256
    assert first.documents_json == again.documents_json
    assert first.sha256 != load(one, policy("other", priority="201")).sha256


def test_bundle_holds_endpoints_backends_and_stores() -> None:
    bundle = load(policy())
    endpoint = bundle.endpoints["est", "default"]
    assert (endpoint.name, endpoint.protocol, endpoint.backend, endpoint.grace_s) == (
        "default",
        "est",
        "embedded",
        600,
    )
    assert isinstance(endpoint.options, EstOptions)
    assert bundle.backends["embedded"].type == "embedded"
    assert bundle.trust_stores["own"].backends == ("embedded",)
    assert bundle.trust_stores["own"].revocation == "own"


def test_policy_without_endpoints_is_for_all_of_its_protocol() -> None:
    other = (
        "apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {name: line1}\nprotocol: est\nbackend: embedded\n"
    )
    bundle = load(other, policy(match="{protocol: est, operation: enroll}"))
    assert bundle.policies[0].endpoints == {"default", "line1"}


def test_trust_store_reads_certificates_and_files(tmp_path: Path) -> None:
    roots = [Authority(f"Root {number}") for number in range(3)]
    (tmp_path / "roots.pem").write_bytes(roots[1].certificate_pem + roots[2].certificate_pem)
    inline = "\n".join("    " + line for line in roots[0].certificate_pem.decode().splitlines())
    text = with_store(f"certificates:\n  - |\n{inline}\nfiles: roots.pem")
    (tmp_path / "p.yaml").write_text(text)
    bundle = load_bundle(read_directory(tmp_path), registry())
    found = bundle.trust_stores["own"].certificates_der
    assert [der.hex() for der in found] == [
        root.certificate.public_bytes(Encoding.DER).hex() for root in roots
    ]
    assert "roots.pem" not in bundle.documents_json  # a replica that has only the bundle needs no file
    (tmp_path / "roots.pem").write_bytes(roots[1].certificate_pem)
    assert load_bundle(read_directory(tmp_path), registry()).sha256 != bundle.sha256


def test_trust_store_takes_ca_certificates_only() -> None:
    leaf = Authority("Root").issue(cn="leaf.test", sans=["leaf.test"])
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"
    for text, expected in (
        (
            leaf.certificate.public_bytes(Encoding.PEM).decode(),
            "CN=leaf.test is no CA certificate; name that of the CA",
        ),
        (pem, "a certificate cannot be read: "),
        (key, "a PEM block holds PRIVATE KEY; put CA certificates here, nothing else"),
    ):
        found = complaints(with_store(f"certificates: [{json.dumps(text)}]"))
        assert found[0].startswith("p.yaml:15:16: certificates.0: " + expected)


def test_mistakes_of_every_file_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_bundle((PolicySource("a.yaml", "a: &x 1"), PolicySource("b.yaml", "kind: X")), registry())
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["a.yaml", "b.yaml"]


def test_many_mistakes_are_cut() -> None:
    keys = ", ".join(f"k{index}: 1" for index in range(80))
    found = complaints(HOUSE + policy(validity=f"{{default: 90d, {keys}}}"))
    assert len(found) == 51
    assert found[-1] == "... and 30 more"


def test_what_is_wanted_is_what_is_enforced() -> None:
    text = policy(
        keys="{rsa: {min: 3072}, ec: [P-384, P-256], ml_dsa: ML-DSA-65}",
        names="""
          subject: {serialNumber: {source: csr, required: true, allow: {any: true}}}
          dns: {suffix: test, required: true}
        """,
        extensions="{extended_key_usage: serverAuth}",
        authenticate="{basic: {}, pop_linking: required}",
    )
    wanted = describe(load(text), "est", "default", Operation.ENROLL)
    assert wanted is not None
    assert set(wanted.keys) == {
        WantedKey(KeyType.RSA, size_bits=3072),
        WantedKey(KeyType.EC, curve="P-256"),
        WantedKey(KeyType.EC, curve="P-384"),
        WantedKey(KeyType.ML_DSA_65),
    }
    assert set(wanted.signature_hashes) == {"sha256", "sha384", "sha512"}
    assert wanted.subject_attributes == ("2.5.4.5",)
    assert wanted.san_kinds == ("dns",)
    assert wanted.san_required
    assert wanted.key_usage == ("digitalSignature",)
    assert wanted.extended_key_usage == ("1.3.6.1.5.5.7.3.1",)
    assert wanted.linking_required


def test_what_one_policy_does_not_ask_for_is_not_required() -> None:
    strict = policy("strict", authenticate="{basic: {}, pop_linking: required}")
    bundle = load(strict, policy("lenient", priority="200"))
    wanted = describe(bundle, "est", "default", Operation.ENROLL)
    assert wanted is not None
    assert not wanted.linking_required
    assert not wanted.san_required


def test_first_dns_subject_wants_a_dns_name() -> None:
    bundle = load(policy(names="subject: first-dns\ndns: {suffix: [test]}"), renewal_policy())
    wanted = describe(bundle, "est", "default", Operation.ENROLL)
    assert wanted is not None
    assert wanted.san_required
    assert describe(bundle, "est", "default", Operation.KEYGEN) is None
    assert describe(bundle, "est", "nowhere", Operation.ENROLL) is None


def test_schema_for_editors_is_current() -> None:
    written = json.loads((POLICIES / "policy.schema.json").read_text())
    assert written == json.loads(json.dumps(json_schema()))


def test_every_key_of_the_language_is_described() -> None:
    schema = json_schema()
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    bare = [
        f"{name}.{key}"
        for name, definition in definitions.items()
        for key, value in definition.get("properties", {}).items()
        if "description" not in value
    ]
    assert bare == []
    assert set(DOCUMENT_KINDS) <= set(definitions)


def test_schema_takes_a_single_value_for_a_list_of_one() -> None:
    """As the loader does: editors must not complain of the default bundle."""
    definitions = json_schema()["$defs"]
    assert isinstance(definitions, dict)
    arrays = [
        f"{name}.{key}"
        for name, definition in definitions.items()
        for key, value in definition.get("properties", {}).items()
        if value.get("type") == "array" and key not in ("groups", "limits", "checks", "tests")
    ]
    assert arrays == []


def test_every_default_of_the_schema_fits_its_own_pattern() -> None:
    definitions = json_schema()["$defs"]
    assert isinstance(definitions, dict)
    patterned = {
        f"{name}.{key}": (value["pattern"], value["default"])
        for name, definition in definitions.items()
        for key, value in definition.get("properties", {}).items()
        if "pattern" in value and "default" in value
    }
    assert patterned["ApprovalRules.expires"][1] == "7d"
    assert [key for key, (pattern, default) in patterned.items() if not re.search(pattern, default)] == []
