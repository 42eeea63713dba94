"""The base of all policy documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from gateway.policy.complaints import Misfit


class StrictModel(BaseModel):
    """Refuses unknown keys. ``planned`` holds keys of the language that this version does not have yet,
    ``elsewhere`` those that do not belong here, with what is to be said of them: ``... ; what is right``."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    planned: ClassVar[frozenset[str]] = frozenset()
    elsewhere: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _no_key_is_empty(cls, value: Any) -> Any:
        # `basic:` with nothing behind it reads as if basic were on; as no value it would silently be off.
        if isinstance(value, dict):
            for key, written in value.items():
                if written is None:
                    raise Misfit(
                        "there is no value; write one, {} for none in particular, or remove the key", (key,)
                    )
        return value
