"""The JSON Schema of policy files, for editors; made from the models."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from gateway.policy.document import DOCUMENT_KINDS
from gateway.policy.policy_template import NOT_IN_TEMPLATES
from gateway.policy.terms import duration_text

_LOOSE = "Inheriting"


class _AsWritten(GenerateJsonSchema):
    """Writes defaults in the words of policy files: 7d, where pydantic would write P7D."""

    def encode_default(self, dft: Any) -> Any:
        return duration_text(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema() -> dict[str, object]:
    """One schema for all kinds of documents, told apart by ``kind`` (JSON Schema draft 2020-12)."""
    kinds = [model for models in DOCUMENT_KINDS.values() for model in models]
    references, definitions = models_json_schema(
        [(model, "validation") for model in kinds],
        title="pkigate policy documents",
        description="One document of a bundle, apiVersion pkigate/v1",
        schema_generator=_AsWritten,
    )
    definitions["$defs"] |= _loosened(definitions["$defs"])
    chosen: list[dict[str, object]] = []
    for name, models in DOCUMENT_KINDS.items():
        condition = {"properties": {"kind": {"const": name}}, "required": ["kind"]}
        forms = [references[model, "validation"] for model in models]
        chosen.append({"if": condition, "then": forms[0] if len(forms) == 1 else _policy_forms(*forms)})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **definitions,
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {"kind": {"enum": list(DOCUMENT_KINDS)}},
        "allOf": chosen,
    }


def _policy_forms(issuing: object, revoking: object, template: dict[str, str]) -> dict[str, object]:
    """The forms of a Policy (``gateway.policy.document.policy_model``). What inherits from another one, or is
    there to be extended, may lack any key: it is held against the loosened definitions."""
    revoke = {"enum": ["revoke", ["revoke"]]}
    match = {"type": "object", "properties": {"operation": revoke}, "required": ["operation"]}
    revokes = {"properties": {"match": match}, "required": ["match"]}
    inherits = {"required": ["extends"]}
    return {
        "if": {"properties": {"mode": {"const": "template"}}, "required": ["mode"]},
        "then": {"allOf": [template, {"$ref": f"#/$defs/{_LOOSE}PolicyTemplate"}]},
        "else": {
            "if": revokes,
            "then": revoking,
            "else": {"if": inherits, "then": {"$ref": f"#/$defs/{_LOOSE}Policy"}, "else": issuing},
        },
    }


def _loosened(definitions: dict[str, Any]) -> dict[str, Any]:
    """The definition of Policy, and all below it, without required keys and with null, which takes an
    inherited key away; and that of a template, which has no match and no priority."""
    found: dict[str, Any] = {}
    waiting = ["Policy"]
    while waiting:
        name = waiting.pop()
        if _LOOSE + name not in found:
            found[_LOOSE + name] = _without_required(definitions[name], waiting)
    policy = found[_LOOSE + "Policy"]
    kept = {key: one for key, one in policy["properties"].items() if key not in NOT_IN_TEMPLATES}
    mode = {"const": "template", "description": "Never selected, there to be extended"}
    found[_LOOSE + "PolicyTemplate"] = {**policy, "properties": {**kept, "mode": mode}}
    return found


def _without_required(schema: Any, waiting: list[str]) -> Any:
    if isinstance(schema, list):
        return [_without_required(one, waiting) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _without_required(one, waiting) for key, one in schema.items() if key != "required"}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        waiting.append(name)
        found["$ref"] = f"#/$defs/{_LOOSE}{name}"
    if isinstance(schema.get("properties"), dict):
        found["properties"] = {
            key: {"anyOf": [one, {"type": "null"}], "description": one.get("description", "")}
            for key, one in found["properties"].items()
        }
    return found
