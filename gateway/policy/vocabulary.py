"""The words in which templates and expressions speak of a request: plain dicts, lists, text and numbers.

One vocabulary for templates (``${client.serial}``), CEL (``checks``, ``when``), hooks and embedded tests, so
that a word means the same everywhere. A word that a request has no value for is absent, never empty by
default: whoever asks for it is told, and the request is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import (
    ACME_ACCOUNT,
    CHALLENGE_DYNAMIC,
    CHALLENGE_STATIC,
    Evidence,
    VerifiedCredential,
)
from gateway.model.keys import ClientKey, PublicKey
from gateway.model.names import ATTRIBUTE_NAMES, DistinguishedName, GeneralName, NameKind
from gateway.policy.facts import Facts

Vocabulary = dict[str, object]

_ASKING = frozenset({"client", "account", "challenge"})
_CHALLENGES = frozenset({CHALLENGE_STATIC, CHALLENGE_DYNAMIC})
_SAN_WORDS: Mapping[NameKind, str] = {
    NameKind.DNS: "dns",
    NameKind.IP: "ip",
    NameKind.EMAIL: "email",
    NameKind.URI: "uri",
    NameKind.DIRECTORY: "directory",
    NameKind.OTHER: "other",
    NameKind.REGISTERED_ID: "registered_id",
}


def request_words(
    request: EnrolmentRequest, evidence: Evidence, facts: Facts, wanted: frozenset[str] | None = None
) -> Vocabulary:
    """What is known before anything is built: ``protocol``, ``endpoint``, ``operation``, ``profile``,
    ``source_ip``, ``now``, ``csr``, ``previous``, and of whoever asks ``client``, ``account``, ``challenge``.

    ``client`` is the deciding credential; its extracted facts stand beside ``kind``, ``identity``, ``name``,
    ``groups`` and ``label``, which none of them can replace. ``wanted``: the words that somebody will read,
    so that the dear ones among the others are spared; None: all.
    """
    words: Vocabulary = {
        "protocol": str(request.protocol),
        "endpoint": str(request.endpoint),
        "operation": str(request.operation),
        "profile": request.profile or "",
        "source_ip": request.remote.address,
        "now": facts.now,
    }
    if wanted is None or "csr" in wanted:
        words["csr"] = _csr(request)
    if wanted is None or not wanted.isdisjoint(_ASKING):
        words |= _asking(evidence)
    if facts.previous is not None and (wanted is None or "previous" in wanted):
        words["previous"] = {
            "subject": subject_words(facts.previous.subject),
            "san": san_words(facts.previous.sans),
            "not_before": facts.previous.not_before,
            "not_after": facts.previous.not_after,
        }
    return words


def _asking(evidence: Evidence) -> Vocabulary:
    words: Vocabulary = {}
    if evidence.credentials:
        words["client"] = _credential(evidence.credentials[0])
    for credential in evidence.credentials:
        if credential.kind == ACME_ACCOUNT:
            words["account"] = _credential(credential)
        elif credential.kind in _CHALLENGES:
            words["challenge"] = _credential(credential)
    return words


def subject_words(subject: DistinguishedName) -> dict[str, object]:
    """The first value of each attribute by its name (``CN``), by its OID where it has none."""
    found: dict[str, object] = {}
    for rdn in subject.rdns:
        for attribute in rdn:
            found.setdefault(ATTRIBUTE_NAMES.get(attribute.oid, attribute.oid), attribute.value)
    return found


def san_words(sans: Iterable[GeneralName]) -> dict[str, object]:
    """Lists of texts by kind; every kind is there, so that ``san.dns.all(...)`` holds of no names."""
    found: dict[str, list[str]] = {word: [] for word in _SAN_WORDS.values()}
    for name in sans:
        word = _SAN_WORDS.get(name.kind)
        if word is not None:
            found[word].append(name.value)
    return {**found}


def key_words(key: PublicKey) -> dict[str, object]:
    """``type`` as KeyType has it, ``size`` in bits (0 where it says nothing), ``curve`` or ""."""
    return {"type": str(key.type), "size": key.size_bits, "curve": key.curve or ""}


def _csr(request: EnrolmentRequest) -> dict[str, object]:
    found: dict[str, object] = {
        "subject": subject_words(request.identity.subject),
        "san": san_words(request.identity.sans),
    }
    if isinstance(request.key, ClientKey):
        found["key"] = key_words(request.key.public_key)
        found["spki_sha256"] = request.key.public_key.spki_sha256
        found["signature_hash"] = request.key.signature_hash or ""
    return found


def _credential(credential: VerifiedCredential) -> dict[str, object]:
    labels = dict(credential.labels)
    return {
        **dict(credential.facts),
        "kind": str(credential.kind),
        "identity": credential.identity,
        "name": credential.label,
        "groups": list(credential.groups),
        "label": labels,
        "attrs": labels,
    }
