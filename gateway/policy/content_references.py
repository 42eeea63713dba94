"""What the parts about keys and renewal of a policy say of other documents, and of the policy's protocol."""

from __future__ import annotations

from collections.abc import Callable

from gateway.policy.bundle_draft import BundleDraft
from gateway.policy.complaints import Path
from gateway.policy.document import Policy
from gateway.policy.key_documents import BUILTIN
from gateway.policy.list_content import ListType
from gateway.policy.list_documents import List
from gateway.policy.yaml_marks import Document

_ACME = "acme"
_KEY_LISTS = frozenset({ListType.SPKI_SHA256, ListType.DEBIAN_OPENSSL})
_RENEWING = frozenset({"renew", "rekey"})

Refer = Callable[[BundleDraft, Document, Path, str, str], None]


def check_content(draft: BundleDraft, policy: Policy, document: Document, refer: Refer) -> None:
    """Complain of block lists that are not there or not of keys, and of renewal rules without effect."""
    _check_lists(draft, policy, document, refer)
    _check_renewal(draft, policy, document)


def _check_lists(draft: BundleDraft, policy: Policy, document: Document, refer: Refer) -> None:
    keys = policy.keys
    types: dict[str, ListType] = {
        one.model.metadata.name: one.model.type for one in draft.read if isinstance(one.model, List)
    }
    written = document.value.get("keys") if isinstance(document.value, dict) else None
    single = isinstance(written, dict) and isinstance(written.get("blocklists"), str)
    for index, name in enumerate(keys.blocklists):
        path: Path = ("keys", "blocklists") if single else ("keys", "blocklists", index)
        if name == BUILTIN:
            continue
        refer(draft, document, path, "List", name)
        if name in types and types[name] not in _KEY_LISTS:
            text = (
                f"{name!r} is a list of type {types[name]}; a list of keys has the type spki-sha256 or "
                "debian-openssl"
            )
            draft.found.add(document, path, text)


def _check_renewal(draft: BundleDraft, policy: Policy, document: Document) -> None:
    written = policy.renewal.model_fields_set
    if "ari" in written and policy.match.protocol != _ACME:
        text = "renewal information is ACME's (RFC 9773); remove it"
        draft.found.add(document, ("renewal", "ari"), text)
    if policy.renewal.revoke_previous is None:
        return
    path: Path = ("renewal", "revoke_previous")
    if policy.match.protocol == _ACME:
        text = (
            "an ACME order renews no certificate, it only tells what it replaces, and clients revoke "
            "themselves; remove it"
        )
        draft.found.add(document, path, text)
    elif not _RENEWING & {*policy.match.operations}:
        text = "this policy is for first certificates, which have none before them; remove it"
        draft.found.add(document, path, text)
