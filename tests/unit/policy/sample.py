"""A small bundle, requests and facts for the tests of the policy engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from textwrap import dedent, indent

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ConfigDict, Field

from ca_backend.embedded.options import EmbeddedOptions
from gateway.acme.options import RESERVED_ENDPOINT_NAMES, AcmeOptions
from gateway.errors import ConfigurationError
from gateway.est.options import EstOptions
from gateway.model.decision import Allow, Decision, Deny
from gateway.model.enrolment import Correlation, EnrolmentRequest, Extension, Operation, RequestedIdentity
from gateway.model.evidence import (
    BASIC,
    Evidence,
    PresentedCertificate,
    PresentedCredential,
    PresentedPassword,
    RemoteInfo,
    SecretBytes,
    VerifiedCredential,
)
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.keys import ClientKey, Pop, PublicKey
from gateway.model.names import ATTRIBUTE_OIDS, AttributeTypeAndValue, DistinguishedName, GeneralName
from gateway.model.reasons import ReasonCode
from gateway.pki.keys import public_key
from gateway.pki.names import dns_name, email_name, ip_address_name, uri_name
from gateway.policy.engine import Selected, evaluate, select
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.load import Registry, load_bundle
from gateway.policy.rules import Bundle
from gateway.policy.sources import PolicySource

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CA_END = NOW + timedelta(days=3650)

HOUSE = """\
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
---
apiVersion: pkigate/v1
kind: TrustStore
metadata: {name: own}
backends: [embedded]
---
"""

PARTS = {
    "priority": "100",
    "match": "{protocol: est, endpoint: default, operation: enroll}",
    "authenticate": "{basic: {}}",
    "keys": "{rsa: {}, ec: [P-256, P-384], eddsa: [Ed25519]}",
    "names": """
      subject:
        CN: {source: csr, allow: {plain: true, suffix: [test]}}
      dns: {suffix: [test]}
      cn_in_san: false
    """,
    "validity": "{default: 90d}",
    "issue": "{backend: embedded}",
}


class OfMessages(BaseModel):
    """Options of a protocol that the loader knows nothing else of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str = ""


class Habits(BaseModel):
    """What a protocol takes Compat documents for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clients: str = Field(description="Who they are")
    order: int = Field(0, le=9, description="What is different for them")


def registry(*, lab: bool = False) -> Registry:
    return Registry(
        endpoint_options={"est": EstOptions, "acme": AcmeOptions, "scep": OfMessages, "cmp": OfMessages},
        backend_options={"embedded": EmbeddedOptions},
        reserved_endpoint_names={
            "est": frozenset({"simpleenroll", "cacerts"}),
            "acme": RESERVED_ENDPOINT_NAMES,
        },
        lab=lab,
        compat_models={"scep": Habits, "cmp": Habits},
    )


def policy(name: str = "rules", **parts: str) -> str:
    """A Policy document; each part is YAML text and replaces or adds to the usual ones."""
    lines = ["apiVersion: pkigate/v1", "kind: Policy", f"metadata: {{name: {name}}}"]
    for key, text in {**PARTS, **parts}.items():
        body = dedent(text).strip("\n")
        lines.append(f"{key}: {body}" if "\n" not in body else f"{key}:\n{indent(body, '  ')}")
    return "\n".join(lines) + "\n"


def load(*documents: str, lab: bool = False) -> Bundle:
    """The bundle of the house and these documents."""
    text = HOUSE + "---\n".join(documents)
    return load_bundle((PolicySource("p.yaml", text),), registry(lab=lab))


def renewal_policy(**parts: str) -> str:
    usual = {
        "match": "{protocol: est, operation: [renew, rekey]}",
        "authenticate": "{renewal-cert: {trust: own}}",
    }
    return policy("renewal", **{**usual, **parts})


@cache
def ec_key(number: int = 0) -> PublicKey:
    """A P-256 key; another number is another key."""
    private_key = ec.derive_private_key(1000 + number, ec.SECP256R1())
    return public_key(private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def client_key(key: PublicKey | None = None, *, signature_hash: str | None = "sha256") -> ClientKey:
    return ClientKey(key or ec_key(), Pop.SIGNATURE, signature_hash)


def subject(*attributes: tuple[str, str]) -> DistinguishedName:
    """A name of one RDN for each pair of type and value."""
    return DistinguishedName(
        tuple(
            (AttributeTypeAndValue(ATTRIBUTE_OIDS.get(kind, kind), value, 19 if kind == "C" else 12),)
            for kind, value in attributes
        )
    )


def san(text: str) -> GeneralName:
    """``dns:a.test``, ``ip:127.0.0.1``, ``email:a@b.test`` or ``uri:spiffe://a.test/b``."""
    kind, _, value = text.partition(":")
    return {"dns": dns_name, "ip": ip_address_name, "email": email_name, "uri": uri_name}[kind](value)


