"""What `authenticate` names that must be there: the list of those who may ask, and facts that are read."""

from __future__ import annotations

from gateway.policy.bundle_draft import BundleDraft
from gateway.policy.complaints import Path, Value
from gateway.policy.credential_words import unknown_word
from gateway.policy.document import Policy, RevocationPolicy
from gateway.policy.references import refer
from gateway.policy.yaml_marks import Document


def check_requirements(draft: BundleDraft, policy: Policy | RevocationPolicy, document: Document) -> None:
    """Complain of requirements that no request of this policy can meet."""
    rules = policy.authenticate
    path: Path = ("authenticate", "allow_list")
    if isinstance(policy, RevocationPolicy):
        if rules.allow_list is not None:
            text = "who may revoke is not looked up in a list; remove it, and name groups or a trust store"
            draft.found.add(document, path, text, of_key=True)
        return
    if rules.allow_list is None:
        return
    single = isinstance(_at(document.value, path), str)
    refer(draft, document, path if single else (*path, "list"), "List", rules.allow_list.list_name)
    text = unknown_word(rules, rules.allow_list.fact.partition("|")[0].strip().split("."))
    if text:
        draft.found.add(document, path if single else (*path, "fact"), text)


def _at(value: Value, path: Path) -> Value:
    for step in path:
        value = value.get(str(step)) if isinstance(value, dict) else None
    return value
