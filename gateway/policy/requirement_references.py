"""What `authenticate` names that must be there: the list of those who may ask, and facts that are read."""

from __future__ import annotations

from gateway.policy.authentication_documents import Authenticate
from gateway.policy.bundle_draft import BundleDraft
from gateway.policy.complaints import Path, Value, did_you_mean
from gateway.policy.document import Policy, RevocationPolicy
from gateway.policy.extraction import RESERVED_FACTS
from gateway.policy.references import refer
from gateway.policy.yaml_marks import Document

_OF_CREDENTIALS = {"account": ("acme_account",), "challenge": ("challenge",)}


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
    text = _unknown_word(rules, rules.allow_list.fact)
    if text:
        draft.found.add(document, path if single else (*path, "fact"), text)


def _unknown_word(rules: Authenticate, fact: str) -> str:
    """Why no request of this policy has a value for the word; "" if some may."""
    words = fact.partition("|")[0].strip().split(".")
    needed = _OF_CREDENTIALS.get(words[0])
    if needed is not None and not any(getattr(rules, name) for name in needed):
        return f"this policy asks for no {words[0]}, so {fact} has no value; name a word of what it asks for"
    if words[0] != "client" or words[1] in RESERVED_FACTS:
        return ""
    known = {name for rule in rules.trusts.values() for name in rule.extract}
    if words[1] in known:
        return ""
    hint = did_you_mean(words[1], known) if known else "add `extract` to mtls, renewal-cert or signature"
    return f"no certificate rule of this policy extracts {words[1]!r}; {hint}"


def _at(value: Value, path: Path) -> Value:
    for step in path:
        value = value.get(str(step)) if isinstance(value, dict) else None
    return value