def sans(*texts: str) -> tuple[GeneralName, ...]:
    return tuple(map(san, texts))


def password(user: str = "device") -> PresentedPassword:
    return PresentedPassword(user, SecretBytes(b"secret"))


def certificate(der: bytes = b"certificate", **parts: object) -> PresentedCertificate:
    return PresentedCertificate((der,), **parts)  # type: ignore[arg-type]  # kind only


def request(
    *alternative_names: str,
    cn: str | None = "device 1",
    name: DistinguishedName | None = None,
    operation: Operation = Operation.ENROLL,
    presented: Sequence[PresentedCredential] | None = None,
    extensions: tuple[Extension, ...] = (),
    address: str = "192.0.2.1",
    **parts: object,
) -> EnrolmentRequest:
    """An enrolment by Basic unless said otherwise."""
    wanted = name if name is not None else subject(*([("CN", cn)] if cn is not None else []))
    made = EnrolmentRequest(
        protocol=ProtocolName("est"),
        endpoint=EndpointName("default"),
        operation=operation,
        correlation=Correlation((b"x",)),
        identity=RequestedIdentity(wanted, sans(*alternative_names), extensions),
        key=client_key(),
        remote=RemoteInfo(address),
        presented=tuple(presented) if presented is not None else (password(),),
    )
    return replace(made, **parts)  # type: ignore[arg-type]  # fields of the request


def basic_evidence(*, names: tuple[str, ...] | None = None) -> Evidence:
    return Evidence((VerifiedCredential(BASIC, "basic:1", "device", names=names),))


def facts(**parts: object) -> Facts:
    return replace(Facts(NOW, CA_END), **parts)  # type: ignore[arg-type]  # fields of the facts


def previous(
    *alternative_names: str,
    cn: str = "device 1",
    key: PublicKey | None = None,
    days_left: int = 10,
    issued_here: bool = True,
) -> PreviousCertificate:
    return PreviousCertificate(
        subject=subject(("CN", cn)),
        sans=sans(*alternative_names),
        spki_sha256=(key or ec_key()).spki_sha256,
        not_before=NOW - timedelta(days=80),
        not_after=NOW + timedelta(days=days_left),
        issued_here=issued_here,
    )


def decide(
    bundle: Bundle,
    asked: EnrolmentRequest,
    evidence: Evidence | None = None,
    known: Facts | None = None,
) -> Decision:
    """Select and evaluate; the request must be selected."""
    selected = select(bundle, asked)
    assert isinstance(selected, Selected), selected
    return evaluate(bundle, selected, asked, evidence or basic_evidence(), known or facts())


def allowed(decision: Decision) -> Allow:
    assert isinstance(decision, Allow), decision
    return decision


def codes(decision: Decision) -> list[ReasonCode]:
    assert isinstance(decision, Deny), decision
    return [reason.code for reason in decision.reasons]


def complaints(text: str) -> list[str]:
    """The lines of the ConfigurationError that a bundle with this text gives."""
    with pytest.raises(ConfigurationError) as caught:
        load_bundle((PolicySource("p.yaml", text),), registry())
    return str(caught.value).splitlines()
