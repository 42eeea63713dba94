"""Rules for names, whoever asks for them, and what is decided: for the tests of the name rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.model.decision import Deny
from gateway.model.enrolment import CertificatePlan, RequestedIdentity
from gateway.model.evidence import BASIC, Evidence, VerifiedCredential
from gateway.model.names import (
    GeneralName,
)
from gateway.model.reasons import ReasonCode
from gateway.policy.rules import Bundle
from tests.unit.policy.sample import (
    allowed,
    codes,
    decide,
    load,
    policy,
    request,
    subject,
)

# Whoever has a password, or a certificate in which these facts are read.
READS = """
  basic: {}
  mtls:
    trust: own
    extract: {serial: {from: subject.serialNumber}, vendor: {from: subject.O}, model: {from: subject.OU}}
"""
FREE_CN = "subject: {CN: {source: csr, allow: {any: true}}}\ncn_in_san: false\n"
LISTED = """\
apiVersion: pkigate/v1
kind: List
metadata: {name: hosts}
type: text
entries: [in.test]
"""


@dataclass(frozen=True)
class Given:
    """Lists with these entries."""

    entries: Mapping[str, frozenset[str]]

    def contains(self, list_name: str, value: str) -> bool:
        return value in self.entries.get(list_name, frozenset())

    def lookup(self, list_name: str, key: str) -> Mapping[str, str] | None:
        return {} if self.contains(list_name, key) else None

    def available(self, list_name: str) -> bool:
        return list_name in self.entries


def bundle(names: str, *others: str) -> Bundle:
    return load(policy(names=FREE_CN + names, authenticate=READS), *others)


def client(**words: str) -> Evidence:
    return Evidence(
        (
            VerifiedCredential(
                BASIC, "basic:1", "device-7", labels=(("site", "brno"),), facts=tuple(words.items())
            ),
        )
    )


def asked(*names: GeneralName, **parts: object) -> Deny | CertificatePlan:
    """What is decided on these names, under the rules of ``names``."""
    rules = bundle(str(parts.pop("names")))
    wanted = replace(request(), identity=RequestedIdentity(subject(("CN", "device 1")), tuple(names)))
    decision = decide(rules, wanted, client(serial="A1", vendor="Big Co"))
    return decision if isinstance(decision, Deny) else planned(decision)


def planned(decision: object) -> CertificatePlan:
    plan = allowed(decision).plan  # type: ignore[arg-type]  # what allowed() asks
    assert plan is not None
    return plan


def verdict(found: Deny | CertificatePlan) -> list[ReasonCode]:
    return codes(found) if isinstance(found, Deny) else []


NO, WILD = ReasonCode.NAME_NOT_ALLOWED, ReasonCode.NAME_WILDCARD
HEAD = """\
apiVersion: pkigate/v1
kind: Backend
metadata: {name: embedded}
type: embedded
---
apiVersion: pkigate/v1
kind: Endpoint
metadata: {name: default}
protocol: est
backend: embedded
"""
