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
    kinds = list(DOCUMENT_KINDS.values())
    references, definitions = models_json_schema(
        [(model, "validation") for model in kinds],
        title="pkigate policy documents",
        description="One document of a bundle, apiVersion pkigate/v1",
        schema_generator=_AsWritten,
    )
    chosen = [
        {
            "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
            "then": references[model, "validation"],
        }
        for name, model in DOCUMENT_KINDS.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **definitions,
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {"kind": {"enum": list(DOCUMENT_KINDS)}},
        "allOf": chosen,
    }
