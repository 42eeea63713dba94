"""Words of the vocabulary that stand for a credential, held against what a policy asks for."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.policy.authentication_documents import Authenticate
from gateway.policy.complaints import did_you_mean
from gateway.policy.extraction import RESERVED_FACTS

_OF_CREDENTIALS = {"account": ("acme_account",), "challenge": ("challenge",)}


def unknown_word(rules: Authenticate, words: Sequence[str]) -> str:
    """Why no request of this policy has a value for ``client.serial`` and the like; "" if some may."""
    needed = _OF_CREDENTIALS.get(words[0])
    if needed is not None and not any(getattr(rules, name) for name in needed):
        text = f"this policy asks for no {words[0]}, so {'.'.join(words)} has no value"
        return f"{text}; name a word of what it asks for"
    if words[0] != "client" or words[1] in RESERVED_FACTS:
        return ""
    known = {name for rule in rules.trusts.values() for name in rule.extract}
    if words[1] in known:
        return ""
    hint = did_you_mean(words[1], known) if known else "add `extract` to mtls, renewal-cert or signature"
    return f"no certificate rule of this policy extracts {words[1]!r}; {hint}"
