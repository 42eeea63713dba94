"""``extends`` and ``mode: template``: what is inherited, what is not, and where mistakes in it are told."""

from __future__ import annotations

import json
from datetime import timedelta

import jsonschema_rs
import pytest
import yaml

from gateway.errors import ConfigurationError
from gateway.model.keys import KeyType
from gateway.policy.load import load_bundle
from gateway.policy.rules import Bundle, CompiledPolicy
from gateway.policy.schema import json_schema
from gateway.policy.sources import PolicySource
from tests.unit.policy.sample import HOUSE, allowed, complaints, decide, load, policy, registry, request

HEAD = "apiVersion: pkigate/v1\nkind: Policy\n"


def heir(text: str, name: str = "heir", parent: str = "rules", priority: int = 50) -> str:
    return (
        f"{HEAD}metadata: {{name: {name}}}\npriority: {priority}\nextends: {parent}\n"
        f"match: {{protocol: est, operation: enroll, profile: {name}}}\n{text}"
    )


def template(text: str, name: str = "rules", more: str = "") -> str:
    return f"{HEAD}metadata: {{name: {name}}}\nmode: template\n{more}{text}"


def named(bundle: Bundle, name: str = "heir") -> CompiledPolicy:
    (found,) = [one for one in bundle.policies if one.name == name]
    assert isinstance(found, CompiledPolicy)
    return found


def test_mappings_are_merged_at_every_depth_and_lists_and_values_replace() -> None:
    parent = policy(
        keys="{rsa: {min: 3072, max: 4096}, ec: [P-256, P-384], reuse: allow}",
        validity="{default: 90d, backdate: 1h}",
    )
    found = named(load(parent, heir("keys: {rsa: {min: 4096}, ec: [P-521]}\nvalidity: {default: 10d}\n")))
    assert (found.keys.rsa_min, found.keys.rsa_max) == (4096, 4096)
    assert found.keys.curves == {"P-521"}
    assert not found.keys.refuse_known_key
    assert (found.validity.default, found.validity.backdate) == (timedelta(days=10), timedelta(hours=1))
    assert {"CN"} == {rule.label for rule in found.names.attributes.values()}


def test_priority_match_metadata_mode_and_tests_are_never_inherited() -> None:
    parent = policy(match="{protocol: est, operation: enroll, source_ip: 10.0.0.0/8}").replace(
        "metadata: {name: rules}", "metadata: {name: rules, owner: me, description: words}"
    )
    found = named(load(parent, heir("")))
    assert (found.priority, found.description, found.source_networks) == (50, "", ())
    missing = heir("").replace("priority: 50\n", "")
    (line,) = complaints(HOUSE + parent + "---\n" + missing)
    assert "the key 'priority' is missing" in line


def test_single_mapping_that_stands_for_a_list_replaces() -> None:
    parent = policy(issue="{backend: embedded, profile: issuing}")
    bundle = load(parent, heir("issue: {backend: embedded}\n"))
    assert allowed(decide(bundle, request(profile="heir"))).route.profile is None
    assert allowed(decide(bundle, request())).route.profile == "issuing"


def test_null_takes_away_what_would_be_inherited_and_nothing_written_is_a_mistake() -> None:
    parent = policy(approval="{required: 2}", keys="{rsa: {}, ec: [P-256]}")
    bundle = load(parent, heir("approval: null\nkeys: {rsa: ~}\n"))
    found = named(bundle)
    assert allowed(decide(bundle, request(profile="heir"))).approval is None
    assert KeyType.RSA not in found.keys.types
    (line,) = complaints(HOUSE + parent + "---\n" + heir("approval:\n"))
    assert "approval: there is no value; write one" in line


def test_heritage_passes_through_several_policies_and_files() -> None:
    sources = (
        PolicySource("c.yaml", heir("validity: {backdate: 2h}\n", "c", "b", 30)),
        PolicySource("b.yaml", heir("validity: {default: 5d}\n", "b", "rules", 20)),
        PolicySource("a.yaml", HOUSE + policy(keys="{ec: [P-384]}")),
    )
    found = named(load_bundle(sources, registry()), "c")
    assert found.keys.curves == {"P-384"}
    assert (found.validity.default, found.validity.backdate) == (timedelta(days=5), timedelta(hours=2))
    assert found.keys.where.startswith("a.yaml:")
    assert found.where.startswith("c.yaml:")


def test_mistake_in_an_inherited_key_is_told_once_where_it_is_written() -> None:
    parent = policy(keys="{ec: [P-255]}")
    sources = (
        PolicySource("child.yaml", heir("", "one") + "---\n" + heir("", "two", priority=300)),
        PolicySource("parent.yaml", HOUSE + parent),
    )
    with pytest.raises(ConfigurationError) as caught:
        load_bundle(sources, registry())
    (line,) = str(caught.value).splitlines()
    assert line.startswith("parent.yaml:")
    assert "keys.ec.0: 'P-255' is not known; did you mean 'P-256'?" in line


def test_what_fits_the_parent_but_not_the_heir_names_the_heir() -> None:
    parent = policy(
        match="{protocol: est, operation: renew}",
        authenticate="{renewal-cert: {trust: own}}",
        names="{subject: keep-from-previous}",
    )
    lines = complaints(HOUSE + parent + "---\n" + heir(""))
    assert len(lines) == 1
    assert "a first enrolment has no previous certificate" in lines[0]
    assert lines[0].endswith("; as inherited by 'heir'")
    place = lines[0].split(": ")[0]
    assert (HOUSE + parent).splitlines()[int(place.split(":")[1]) - 1].startswith("names:")


