"""Values of a wrong type for every key of every document, by the JSON Schema: new keys come by themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from gateway.policy.complaints import Path, Value
from gateway.policy.document import DOCUMENT_KINDS
from gateway.policy.schema import json_schema

_MAPPING: Value = {"wrong": "type"}
_NESTED: Value = [["wrong", "type"]]
_DEEPEST = 8


@dataclass(frozen=True)
class WrongValue:
    """A value that the key at ``path`` can not have."""

    kind: str
    path: Path
    value: Value
    of: str = ""

    @property
    def text(self) -> str:
        """A document with nothing in it but this value (JSON is YAML)."""
        inner: Value = self.value
        for step in reversed(self.path):
            inner = {step: inner} if isinstance(step, str) else [inner]
        head: dict[str, Value] = {"apiVersion": "pkigate/v1", "kind": self.kind}
        if self.path[0] != "metadata":
            head["metadata"] = {"name": "wrong"}
        if self.kind == "Policy" and self.path[0] != "match":
            head["match"] = {"protocol": "est", "operation": "enroll"}
        if self.of:
            head |= {"protocol": self.of, "backend": "none"} if self.kind == "Endpoint" else {"type": self.of}
        assert isinstance(inner, dict)
        return json.dumps({**head, **inner}, indent=1) + "\n"


def wrong_values(kind: str) -> Iterator[WrongValue]:
    """For each key of the documents of this kind, each way in which its value can be of another type."""
    schema = json_schema()
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    for model in DOCUMENT_KINDS[kind]:
        for path, forms in _keys(definitions, definitions[model.__name__], ()):
            if path[0] not in ("apiVersion", "kind"):
                for value in _wrong(forms):
                    yield WrongValue(kind, path, value)


def wrong_options(kind: str, of: str, model: type[BaseModel]) -> Iterator[WrongValue]:
    """The same for the options of an Endpoint or Backend that a plug-in brings."""
    schema = model.model_json_schema()
    for path, forms in _keys(schema.get("$defs", {}), schema, ()):
        for value in _wrong(forms):
            if value is not None:  # no value is as good as none
                yield WrongValue(kind, ("options", *path), value, of)


def _keys(
    definitions: dict[str, Any], schema: dict[str, Any], path: Path
) -> Iterator[tuple[Path, list[Any]]]:
    if len(path) > _DEEPEST:
        return
    for form in _forms(definitions, schema):
        for key, inner in form.get("properties", {}).items():
            here = (*path, key)
            yield here, list(_forms(definitions, inner))
            yield from _keys(definitions, inner, here)
        if isinstance(form.get("additionalProperties"), dict):
            here = (*path, "CN")
            yield here, list(_forms(definitions, form["additionalProperties"]))
            yield from _keys(definitions, form["additionalProperties"], here)
        if isinstance(form.get("items"), dict):
            yield (*path, 0), list(_forms(definitions, form["items"]))
            yield from _keys(definitions, form["items"], (*path, 0))


def _forms(definitions: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The alternatives of a schema, references resolved."""
    if "$ref" in schema:
        yield from _forms(definitions, definitions[schema["$ref"].rpartition("/")[2]])
    elif "anyOf" in schema or "oneOf" in schema:
        for one in schema.get("anyOf", schema.get("oneOf")):
            yield from _forms(definitions, one)
    else:
        yield schema


def _wrong(forms: list[dict[str, Any]]) -> Iterator[Value]:
    types = {form.get("type", "string" if "enum" in form or "const" in form else None) for form in forms}
    if None in types:
        return  # anything goes, or what goes is said elsewhere
    if "object" not in types and not _holds(forms, "object"):
        yield _MAPPING
    if "array" not in types and "object" not in types:
        yield _NESTED
    if "array" not in types and "object" in types:
        yield ["wrong", "type"]
    if types <= {"integer", "number", "null"}:
        yield "wrong"
        yield "1.5"
        yield "0x10"
    if types <= {"boolean", "null"}:
        yield "wrong"
        yield "yes please"
    if types <= {"object", "null"} or (types <= {"object", "array"} and not _holds(forms, "string")):
        yield "wrong"
    if any("enum" in form for form in forms) and all(
        "enum" in form or form["type"] == "null" for form in forms
    ):
        yield "wrong-word"
    yield None


def _holds(forms: list[dict[str, Any]], wanted: str) -> bool:
    """Whether a list may have such an item: one item without the list may stand for it."""
    for form in forms:
        items = form.get("items", {})
        if items.get("type") == wanted or (wanted == "object" and ("$ref" in items or "anyOf" in items)):
            return True
    return False
