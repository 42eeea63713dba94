"""The JSON Schema of policy files, for editors; made from the models."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from gateway.policy.document import DOCUMENT_KINDS
from gateway.policy.terms import duration_text


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


def _policy_forms(issuing: object, revoking: object) -> dict[str, object]:
    """A Policy for revocations has a form of its own (``gateway.policy.document.policy_model``)."""
    revoke = {"enum": ["revoke", ["revoke"]]}
    match = {"type": "object", "properties": {"operation": revoke}, "required": ["operation"]}
    condition = {"properties": {"match": match}, "required": ["match"]}
    return {"if": condition, "then": revoking, "else": issuing}
