"""Limits of a Policy document: what every mistake is told, and what of a request each limit counts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.model.enrolment import CertificatePlan
from gateway.model.evidence import ACME_ACCOUNT, MTLS, Evidence, VerifiedCredential
from gateway.policy.limit_check import exceeded_reason, limit_uses
from gateway.policy.rules import CompiledPolicy
from tests.unit.policy.sample import (
    HOUSE,
    NOW,
    basic_evidence,
    complaints,
    load,
    policy,
    request,
    sans,
    subject,
)


def faults(limits: str, **parts: str) -> list[str]:
    return [line.partition(": ")[2] for line in complaints(HOUSE + policy(limits=limits, **parts))]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ("[{per: client}]", "limits.0: write either count with window, or active"),
        ("[{per: client, count: 1}]", "limits.0: the key 'window' is missing; add one, such as window: 3h"),
        ("[{per: client, count: 1, active: 1, window: 1h}]", "limits.0: write either count with window"),
        ("[{per: client, active: 1, window: 1h}]", "limits.0.window: 'window' belongs to count; remove it"),
        ("[{per: client, count: 1, window: 2y}]", "limits.0.window: write a window from 1s to 366d"),
        ("[{per: client, count: 0, window: 1h}]", "limits.0.count: '0' is too small; at least 1"),
        (
            "[{per: clients, count: 1, window: 1h}]",
            "limits.0.per: 'clients' is not known; did you mean 'client'?",
        ),
        ("[{per: policy, active: 1}]", "limits.0.per: active certificates are not counted by 'policy'"),
        (
            "[{per: client, count: 1, window: 1h, on_exceed: revoke-oldest}]",
            "limits.0.on_exceed: only an `active` limit has an oldest one to revoke",
        ),
        ("[{per: account, count: 1, window: 1h}]", "limits.0.per: only ACME has accounts"),
        ("[{per: client, count: 1, window: 1h, on_excess: deny}]", "did you mean 'on_exceed'?"),
        ("5", "limits: "),
    ],
)
def test_mistake_is_told_once(limits: str, told: str) -> None:
    (found,) = faults(limits)
    assert told in found


def rules(*limits: str) -> CompiledPolicy:
    (found,) = load(policy(limits=f"[{', '.join(limits)}]")).policies
    assert isinstance(found, CompiledPolicy)
    return found


def plan(*names: str, cn: str = "device 1") -> CertificatePlan:
    wanted = subject(("CN", cn)) if cn else subject()
    return CertificatePlan(wanted, sans(*names), b"", NOW, NOW + timedelta(days=90), (), (), ())


def scopes(limit: str, made: CertificatePlan, evidence: Evidence | None = None, **changes: str) -> set[str]:
    asked = request(**changes)  # type: ignore[arg-type]  # its address
    uses = limit_uses(rules(limit).limits, "rules", asked, evidence or basic_evidence(), made)
    return {use.scope for use in uses}


@pytest.mark.parametrize(
    ("per", "names", "count"),
    [
        ("name", ("dns:a.test", "dns:b.test"), 2),
        ("registered-domain", ("dns:a.x.test", "dns:b.x.test", "dns:*.y.test"), 2),
        ("registered-domain", ("ip:192.0.2.1",), 0),
        ("subject", ("dns:a.test", "dns:b.test"), 1),
        ("global", ("dns:a.test", "dns:b.test"), 1),
    ],
)
def test_each_thing_is_counted_once(per: str, names: tuple[str, ...], count: int) -> None:
    assert len(scopes(f"{{per: {per}, count: 1, window: 1h}}", plan(*names))) == count


def test_addresses_of_one_site_are_one_source() -> None:
    limit = "{per: source-ip, count: 1, window: 1h}"
    here = scopes(limit, plan(), address="2001:db8::1")
    assert here == scopes(limit, plan(), address="2001:db8::2")
    assert here != scopes(limit, plan(), address="2001:db8:0:1::1")


def test_client_certificate_is_the_same_client_with_a_new_key() -> None:
    def by_certificate(identity: str) -> Evidence:
        label = "CN=device 1"
        return Evidence((VerifiedCredential(MTLS, identity, label, certificate_der=b"x"),))

    limit = "{per: client, active: 2}"
    assert scopes(limit, plan(), by_certificate("cert:1")) == scopes(limit, plan(), by_certificate("cert:2"))
    assert scopes(limit, plan(), basic_evidence()) != scopes(limit, plan(), by_certificate("cert:1"))


def test_request_without_account_is_no_use_of_a_limit_by_account() -> None:
    (rule,) = load(
        policy(
            authenticate="{acme-account: {challenges: [dns-01]}}",
            match="{protocol: acme, operation: enroll}",
            limits="[{per: account, count: 1, window: 1h}]",
        ),
        "apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {name: web}\nprotocol: acme\nbackend: embedded\n",
    ).policies
    assert isinstance(rule, CompiledPolicy)
    account = Evidence((VerifiedCredential(ACME_ACCOUNT, "acme:1", "one"),))
    assert len(limit_uses(rule.limits, "rules", request(), account, plan())) == 1
    assert limit_uses(rule.limits, "rules", request(), basic_evidence(), plan()) == ()


def test_windows_belong_to_one_document_and_active_certificates_to_all() -> None:
    both = "limits: [{per: subject, count: 1, window: 1h}, {per: subject, active: 1}]"
    one, other = load(
        policy("one", limits=both.partition(": ")[2]),
        policy("other", priority="200", limits=both.partition(": ")[2]),
    ).policies
    assert isinstance(one, CompiledPolicy)
    assert isinstance(other, CompiledPolicy)
    found = [limit_uses(each.limits, each.name, request(), basic_evidence(), plan()) for each in (one, other)]
    assert found[0][0].scope != found[1][0].scope
    assert found[0][1].scope == found[1][1].scope


def test_refusal_names_rule_place_value_and_moment() -> None:
    limits = rules("{per: name, count: 2, window: 3h}").limits
    (use,) = limit_uses(limits, "rules", request(), basic_evidence(), plan("dns:a.test"))
    reason = exceeded_reason(use, NOW, 90)
    assert reason.rule == "rules.limits[0]"
    assert reason.where.startswith("p.yaml:")
    assert "2 within 3h per name" in reason.message
    assert "a.test" in reason.message
    assert "2026-11-23T12:01:30Z" in reason.message
