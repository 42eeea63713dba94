"""The base of all policy documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from gateway.policy.complaints import Misfit

_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_LIKE_NUMBER = re.compile(r"\s*[+-]?[0-9][0-9_]*(?:\.0*)?\s*")


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

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_plain(cls, value: Any) -> Any:
        # 012 is ten to some readers of YAML and twelve to others, 1_0 is ten or a word.
        if isinstance(value, dict):
            for name, info in cls.model_fields.items():
                key = info.alias or name
                written = value.get(key)
                if isinstance(written, str) and _is_number(info.annotation) and _is_odd(written):
                    raise Misfit(
                        f"{written!r} is no plain number; write digits alone, none of them a 0 at the front",
                        (key,),
                    )
        return value


def _is_number(annotation: Any) -> bool:
    """Whether a field is an integer, perhaps one that may be left out."""
    return annotation is int or (int in get_args(annotation) and type(None) in get_args(annotation))


def _is_odd(written: str) -> bool:
    return _LIKE_NUMBER.fullmatch(written) is not None and _PLAIN_NUMBER.fullmatch(written) is None
