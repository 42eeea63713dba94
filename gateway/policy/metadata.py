"""The head of every document: its version, its name, and whose it is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from gateway.policy.strict_model import StrictModel
from gateway.policy.terms import ObjectName

ApiVersion = Literal["pkigate/v1"]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._/-]{0,62}$")]
LabelValue = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Metadata(StrictModel):
    """Who and what a document is."""

    name: ObjectName = Field(description="Lower-case letters, digits and hyphens, at most 40")
    owner: str = Field("", max_length=200, description="Who answers for it")
    description: str = Field("", max_length=2000, description="What it is for")


class EndpointMetadata(Metadata):
    """Who and what an endpoint is."""

    labels: dict[LabelName, LabelValue] = Field(
        default_factory=dict,
        max_length=50,
        description="Words by which policies pick endpoints, such as {zone: lab}",
    )
