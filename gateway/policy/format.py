"""The canonical layout of policy files (``pkigate policy fmt``): keys in the order of the documents' models.

It says the same before and after, and keeps every comment; it checks both itself and refuses otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from gateway.errors import ConfigurationError
from gateway.policy.complaints import Value
from gateway.policy.document import DOCUMENT_KINDS, policy_model
from gateway.policy.model_walk import below, models_of
from gateway.policy.yaml_layout import layout
from gateway.policy.yaml_marks import read_documents
from gateway.policy.yaml_tree import Collection, Item, Node, Page, Scalar, comments_of, read_pages

# Before all others, in this order, wherever a model has them.
_FIRST = ("apiVersion", "kind", "metadata", "name", "protocol", "endpoint", "operation", "auth")

# Numbers among them: they are written without quotes, as people do, and read as texts all the same.
_PLAIN_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def format_text(name: str, text: str) -> str:
    """A policy text in the canonical layout. Formatting that again changes nothing.

    Raises ConfigurationError with ``file:line:column`` for a text that cannot be read. What its documents
    say may be wrong: unknown keys keep their order behind the known ones.
    """
    before = read_documents(name, text)
    pages = read_pages(text)
    for page in pages:
        _put_in_order(page)
    written = layout(pages)
    _check_same(name, text, [document.value for document in before], written)
    return written


def documents_text(documents: Sequence[Value]) -> str:
    """Documents as a policy text in the canonical layout."""
    pages = [Page(_tree(document)) for document in documents]
    for page in pages:
        _put_in_order(page)
    return layout(pages)


def _tree(value: Value) -> Node:
    """A value as it might have been written: in brackets where nothing deeper stands inside."""
    if value is None:
        return Scalar("null")
    if isinstance(value, str):
        plain = _PLAIN_WORD.fullmatch(value) is not None and value.lower() != "null"
        return Scalar(value, None if plain else '"')
    items = [Item(_tree(one)) for one in value] if isinstance(value, list) else _pairs(value)
    flat = all(isinstance(item.value, Scalar) for item in items)
    return Collection(isinstance(value, dict), flow=flat, lines=2, items=items)


def _pairs(value: dict[str, Value]) -> list[Item]:
    return [Item(_tree(one), Scalar(key, '"')) for key, one in value.items()]


def _check_same(name: str, text: str, values: list[Value], written: str) -> None:
    after = [document.value for document in read_documents(name, written)]
    comments = sorted(comment.text for comment in comments_of(text.replace("\r\n", "\n").replace("\r", "\n")))
    if after != values or comments != sorted(comment.text for comment in comments_of(written)):
        raise ConfigurationError(
            f"{name}:1:1: formatting would change what this file says; leave it as it is, and report it"
        )


def _put_in_order(page: Page) -> None:
    node = page.node
    if not isinstance(node, Collection) or not node.is_mapping:
        return
    words: dict[str, str] = {}
    for item in node.items:
        if item.key is not None and isinstance(item.value, Scalar):
            words[item.key.value] = item.value.value
    kind = words.get("kind", "")
    models = DOCUMENT_KINDS.get(kind, ())
    model = policy_model(_match_of(node)) if kind == "Policy" else next(iter(models), None)
    if model is not None:
        _order(node, [model])


def _match_of(node: Collection) -> dict[str, Value]:
    """As much of a document as tells the two forms of a Policy apart."""
    for item in node.items:
        if item.key is not None and item.key.value == "match" and isinstance(item.value, Collection):
            for inner in item.value.items:
                if inner.key is not None and inner.key.value == "operation":
                    return {"match": {"operation": _words(inner)}}
    return {}


def _words(item: Item) -> Value:
    if isinstance(item.value, Scalar):
        return item.value.value
    return [one.value.value for one in item.value.items if isinstance(one.value, Scalar)]


def _order(node: Collection, annotations: Sequence[Any]) -> None:
    if node.is_mapping:
        if not models_of(annotations):
            annotations = [*annotations, *below(annotations, 0)]  # one mapping for a list of one
        place = _places(models_of(annotations))
        node.items.sort(key=lambda item: place.get(item.key.value if item.key else "", len(place)))
    for number, item in enumerate(node.items):
        if isinstance(item.value, Collection):
            _order(item.value, below(annotations, item.key.value if item.key is not None else number))


def _places(models: Sequence[type[BaseModel]]) -> dict[str, int]:
    known = dict.fromkeys(info.alias or name for model in models for name, info in model.model_fields.items())
    ordered = [key for key in _FIRST if key in known] + [key for key in known if key not in _FIRST]
    return {key: place for place, key in enumerate(ordered)}
