"""Bundles, credentials and requests of protocols whose messages authenticate themselves: SCEP and CMP."""

from __future__ import annotations

from dataclasses import replace

from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import (
    SIGNATURE,
    CredentialKind,
    Evidence,
    PresentedCertificate,
    PresentedChallenge,
    PresentedMac,
    SecretBytes,
    VerifiedCredential,
)
from gateway.model.ids import ProtocolName
from gateway.policy.rules import Bundle
from tests.unit.policy.sample import load, policy, request

CMP, SCEP = ProtocolName("cmp"), ProtocolName("scep")
CHALLENGE = PresentedChallenge(SecretBytes(b"secret"))
MAC_OF_DEVICE = PresentedMac("7", "device")


def endpoint(protocol: str = "cmp", name: str = "default", *, more: str = "") -> str:
    head = f"apiVersion: pkigate/v1\nkind: Endpoint\nmetadata: {{name: {name}}}\n"
    return f"{head}protocol: {protocol}\nbackend: embedded\n{more}"


def message_policy(protocol: str = "cmp", name: str = "messages", **parts: str) -> str:
    """A policy for first certificates by a protected message, unless said otherwise."""
    usual = {"match": f"{{protocol: {protocol}, operation: enroll}}", "authenticate": "{mac: {}}"}
    return policy(name, **{**usual, **parts})


def revocation_policy(name: str = "revocations", **parts: str) -> str:
    usual = {
        "priority": "100",
        "match": "{protocol: cmp, operation: revoke}",
        "authenticate": "{signature: {trust: own}}",
    }
    lines = [f"{key}: {text}" for key, text in {**usual, **parts}.items()]
    return "\n".join(["apiVersion: pkigate/v1", "kind: Policy", f"metadata: {{name: {name}}}", *lines, ""])


def message_bundle(*documents: str) -> Bundle:
    """These documents beside an endpoint of CMP and one of SCEP."""
    return load(endpoint("cmp"), endpoint("scep"), *documents)


def message(*names: str, protocol: ProtocolName = CMP, **parts: object) -> EnrolmentRequest:
    """A first certificate asked for by a message that a secret protects, unless said otherwise."""
    asked = request(*names, presented=(MAC_OF_DEVICE,))
    return replace(asked, **{"protocol": protocol, **parts})  # type: ignore[arg-type]  # fields of it


def revocation(**parts: object) -> EnrolmentRequest:
    usual: dict[str, object] = {"operation": Operation.REVOKE, "presented": (signed(),)}
    return message(**{**usual, **parts})


def signed(certificate_der: bytes = b"certificate") -> PresentedCertificate:
    return PresentedCertificate((certificate_der,), SIGNATURE)


def verified(
    *kinds: CredentialKind, certificate_der: bytes | None = None, ra: bool = False, **parts: object
) -> Evidence:
    """What stood up to verification: one credential of each kind."""
    return Evidence(
        tuple(
            VerifiedCredential(kind, f"{kind}:1", "device", certificate_der, ra=ra, **parts)  # type: ignore[arg-type]
            for kind in kinds
        )
    )
