"""Time one decision in a bundle of many policies of which the last one fits: selection, rules and a check.

    python -m bench.policy_decision [--policies N] [--decisions N]

No I/O is in it: what a decision asks of database and CA is measured by the other modes. Each decision is
about another key, name and address.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.model.decision import Allow
from gateway.model.enrolment import Correlation, EnrolmentRequest, Operation, RequestedIdentity
from gateway.model.evidence import (
    BASIC,
    Evidence,
    PresentedPassword,
    RemoteInfo,
    SecretBytes,
    VerifiedCredential,
)
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.keys import ClientKey, Pop
from gateway.model.names import CN_OID, AttributeTypeAndValue, DistinguishedName
from gateway.pki.keys import public_key
from gateway.pki.names import dns_name
from gateway.plugins import load_plugins
from gateway.policy.engine import evaluate, select
from gateway.policy.facts import Facts
from gateway.policy.load import PolicySource, load_bundle
from gateway.policy.rules import Bundle

NAME = "policy decision"
WARM_UP = 500
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_CHECK = {"id": "no-lab", "expr": "san.dns.all(n, !n.endsWith('.lab.example'))"}
_EVIDENCE = Evidence((VerifiedCredential(BASIC, "basic:1", "device"),))


def many_policies(count: int) -> Bundle:
    """Policies of one endpoint and operation, told apart by profile or network; the last one has a check."""
    documents: list[dict[str, Any]] = [
        {"apiVersion": "pkigate/v1", "kind": "Backend", "metadata": {"name": "embedded"}, "type": "embedded"},
        {
            "apiVersion": "pkigate/v1",
            "kind": "Endpoint",
            "metadata": {"name": "default"},
            "protocol": "est",
            "backend": "embedded",
        },
    ]
    documents += [_policy(number, count) for number in range(count)]
    text = "".join(f"---\n{json.dumps(one)}\n" for one in documents)
    return load_bundle((PolicySource("many.yaml", text),), load_plugins().registry(lab=False))


def _policy(number: int, count: int) -> dict[str, Any]:
    last = number == count - 1
    match: dict[str, Any] = {"protocol": "est", "endpoint": "default", "operation": "enroll"}
    if number % 2 and not last:
        match["profile"] = f"profile-{number}"
    else:
        match["source_ip"] = "192.168.0.0/16" if last else f"10.{number >> 8}.{number & 255}.0/24"
    return {
        "apiVersion": "pkigate/v1",
        "kind": "Policy",
        "metadata": {"name": f"policy-{number}"},
        "priority": number + 1,
        "match": match,
        "authenticate": {"basic": {}},
        "keys": {"rsa": {}, "ec": ["P-256", "P-384"]},
        "names": {
            "subject": {"CN": {"source": "csr", "allow": {"suffix": ["example"]}}},
            "dns": {"suffix": ["example"]},
        },
        "extensions": {"extended_key_usage": ["serverAuth"]},
        "validity": {"default": "90d"},
        "issue": {"backend": "embedded"},
        **({"checks": [_CHECK]} if last else {}),
    }


def requests(count: int) -> list[EnrolmentRequest]:
    """Enrolments by Basic from the network of the last policy."""
    made = []
    for number in range(count):
        spki_der = (
            ec.derive_private_key(number + 2, ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )
        host = f"host-{number}.example"
        subject = DistinguishedName(((AttributeTypeAndValue(CN_OID, host),),))
        made.append(
            EnrolmentRequest(
                protocol=ProtocolName("est"),
                endpoint=EndpointName("default"),
                operation=Operation.ENROLL,
                correlation=Correlation((spki_der,)),
                identity=RequestedIdentity(subject, (dns_name(host),)),
                key=ClientKey(public_key(spki_der), Pop.SIGNATURE, "sha256"),
                remote=RemoteInfo(f"192.168.{number >> 8 & 255}.{number & 255}"),
                presented=(PresentedPassword("device", SecretBytes(b"secret")),),
            )
        )
    return made


def measure(policies: int = 200, decisions: int = 5000) -> str:
    """Median and 99th percentile as a text."""
    bundle = many_policies(policies)
    facts = Facts(_NOW, _NOW + timedelta(days=3650))
    spans = []
    gc.collect()
    for number, request in enumerate(requests(WARM_UP + decisions)):
        now = replace(facts, now=_NOW + timedelta(seconds=number))
        begin = time.perf_counter_ns()
        selected = select(bundle, request)
        decision = evaluate(bundle, selected, request, _EVIDENCE, now)  # type: ignore[arg-type]
        spans.append(time.perf_counter_ns() - begin)
        if not isinstance(decision, Allow) or decision.policy != f"policy-{policies - 1}":
            raise AssertionError(f"not the last policy: {decision}")
    spans = sorted(spans[WARM_UP:])
    median, late = statistics.median(spans) / 1000, spans[len(spans) * 99 // 100] / 1000
    return f"{median:.1f} us median, {late:.1f} us p99, {decisions} decisions"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.policy_decision", description=__doc__.splitlines()[0])
    parser.add_argument("--policies", type=int, default=200)
    parser.add_argument("--decisions", type=int, default=5000)
    options = parser.parse_args(arguments)
    print(f"{NAME}, {options.policies} policies: {measure(options.policies, options.decisions)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
