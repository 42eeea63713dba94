"""The documents of all sources as models: read, put together with what they extend, validated, named once."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import ConfigurationError
from gateway.policy.bundle_draft import BundleDraft, ReadDocument
from gateway.policy.complaints import did_you_mean
from gateway.policy.document import DOCUMENT_KINDS, PLANNED_KINDS, AnyDocument, policy_model
from gateway.policy.extends import with_inherited
from gateway.policy.sources import PolicySource
from gateway.policy.yaml_marks import Document, read_documents, validate


def read_all(draft: BundleDraft, sources: Sequence[PolicySource]) -> None:
    """Fill ``draft.read`` and ``draft.declared``; every mistake goes into ``draft.found``."""
    written: list[tuple[Document, PolicySource]] = []
    for source in sources:
        try:
            written += [(document, source) for document in read_documents(source.name, source.text)]
        except ConfigurationError as error:
            draft.found.take(error)
            draft.unreadable = True
    whole = with_inherited([document for document, _ in written], draft.found)
    for (document, source), complete in zip(written, whole, strict=True):
        model = _kind_of(draft, document)
        if model is None or complete is None:
            draft.unreadable = True
            continue
        try:
            read = ReadDocument(validate(model, complete), complete, source, document.value)
        except ConfigurationError as error:
            draft.found.take(error)
            draft.unreadable = True
        else:
            draft.read.append(read)
    _check_unique(draft)


def _kind_of(draft: BundleDraft, document: Document) -> type[AnyDocument] | None:
    if not isinstance(document.value, dict):
        draft.found.add(
            document, (), "this is no document; begin with apiVersion: pkigate/v1 and kind: Policy"
        )
        return None
    kind = document.value.get("kind")
    if isinstance(kind, str) and kind in DOCUMENT_KINDS:
        return policy_model(document.value) if kind == "Policy" else DOCUMENT_KINDS[kind][0]
    if kind is None:
        text = f"the key 'kind' is missing; add one of {', '.join(DOCUMENT_KINDS)}"
    elif isinstance(kind, str) and kind in PLANNED_KINDS:
        text = f"documents of the kind {kind!r} are not available in this version; remove this one"
    else:
        word = kind if isinstance(kind, str) else "a list or mapping"
        text = f"{word!r} is no kind of document; {did_you_mean(word, DOCUMENT_KINDS)}"
    draft.found.add(document, ("kind",) if kind is not None else (), text)
    return None


def _check_unique(draft: BundleDraft) -> None:
    first: dict[tuple[str, str, str], Document] = {}
    for one in draft.read:
        other = first.setdefault(one.key, one.document)
        draft.declared.add(one.key)
        if other is not one.document:
            text = (
                f"another {one.model.kind} has the name {one.model.metadata.name!r} already, at "
                f"{other.where(('metadata', 'name'))}; choose another name"
            )
            draft.found.add(one.document, ("metadata", "name"), text)
