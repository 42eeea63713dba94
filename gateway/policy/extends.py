"""``extends: NAME`` in a Policy: what the named policy says counts where this one says nothing.

Mappings are merged key by key, at every depth; lists and single values replace. Everything that is inherited
keeps the place where it is written, so that a mistake in it is told there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from gateway.policy.complaints import Path, Value, complaints_of, did_you_mean
from gateway.policy.document import Policy, RevocationPolicy, policy_model
from gateway.policy.policy_template import NEVER_INHERITED, NOT_IN_TEMPLATES
from gateway.policy.yaml_marks import ComplaintList, Document, Mark

MAX_DEPTH = 10
# One value stands for a list of one there, so that mappings replace as lists do.
_LISTS = frozenset({("issue",), ("issue", "fallback")})


def with_inherited(documents: Sequence[Document], found: ComplaintList) -> list[Document | None]:
    """Each document with what it inherits; None where that cannot be told, which goes into ``found``."""
    family = _Family({}, found)
    for document in documents:
        if _is_policy(document.value):
            family.named.setdefault(_name(document.value), document)
    return [family.whole(document) for document in documents]


@dataclass(slots=True)
class _Family:
    """All policies by their names; ``done``: what was made of them so far, by the document's identity."""

    named: dict[str, Document]
    found: ComplaintList
    done: dict[int, Document | None] = field(default_factory=dict)

    def whole(self, document: Document, heirs: tuple[str, ...] = ()) -> Document | None:
        """A document with what it inherits. ``heirs``: who is asking, the last one first."""
        value = document.value
        wanted = value.get("extends") if isinstance(value, dict) and _is_policy(value) else None
        if wanted is None:
            return document
        if id(document) not in self.done:
            self.done[id(document)] = self._made(document, wanted, heirs)
        return self.done[id(document)]

    def _made(self, document: Document, wanted: Value, heirs: tuple[str, ...]) -> Document | None:
        if policy_model(document.value) is RevocationPolicy:
            return document  # its model says what is wrong
        fault = self._fault(_name(document.value), wanted, heirs)
        if fault or not isinstance(wanted, str):
            self.found.add(document, ("extends",), fault)
            return None
        parent = self.whole(self.named[wanted], (_name(document.value), *heirs))
        # What is wrong there is told there.
        return merged(parent, document) if parent is not None else None

    def _fault(self, name: str, wanted: Value, heirs: tuple[str, ...]) -> str:
        """What is wrong with ``extends: wanted`` in the policy of this name; empty if nothing is."""
        if not isinstance(wanted, str):
            return "a policy extends one other; write its name: extends: NAME"
        if wanted in (name, *heirs):
            circle = " extends ".join([*reversed((name, *heirs)), wanted])
            return f"{circle}, in a circle; take one extends out"
        if len(heirs) >= MAX_DEPTH:
            return f"policies extend each other more than {MAX_DEPTH} deep; write some of it out"
        parent = self.named.get(wanted)
        if parent is None:
            return f"there is no Policy {wanted!r}; {did_you_mean(wanted, set(self.named) - {name})}"
        if policy_model(parent.value) is RevocationPolicy:
            return f"{wanted!r} is a policy for revocations, which nothing extends; write its keys out"
        return ""


def check_template(document: Document, found: ComplaintList) -> None:
    """Complain of what is wrong in a template whatever extends it. What it lacks may stand there."""
    value = document.value
    assert isinstance(value, dict)
    for key in NOT_IN_TEMPLATES:
        if key in value:
            text = f"{key!r} is never inherited, and nothing selects a template; remove it"
            found.add(document, (key,), text, of_key=True)
    parts = {key: one for key, one in value.items() if key not in (*NOT_IN_TEMPLATES, "mode")}
    try:
        Policy.model_validate(parts)
    except ValidationError as error:
        for complaint in complaints_of(Policy, parts, error, in_part=True):
            found.add(document, complaint.path, complaint.text, of_key=complaint.of_key)


def merged(parent: Document, child: Document) -> Document:
    """The child with what it inherits; ``parent`` is whole already."""
    draft = _Merge(parent, child, dict(child.marks), dict(child.key_marks))
    assert isinstance(parent.value, dict)
    assert isinstance(child.value, dict)
    heritage = {key: value for key, value in parent.value.items() if key not in NEVER_INHERITED}
    return replace(
        child, value=draft.mapping(heritage, child.value, ()), marks=draft.marks, key_marks=draft.key_marks
    )


@dataclass(slots=True)
class _Merge:
    parent: Document
    child: Document
    marks: dict[Path, Mark]
    key_marks: dict[Path, Mark]

    def mapping(
        self, inherited: Mapping[str, Value], own: Mapping[str, Value], path: Path
    ) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for key, value in inherited.items():
            below = (*path, key)
            if key not in own:
                found[key] = value
                self._take_marks(below)
            elif own[key] is None and below in self.child.nulls:
                continue  # `key: null` takes away what would be inherited
            else:
                found[key] = self._value(value, own[key], below)
        found.update((key, value) for key, value in own.items() if key not in inherited)
        return found

    def _value(self, inherited: Value, own: Value, path: Path) -> Value:
        if isinstance(inherited, dict) and isinstance(own, dict) and path not in _LISTS:
            return self.mapping(inherited, own, path)
        return own

    def _take_marks(self, path: Path) -> None:
        for own, theirs in ((self.marks, self.parent.marks), (self.key_marks, self.parent.key_marks)):
            for place, mark in theirs.items():
                if place[: len(path)] == path:
                    own[place] = replace(mark, file=mark.file or self.parent.name)


def _is_policy(value: Value) -> bool:
    return isinstance(value, dict) and value.get("kind") == "Policy"


def _name(value: Value) -> str:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
