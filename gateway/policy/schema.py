"""The JSON Schema of policy files, for editors; made from the models."""

from __future__ import annotations

from pydantic.json_schema import models_json_schema

from gateway.policy.document import DOCUMENT_KINDS


def json_schema() -> dict[str, object]:
    """One schema for all kinds of documents, told apart by ``kind`` (JSON Schema draft 2020-12)."""
    kinds = list(DOCUMENT_KINDS.values())
    references, definitions = models_json_schema(
        [(model, "validation") for model in kinds],
        title="pkigate policy documents",
        description="One document of a bundle, apiVersion pkigate/v1",
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
