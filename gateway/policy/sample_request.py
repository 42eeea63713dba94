"""Makes the request, the evidence and the facts of a sample, as the gateway would hand them to the engine.

What the sample does not say takes the value that fits the policy: protocol, endpoint and first operation of
its match, a verified credential of the first kind that it takes, a key that it allows, names proven.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from gateway.model.enrolment import Correlation, EnrolmentRequest, Extension, Operation, RequestedIdentity
from gateway.model.evidence import Evidence, Linking, RemoteInfo
from gateway.model.ids import EndpointName, ProtocolName
from gateway.model.keys import ClientKey, KeyToCome, KeyType, Pop
from gateway.pki import der
from gateway.pki.certificate import parse_certificate
from gateway.pki.oids import BASIC_CONSTRAINTS
from gateway.policy.authentication_rules import (
    PopLinking,
)
from gateway.policy.extension_values import must_staple
from gateway.policy.facts import Facts, PreviousCertificate
from gateway.policy.renewal_check import RENEWING
from gateway.policy.rules import (
    AdmissionPolicy,
    CompiledPolicy,
)
from gateway.policy.sample_certificate import sample_certificate
from gateway.policy.sample_credentials import PRESENTED, kinds_of, sample_credentials
from gateway.policy.sample_documents import AskedNames, SampleCsr, SampleRequest
from gateway.policy.sample_keys import sample_key
from gateway.policy.sample_lists import SampleLists
from gateway.policy.sample_names import sample_sans, sample_subject, says_names
from gateway.policy.trial import Trial

_OPERATIONS = (Operation.ENROLL, Operation.RENEW, Operation.REKEY, Operation.REVOKE)
_WITHOUT_HASH = frozenset(
    {KeyType.ED25519, KeyType.ED448, KeyType.ML_DSA_44, KeyType.ML_DSA_65, KeyType.ML_DSA_87}
)
_KEY_WORDS: Mapping[KeyType, str] = {
    KeyType.ED25519: "ed25519",
    KeyType.ED448: "ed448",
    KeyType.ML_DSA_44: "ml-dsa-44",
    KeyType.ML_DSA_65: "ml-dsa-65",
    KeyType.ML_DSA_87: "ml-dsa-87",
}
_USUAL_WINDOW = timedelta(days=30)
_USUAL_LIFE = timedelta(days=365)
_NOWHERE = "192.0.2.1"  # RFC 5737
_NULL_DER = b"\x05\x00"
_CA_DER = der.sequence(der.tlv(der.BOOLEAN, b"\xff"))


@dataclass(frozen=True, slots=True)
class Given:
    """Real things that stand in for what a sample describes."""

    identity: RequestedIdentity | None = None
    key: ClientKey | None = None
    csr_der: bytes | None = None
    certificate_der: bytes | None = None  # authenticates; at a renewal it is the one that is renewed


def make_trial(sample: SampleRequest, policy: AdmissionPolicy, given: Given | None = None) -> Trial:
    """The sample with everything that it does not say, as fits ``policy``. ``given`` counts before it."""
    given = given or Given()
    operation = _operation(sample, policy)
    kinds = kinds_of(sample, policy, operation)
    identity = given.identity or _identity(sample, operation)
    key = given.key or _key(sample, policy)
    previous_der = None
    if operation in RENEWING:
        previous_der = given.certificate_der or _previous_der(sample, policy, identity, key)
    request = EnrolmentRequest(
        protocol=ProtocolName(sample.protocol or policy.protocol),
        endpoint=EndpointName(sample.endpoint or _preferred(policy.endpoints, "default")),
        operation=operation,
        correlation=Correlation((b"sample",)),
        identity=identity,
        key=KeyToCome() if operation is Operation.REVOKE else key,
        remote=RemoteInfo(sample.source_ip or _address(policy)),
        presented=tuple(PRESENTED[kind] for kind in kinds),
        profile=sample.profile or _preferred(policy.profiles, "") or None,
        csr_der=given.csr_der,
        renews_der=previous_der,
        not_before=sample.not_before,
        not_after=sample.not_after,
        linking=_linking(sample, policy),
    )
    credentials, refused = sample_credentials(sample, policy, request, kinds, given.certificate_der)
    facts = Facts(
        now=sample.now,
        previous=_previous(sample, previous_der),
        key_known_to_others=sample.known_key,
        lists=SampleLists(sample.lists),
        limits_exceeded=sample.limits is not None and sample.limits.exceeded,
    )
    return Trial(request, Evidence(credentials), facts, refused)


def _operation(sample: SampleRequest, policy: AdmissionPolicy) -> Operation:
    if sample.operation is not None:
        return Operation(sample.operation)
    return next(one for one in _OPERATIONS if one in policy.operations)


def _preferred(values: frozenset[str], word: str) -> str:
    return word if word in values or not values else min(values)


def _address(policy: AdmissionPolicy) -> str:
    return str(policy.source_networks[0][0]) if policy.source_networks else _NOWHERE


def _linking(sample: SampleRequest, policy: AdmissionPolicy) -> Linking:
    if sample.linking is not None:
        return sample.linking
    required = policy.authenticate.pop_linking is PopLinking.REQUIRED
    return Linking.TLS_EXPORTER if required else Linking.ABSENT


def _identity(sample: SampleRequest, operation: Operation) -> RequestedIdentity:
    asked: AskedNames = sample.csr
    if operation in RENEWING and sample.previous is not None and not says_names(asked):
        asked = sample.previous
    extensions = tuple(map(_extension, sample.csr.extensions))
    return RequestedIdentity(sample_subject(asked.subject), sample_sans(asked), extensions)


def _extension(word: str) -> Extension:
    if word == "ca":
        return Extension(BASIC_CONSTRAINTS, critical=True, value_der=_CA_DER)
    return must_staple() if word == "must-staple" else Extension(word, critical=False, value_der=_NULL_DER)


def _key(sample: SampleRequest, policy: AdmissionPolicy) -> ClientKey:
    csr: SampleCsr = sample.csr
    found = sample_key(csr.key or _usual_key(policy))
    if csr.hash is not None or found.type in _WITHOUT_HASH:
        return ClientKey(found, Pop.SIGNATURE, csr.hash)
    allowed = policy.keys.signature_hashes if isinstance(policy, CompiledPolicy) else frozenset()
    return ClientKey(found, Pop.SIGNATURE, _preferred(allowed, "sha256"))


def _usual_key(policy: AdmissionPolicy) -> str:
    """The smallest key that the policy allows, of a kind that most clients can make."""
    if not isinstance(policy, CompiledPolicy):
        return "ec-p256"
    rule = policy.keys
    if KeyType.EC in rule.types and rule.curves:
        return f"ec-{min(rule.curves).lower().replace('-', '')}"
    if KeyType.RSA in rule.types:
        smallest = max(rule.rsa_min, 2048) if rule.rsa_max >= 2048 else rule.rsa_min
        return f"rsa-{min(rule.rsa_sizes) if rule.rsa_sizes else smallest}"
    return next((word for kind, word in _KEY_WORDS.items() if kind in rule.types), "ec-p256")


def _previous_der(
    sample: SampleRequest, policy: AdmissionPolicy, identity: RequestedIdentity, key: ClientKey
) -> bytes:
    previous = sample.previous
    renews = sample.operation != "rekey" and Operation.RENEW in policy.operations
    same = renews if previous is None or previous.key is None else previous.key == "same"
    spki_der = key.public_key.spki_der if same else sample_key("ec-p256", "previous").spki_der
    subject, sans = identity.subject, identity.sans
    if previous is not None and says_names(previous):
        subject, sans = sample_subject(previous.subject), sample_sans(previous)
    not_after = sample.now + _time_left(sample, policy)
    not_before = min(not_after, sample.now) - _USUAL_LIFE
    return sample_certificate(subject, sans, spki_der, not_before, not_after)


def _time_left(sample: SampleRequest, policy: AdmissionPolicy) -> timedelta:
    previous = sample.previous
    if previous is not None and previous.expires_in is not None:
        return previous.expires_in
    if previous is not None and previous.expired_since is not None:
        return -previous.expired_since
    window = policy.renewal.window if isinstance(policy, CompiledPolicy) else None
    return min(window or _USUAL_WINDOW, _USUAL_WINDOW) / 2


def _previous(sample: SampleRequest, previous_der: bytes | None) -> PreviousCertificate | None:
    if previous_der is None:
        return None
    old = parse_certificate(previous_der)
    return PreviousCertificate(
        subject=old.subject,
        sans=old.sans,
        spki_sha256=old.spki_sha256,
        not_before=old.not_before,
        not_after=old.not_after,
        issued_here=sample.previous is None or sample.previous.issued_here,
    )
