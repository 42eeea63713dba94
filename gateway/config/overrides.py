"""Command-line flags and ``PKIGATE_*`` variables, laid over what the file says.

Every flag of ``pkigate serve`` has a variable of the same name (``--https-port``, ``PKIGATE_HTTPS_PORT``).
Any other setting is named by its path, two underscores between the steps (``PKIGATE_LOGGING__FORMAT``). Lists
are written with commas.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gateway.config.model import Config
from gateway.config.values import HTTP_LISTENER, HTTPS_LISTENER
from gateway.errors import ConfigurationError
from gateway.policy.complaints import complaints_of

PREFIX = "PKIGATE_"
FILE_VARIABLE = "PKIGATE_CONFIG"
TRACEBACK_VARIABLE = "PKIGATE_TRACEBACK"
# Where each flag's value belongs; the listener flags have no place of their own.
_FLAG_PATHS: dict[str, tuple[str, ...]] = {
    "data_dir": ("data_directory",),
    "metrics_port": ("metrics", "port"),
    "workers": ("workers",),
    "lab": ("lab", "enabled"),
    "log_level": ("logging", "level"),
}
_LISTS = frozenset({"public_urls", "trusted_proxies", "resolvers", "loopback_names"})
_NOT_BY_VARIABLE = frozenset({"listeners"})


@dataclass(frozen=True, slots=True)
class Flags:
    """What stood on the command line; None is: not given."""

    data_dir: Path | str | None = None
    host: str | None = None
    https_port: int | str | None = None
    http_port: int | str | None = None
    metrics_port: int | str | None = None
    workers: int | str | None = None
    lab: bool | str | None = None
    log_level: str | None = None


@dataclass(frozen=True, slots=True)
class _Override:
    source: str  # "--workers" or "PKIGATE_WORKERS", for messages
    key: str  # name of a flag, or ""
    path: tuple[str, ...]
    value: object


def overlay(config: Config, flags: Flags, environment: Mapping[str, str]) -> Config:
    """Lay variables and then flags over a configuration. Raises ConfigurationError that names the source."""
    overrides = [*_from_environment(environment), *_from_flags(flags)]
    if not overrides:
        return config
    document = config.model_dump(exclude_unset=True)
    sources: dict[tuple[str, ...], str] = {}
    for override in overrides:
        for path in _apply(document, config, override):
            sources[path] = override.source
    try:
        return Config.model_validate(document)
    except ValidationError as exc:
        raise ConfigurationError("\n".join(_lines(document, exc, sources))) from exc


def unknown_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """``PKIGATE_*`` variables that mean nothing here, each with what was perhaps meant.

    They are reported, not refused: Kubernetes sets ``PKIGATE_PORT`` and the like for a service of that name.
    """
    known = _known_variables()
    reports = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            reports.append(
                f"{name}: means nothing; " + (f"did you mean {near[0]}?" if near else "it is ignored")
            )
    return tuple(reports)


def variables_of(path: tuple[str, ...]) -> tuple[str, ...]:
    """The variables of one setting: by its path, then by its flag's name, which wins where both are set."""
    short = [PREFIX + key.upper() for key, place in _FLAG_PATHS.items() if place == path]
    return tuple(dict.fromkeys((_variable(path), *short)))


def _known_variables() -> frozenset[str]:
    short = {PREFIX + field.name.upper() for field in fields(Flags)}
    return frozenset(
        {FILE_VARIABLE, TRACEBACK_VARIABLE, *short, *(_variable(path) for path in _paths(Config))}
    )


def _variable(path: tuple[str, ...]) -> str:
    return PREFIX + "__".join(path).upper()


def _paths(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        if name in _NOT_BY_VARIABLE:
            continue
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from ((name, *rest) for rest in _paths(inner))
        else:
            yield (name,)


def _from_environment(environment: Mapping[str, str]) -> Iterator[_Override]:
    for path in _paths(Config):
        variable = _variable(path)
        if variable in environment:
            text = environment[variable]
            value: object = (
                [part.strip() for part in text.split(",") if part.strip()] if path[-1] in _LISTS else text
            )
            yield _Override(variable, "", path, value)
    for field in fields(Flags):
        variable = PREFIX + field.name.upper()
        if variable in environment and (field.name,) not in _FLAG_PATHS.values():
            yield _Override(variable, field.name, _FLAG_PATHS.get(field.name, ()), environment[variable])


def _from_flags(flags: Flags) -> Iterator[_Override]:
    for field in fields(Flags):
        value = getattr(flags, field.name)
        if value is not None:
            source = "--" + field.name.replace("_", "-")
            yield _Override(source, field.name, _FLAG_PATHS.get(field.name, ()), value)


def _apply(document: dict[str, Any], config: Config, override: _Override) -> Iterable[tuple[str, ...]]:
    """Write one override into the document and give the paths that it touched."""
    if override.path:
        inner = document
        for step in override.path[:-1]:
            inner = inner.setdefault(step, {})
        inner[override.path[-1]] = override.value
        return [override.path]
    listeners = document.setdefault("listeners", [listener.model_dump() for listener in config.listeners])
    document["listeners"] = listeners = [dict(listener) for listener in listeners]
    if override.key == "host":
        for listener in listeners:
            listener["address"] = override.value
        return [("listeners", str(position), "address") for position in range(len(listeners))]
    name = {"https_port": HTTPS_LISTENER, "http_port": HTTP_LISTENER}[override.key]
    for position, listener in enumerate(listeners):
        if listener["name"] == name:
            listener["port"] = override.value
            return [("listeners", str(position), "port")]
    raise ConfigurationError(
        f"{override.source}: the configuration has no listener named {name}; change the port in the file"
    )


def _lines(document: Any, error: ValidationError, sources: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    seen = set()
    for complaint in complaints_of(Config, document, error):
        place = tuple(str(step) for step in complaint.path)
        around = (place[:length] for length in range(len(place), 0, -1))
        source = next((sources[path] for path in around if path in sources), ".".join(place))
        line = f"{source or ', '.join(sources.values())}: {complaint.text}"
        if line not in seen:
            seen.add(line)
            yield line
