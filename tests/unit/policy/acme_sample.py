"""ACME endpoints, policies, accounts and their proofs for the tests of the policy engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gateway.model.enrolment import EnrolmentRequest, Extension
from gateway.model.evidence import (
    ACME_ACCOUNT,
    PREVALIDATED,
    Evidence,
    PresentedAccount,
    ProvenName,
    VerifiedCredential,
)
from gateway.model.ids import ProtocolName
from gateway.model.keys import KeyToCome
from gateway.model.names import DistinguishedName
from gateway.model.preview import Preview
from gateway.policy.engine import Selected, preview, select
from gateway.policy.facts import Facts
from gateway.policy.rules import Bundle
from tests.unit.policy.sample import NOW, facts, load, policy, request, san

ALL = "[http-01, dns-01, tls-alpn-01]"
NAMES = """
  subject: first-dns
  dns: {suffix: [test], wildcard: allow}
  ip: {cidr: ["10.0.0.0/8", "fd00::/8"]}
  email: {suffix: [test]}
"""


def acme_endpoint(name: str = "default", options: str = "{}") -> str:
    return (
        f"apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {{name: {name}}}\nprotocol: acme\n"
        f"backend: embedded\noptions: {options}\n"
    )


def acme_policy(
    name: str = "web", *, challenges: str = ALL, reuse: str = "1h", profile: str = "", **parts: str
) -> str:
    """A Policy document for ACME accounts."""
    chosen = f", profile: {profile}" if profile else ""
    usual = {
        "match": f"{{protocol: acme, operation: enroll{chosen}}}",
        "authenticate": f"{{acme-account: {{challenges: {challenges}, reuse_authorization: {reuse}}}}}",
        "names": NAMES,
    }
    return policy(name, **{**usual, **parts})


def acme_bundle(*policies: str, options: str = "{}") -> Bundle:
    """A bundle with the ACME endpoint ``default`` and these policies, else the usual one."""
    return load(acme_endpoint(options=options), *(policies or (acme_policy(),)))


def proof(text: str, method: str = "http-01") -> ProvenName:
    """``dns:a.test`` or ``ip:10.0.0.1`` as proven an hour ago."""
    name = san(text)
    return ProvenName(name.kind, name.value, method, NOW - timedelta(hours=1))


def prevalidated(*texts: str) -> tuple[ProvenName, ...]:
    return tuple(proof(text, PREVALIDATED) for text in texts)


def account(
    *proven: ProvenName,
    credential_id: str | None = None,
    names: tuple[str, ...] | None = None,
    profiles: tuple[str, ...] | None = None,
    spared: tuple[str, ...] = (),
) -> Evidence:
    """An account with these proofs; ``spared`` are the names that its credential needs no challenge for."""
    return Evidence(
        (
            VerifiedCredential(
                ACME_ACCOUNT,
                "acme:1",
                "mailto:a@a.test",
                credential_id=credential_id,
                names=names,
                profiles=profiles,
                proven=proven,
                prevalidated=spared,
            ),
        )
    )


def ordered(
    *names: str,
    cn: str | None = None,
    name: DistinguishedName | None = None,
    extensions: tuple[Extension, ...] = (),
    **parts: object,
) -> EnrolmentRequest:
    """The finalization of an order for these names, its CSR with no subject unless said otherwise."""
    presented = (PresentedAccount("1", "thumbprint", "mailto:a@a.test"),)
    made = request(*names, cn=cn, name=name, extensions=extensions, presented=presented)
    return replace(made, protocol=ProtocolName("acme"), **parts)  # type: ignore[arg-type]  # fields of it


def previewed(
    bundle: Bundle, *names: str, evidence: Evidence | None = None, known: Facts | None = None, **parts: object
) -> Preview:
    """What is said of a new order."""
    asked = replace(ordered(*names, key=KeyToCome()), **parts)  # type: ignore[arg-type]  # fields of it
    selected = select(bundle, asked)
    assert isinstance(selected, Selected), selected
    return preview(bundle, selected, asked, evidence or Evidence(), known or facts())
