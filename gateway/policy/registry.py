"""What the loader must know of the installed plug-ins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Registry:
    """Options models by protocol and by backend type, endpoint names that are taken, and the lab switch.

    ``compat_models`` holds, by protocol, what a Compat document says beside its head. ``lab`` turns on what
    policies grant in lab mode only (``lab_loopback``).
    """

    endpoint_options: Mapping[str, type[BaseModel]]
    backend_options: Mapping[str, type[BaseModel]]
    reserved_endpoint_names: Mapping[str, frozenset[str]]
    lab: bool = False
    compat_models: Mapping[str, type[BaseModel]] = field(default_factory=dict)
