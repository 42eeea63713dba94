"""What the loader must know of the installed plug-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import BaseModel

from gateway.model.evidence import CredentialKind
from gateway.model.reasons import Reason


class RefusalWords(Protocol):
    """Says what a refusal is on a protocol's wire; a function of its front end."""

    def __call__(
        self, reasons: Sequence[Reason], *, accepts: Sequence[CredentialKind], names_only: bool
    ) -> Mapping[str, str]:
        """By the words of ``expect`` in embedded tests: ``{"scep_failinfo": "badRequest"}``.

        ``accepts``: kinds of credential that are taken at this place. ``names_only``: the names were refused
        before there was a key (RFC 8555 section 7.4).
        """


@dataclass(frozen=True, slots=True)
class Registry:
    """Options models by protocol and by backend type, endpoint names that are taken, and the lab switch.

    ``compat_models`` holds, by protocol, what a Compat document says beside its head. ``lab`` turns on what
    policies grant in lab mode only (``lab_loopback``). ``refusal_words`` holds, by protocol, what a refusal
    is on its wire, for embedded tests.
    """

    endpoint_options: Mapping[str, type[BaseModel]]
    backend_options: Mapping[str, type[BaseModel]]
    reserved_endpoint_names: Mapping[str, frozenset[str]]
    lab: bool = False
    compat_models: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    refusal_words: Mapping[str, RefusalWords] = field(default_factory=dict)
