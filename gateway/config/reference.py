"""Descriptions of the configuration made from its models: JSON Schema and docs/configuration.md."""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.config.model import Config, Listener
from gateway.config.overrides import variables_of

_INTRODUCTION = """\
# Configuration

`pkigate.yaml` holds the facts of one process and host. What may be requested and issued stands in the
policies, credentials and certificates in the database. Every setting has a default; `pkigate serve` needs no
file.

- `pkigate serve --config FILE` reads a file; without the flag `$PKIGATE_CONFIG` names it.
- A value counts in this order: flag, `PKIGATE_*` variable, file, default.
- Every flag of `pkigate serve` has a variable of the same name: `PKIGATE_HTTPS_PORT`, `PKIGATE_HOST`,
  `PKIGATE_LAB`. Every setting has one named by its path with two underscores between the steps:
  `PKIGATE_LOGGING__FORMAT`. Where both exist (`PKIGATE_DATA_DIR`, `PKIGATE_DATA_DIRECTORY`) both work, and
  the flag's name wins. Lists are written with commas. Listeners are set in the file only.
- Relative paths count from the directory of the file, in flags and variables from the working directory.
- `pkigate config check` reports every mistake with file, line and column; `pkigate config schema` prints a
  JSON Schema for editors. Unknown keys, duplicate keys, anchors and tags are refused.
- A change counts after a restart; the files of `tls` are read again at SIGHUP.

This file is made from the models by `pkigate config reference`; do not edit it by hand.

```yaml
data_directory: /var/lib/pkigate
database_url: postgresql://pkigate@db.example.com/pkigate
public_urls: [https://pki.example.com, http://pki.example.com]
demo_credentials: "off"
listeners:
  - {name: https, address: 0.0.0.0, port: 8443, client_certificate: request, serves: [acme, est, cmp, api]}
  - {name: http, address: 0.0.0.0, port: 8080, tls: "off", serves: [scep, cmp, crl, ocsp, ca]}
```
"""


def config_schema() -> dict[str, object]:
    """The JSON Schema of ``pkigate.yaml`` (draft 2020-12)."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "pkigate.yaml"}


def config_markdown() -> str:
    """The text of docs/configuration.md."""
    parts = [_INTRODUCTION, *_section("Settings", Config, ())]
    parts += _section("listeners[]", Listener, ("listeners",))
    for name, field in Config.model_fields.items():
        if _is_model(field.annotation) and isinstance(field.annotation, type):
            parts += _section(name, field.annotation, (name,))
    for alternative in get_args(Listener.model_fields["tls"].annotation):
        inner = get_args(alternative)[0]
        if _is_model(inner):
            parts += _section("listeners[].tls", inner, ("listeners", "tls"))
    return "\n".join(parts).rstrip() + "\n"


def _section(title: str, model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    yield f"## {title}\n"
    if path and model.__doc__:
        yield f"{model.__doc__.splitlines()[0].replace('``', '`')}\n"
    by_variable = "listeners" not in path
    for name, field in model.model_fields.items():
        yield f"### {'.'.join((*path, name)) if by_variable else name}\n"
        yield f"{field.description}\n"
        yield f"- takes: {_takes(field)}"
        default = _default(field)
        if default:
            yield f"- default: {default}"
        if by_variable and name != "listeners" and not _is_model(field.annotation):
            names = variables_of((*path, name))
            yield "- variable: " + " or ".join(f"`{variable}`" for variable in names)
        yield ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "none, it must be written"
    value = field.get_default()
    if value is PydanticUndefined or value is None:
        return ""  # computed: the description says how
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value}`"


def _takes(field: FieldInfo) -> str:
    bounds = {
        word: getattr(limit, name)
        for limit in field.metadata
        for name, word in (("ge", "from"), ("le", "to"))
        if getattr(limit, name, None) is not None
    }
    words = " or ".join(dict.fromkeys(_words(field.annotation)))
    return words + "".join(f" {word} {bound}" for word, bound in bounds.items())


def _words(annotation: Any) -> Iterator[str]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _words(arguments[0])
    elif origin in {Union, types.UnionType}:
        for one in arguments:
            if one is not type(None):
                yield from _words(one)
    elif origin is Literal:
        yield from (f"`{word}`" for word in arguments)
    elif origin is tuple:
        yield "a list of: " + " or ".join(dict.fromkeys(_words(arguments[0])))
    elif _is_model(annotation):
        yield "the keys below"
    elif isinstance(annotation, type) and issubclass(annotation, StrEnum):
        yield from (f"`{word.value}`" for word in annotation)
    else:
        yield _SIMPLE[annotation]


_SIMPLE: dict[Any, str] = {
    bool: "`true` or `false`",
    int: "a whole number",
    str: "text",
    Path: "a path",
    IPv4Network: "a network such as `10.0.0.0/8`",
    IPv6Network: "a network such as `2001:db8::/32`",
}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