def test_template_is_never_selected_and_may_lack_keys() -> None:
    parts = template(
        "authenticate: {basic: {}}\nkeys: {ec: [P-256]}\nvalidity: {default: 9d}\n"
        "names: {dns: {suffix: [test]}, cn_in_san: false}\n"
    )
    child = heir("issue: {backend: embedded}\nnames: {subject: {CN: {source: csr, allow: {plain: true}}}}\n")
    bundle = load(parts, child)
    assert [one.name for one in bundle.policies] == ["heir"]
    assert named(bundle).validity.default == timedelta(days=9)
    allowed(decide(bundle, request("dns:a.test", profile="heir")))


def test_template_may_extend_another_one() -> None:
    base = template("keys: {ec: [P-384]}\nvalidity: {default: 9d}\n", "base")
    middle = template("keys: {reuse: allow}\n", "middle", "extends: base\n")
    rest = "authenticate: {basic: {}}\nissue: {backend: embedded}\n"
    rest += "names: {subject: first-dns, dns: {suffix: [test]}}\n"
    found = named(load(base, middle, heir(rest, parent="middle")))
    assert found.keys.curves == {"P-384"}
    assert not found.keys.refuse_known_key


def test_mistakes_in_a_template_are_told_although_nothing_extends_it() -> None:
    text = template("priority: 3\nkeys: {ec: [P-255]}\nvalidity: {defualt: 9d}\nnonsense: 1\n")
    lines = complaints(HOUSE + policy("other") + "---\n" + text)
    assert [line.split(": ", 1)[1] for line in lines] == [
        "priority: 'priority' is never inherited, and nothing selects a template; remove it",
        "keys.ec.0: 'P-255' is not known; did you mean 'P-256'? one of P-256, P-384, P-521",
        "validity.defualt: unknown key 'defualt'; did you mean 'default'?",
        next(line for line in lines if "nonsense" in line).split(": ", 1)[1],
    ]


REVOKING = (
    HEAD + "metadata: {name: revoking}\npriority: 1\nmatch: {protocol: cmp, operation: revoke}\n"
    "authenticate: {mac: {}}\n"
)
MISTAKES = {
    "missing parent": (
        heir("", parent="rulse"),
        "extends: there is no Policy 'rulse'; did you mean 'rules'?",
    ),
    "itself": (heir("", parent="heir"), "extends: heir extends heir, in a circle; take one extends out"),
    "list": (
        heir("", parent="[rules]"),
        "extends: a policy extends one other; write its name: extends: NAME",
    ),
    "revocation": (
        heir("", parent="revoking") + "---\n" + REVOKING,
        "extends: 'revoking' is a policy for revocations, which nothing extends; write its keys out",
    ),
    "by revocation": (
        REVOKING + "extends: rules\n",
        "extends: 'extends' is for policies for certificates; write everything out here",
    ),
    "mode of revocation": (
        REVOKING + "mode: shadow\n",
        "mode: a policy for revocations is never in the mode 'shadow'; write active",
    ),
    "mode": (policy("x", mode="tempalte"), "mode: 'tempalte' is not known; one of active, shadow"),
    "unknown key": (heir("issues: {}\n"), "issues: unknown key 'issues'; did you mean 'issue'?"),
}
CMP = HOUSE.split("---\n")[1].replace("est", "cmp") + "---\n"


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_in_extending_is_one_clear_line(case: str) -> None:
    text, expected = MISTAKES[case]
    (line,) = complaints(HOUSE + CMP + policy() + "---\n" + text)
    assert f": {expected}" in line
    assert line.startswith("p.yaml:")


def test_circle_is_told_once_with_everybody_in_it() -> None:
    text = "---\n".join([heir("", "a", "b", 1), heir("", "b", "c", 2), heir("", "c", "b", 3)])
    lines = complaints(HOUSE + policy() + "---\n" + text)
    assert len(lines) == 1
    assert "extends: a extends b extends c extends b, in a circle; take one extends out" in lines[0]


def test_long_line_of_heirs_is_refused() -> None:
    text = "---\n".join(heir("", f"p{n}", f"p{n + 1}", n + 1) for n in range(12))
    lines = complaints(HOUSE + policy("p12") + "---\n" + text)
    assert any("policies extend each other more than 10 deep" in line for line in lines)


def test_bundle_is_named_by_what_is_written_and_loads_again_from_it() -> None:
    bundle = load(policy(), heir("approval: null\nvalidity: {default: 5d}\n").replace("approval: null\n", ""))
    documents = json.loads(bundle.documents_json)
    (written,) = [one for one in documents if one["metadata"]["name"] == "heir"]
    assert set(written) == {"apiVersion", "kind", "metadata", "priority", "extends", "match", "validity"}
    text = "---\n".join(json.dumps(one) + "\n" for one in documents)
    again = load_bundle((PolicySource("again.yaml", text),), registry())
    assert again.sha256 == bundle.sha256
    assert named(again).validity.default == timedelta(days=5)


def test_schema_takes_heirs_and_templates_that_lack_keys_and_refuses_what_is_unknown() -> None:
    validator = jsonschema_rs.validator_for(json_schema())

    def fits(text: str) -> bool:
        return bool(validator.is_valid(yaml.safe_load(text)))

    assert fits(policy())
    assert fits(heir("validity: {default: 9d}\napproval: null\n"))
    assert fits(template("names: {dns: {suffix: [test]}}\n"))
    assert not fits(template("priority: 3\n"))
    assert not fits(heir("valditity: {}\n"))
    assert not fits(policy().replace("issue: {backend: embedded}\n", ""))
