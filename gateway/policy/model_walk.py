"""Which model stands behind a path of a document: for words about keys, and for their order."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def models_at(model: type[BaseModel], path: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """Every model that the value at ``path`` may be of; none where it is no mapping of known keys."""
    annotations: list[Any] = [model]
    for step in path:
        annotations = below(annotations, step)
    return models_of(annotations) or models_of(below(annotations, 0))


def models_of(annotations: Sequence[Any]) -> list[type[BaseModel]]:
    """The models among types and their alternatives."""
    return [one for annotation in annotations for one in _alternatives(annotation) if _is_model(one)]


def below(annotations: Sequence[Any], step: str | int) -> list[Any]:
    """The types of what stands behind a key or number in values of these types."""
    return [inner for annotation in annotations for inner in _inner(annotation, step)]


def _inner(annotation: Any, step: str | int) -> list[Any]:
    found: list[Any] = []
    for one in _alternatives(annotation):
        origin, arguments = get_origin(one), get_args(one)
        if _is_model(one):
            found += [f.annotation for n, f in one.model_fields.items() if (f.alias or n) == step]
        elif isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(step, str):
            found.append(arguments[1])
        elif isinstance(origin, type) and issubclass(origin, Sequence):
            # One mapping may stand for a list of one.
            found += [arguments[0]] if isinstance(step, int) else _inner(arguments[0], step)
    return found


def _alternatives(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin is Union or origin is types.UnionType:
        for one in get_args(annotation):
            yield from _alternatives(one)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
