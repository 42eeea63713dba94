"""What a request asked for, as it is recorded beside its decision, so that it can be decided again.

What stands in other columns (names as texts, the CSR, the remote address) is not written twice. Secrets never
come into it; whoever has shown nothing yet cannot swell it.
"""

from __future__ import annotations

from base64 import b64encode

from gateway.clock import to_epoch_s
from gateway.model.enrolment import EnrolmentRequest, RequestedIdentity
from gateway.model.keys import ClientKey, KeyToCome, Pop
from gateway.model.names import NameKind
from gateway.policy.facts import Facts

ASKED = "asked"  # in a request's decision
MAX_TEXT = 1000
MAX_UNVERIFIED_BYTES = 2048
MAX_EARLIER = 20  # certificates of the same key
MAX_EARLIER_NAMES = 100
FLAGS = ("key_known_to_others", "key_of_ca", "key_of_account", "limits_exceeded")
# Kinds whose GeneralName is made from its text alone.
TEXTUAL = frozenset({NameKind.DNS, NameKind.IP, NameKind.EMAIL, NameKind.URI})


def asked_json(
    request: EnrolmentRequest, facts: Facts | None, *, csr_kept: bool, names_kept: bool, verified: bool
) -> dict[str, object]:
    """``csr_kept`` and ``names_kept``: whether the row holds the CSR, and all alternative names."""
    found: dict[str, object] = {"presented": [str(one.kind) for one in request.presented]}
    wanted = _names(request.identity)
    wanted.update(_key(request, csr_kept=csr_kept))
    if not csr_kept:
        wanted.update(_extensions(request.identity))
    if names_kept and (verified or len(repr(wanted)) <= MAX_UNVERIFIED_BYTES):
        found.update(wanted)
    else:
        found["partial"] = True
    if request.profile is not None:
        found["profile"] = request.profile[:MAX_TEXT]
    if request.not_before is not None:
        found["not_before"] = to_epoch_s(request.not_before)
    if request.not_after is not None:
        found["not_after"] = to_epoch_s(request.not_after)
    if facts is not None:
        found["facts"] = _facts(facts)
    return found


def _names(identity: RequestedIdentity) -> dict[str, object]:
    """The subject, and those alternative names that their texts do not say all of."""
    found: dict[str, object] = {}
    if identity.subject:
        found["subject"] = [[[a.oid, a.value, a.tag] for a in rdn] for rdn in identity.subject.rdns]
    others = [[index, _b64(name.der)] for index, name in enumerate(identity.sans) if name.kind not in TEXTUAL]
    if others:
        found["sans_der"] = others
    return found


def _extensions(identity: RequestedIdentity) -> dict[str, object]:
    found: dict[str, object] = {}
    if identity.extensions:
        found["extensions"] = [[e.oid, e.critical, _b64(e.value_der)] for e in identity.extensions]
    if identity.attributes:
        found["attributes"] = list(identity.attributes)
    return found


def _key(request: EnrolmentRequest, *, csr_kept: bool) -> dict[str, object]:
    key = request.key
    if isinstance(key, KeyToCome):
        return {"key": "to-come"}
    if not isinstance(key, ClientKey):
        return {"key": "server"}
    found: dict[str, object] = {}
    if not csr_kept:
        found = {"spki": _b64(key.public_key.spki_der), "hash": key.signature_hash}
    if key.pop is not Pop.SIGNATURE:
        found["pop"] = key.pop.value
    return found


def _facts(facts: Facts) -> dict[str, object]:
    found: dict[str, object] = {"now": facts.now.timestamp()}
    if facts.issuer_not_after is not None:
        found["issuer_not_after"] = to_epoch_s(facts.issuer_not_after)
    if facts.previous is not None and facts.previous.issued_here:
        found["issued_here"] = True
    for name in FLAGS:
        if getattr(facts, name):
            found[name] = True
    if facts.issuer_ends:
        found["issuer_ends"] = [
            [backend, profile, to_epoch_s(end)] for (backend, profile), end in facts.issuer_ends.items()
        ]
    if facts.key_stands_in:
        found["key_stands_in"] = [
            [one.subject, sorted(one.sans)[:MAX_EARLIER_NAMES]] for one in facts.key_stands_in[:MAX_EARLIER]
        ]
    return found


def _b64(value: bytes) -> str:
    return b64encode(value).decode()
