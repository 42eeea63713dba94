"""A Policy that is only there to be extended (``mode: template``): never selected, so it may lack keys."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from gateway.policy.metadata import ApiVersion, Metadata
from gateway.policy.strict_model import StrictModel
from gateway.policy.terms import ObjectName

# What belongs to one policy alone: who it is, which requests it is for, how it is tried.
NEVER_INHERITED = frozenset(
    {"apiVersion", "kind", "metadata", "priority", "match", "mode", "extends", "tests"}
)
NOT_IN_TEMPLATES = ("priority", "match", "tests")


class PolicyTemplate(StrictModel):
    """Its head. What else stands in it is checked by ``gateway.policy.extends``, key by key."""

    model_config = ConfigDict(extra="allow")

    apiVersion: ApiVersion = Field(description="The version of the language")  # noqa: N815  as it is written
    kind: Literal["Policy"] = Field(description="Policy")
    metadata: Metadata = Field(description="Policies name it by extends: NAME")
    mode: Literal["template"] = Field(description="template")
    extends: ObjectName | None = Field(None, description="A policy whose keys count where this says nothing")
