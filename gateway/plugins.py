"""Loads front ends and CA backends by entry point; ours and a third party's come in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from ca_backend.api import BackendPlugin
from gateway.errors import ConfigurationError
from gateway.frontend import FrontEnd, IdentityKind
from gateway.policy.load import Registry

FRONTENDS = "pkigate.frontends"
CA_BACKENDS = "pkigate.ca_backends"


@dataclass(frozen=True, slots=True)
class Plugins:
    """Everything that was found, by protocol name and by backend type."""

    frontends: Mapping[str, FrontEnd]
    backends: Mapping[str, BackendPlugin]

    def identity_kinds(self) -> dict[str, IdentityKind]:
        """By protocol, of the front ends that need identities of their own for messages."""
        found = {name: getattr(plugin, "message_identity", None) for name, plugin in self.frontends.items()}
        return {name: kind for name, kind in found.items() if kind is not None}

    def registry(self, *, lab: bool) -> Registry:
        """What the policy loader must know of them."""
        return Registry(
            endpoint_options={name: plugin.options_model for name, plugin in self.frontends.items()},
            backend_options={name: plugin.options_model for name, plugin in self.backends.items()},
            reserved_endpoint_names={
                name: plugin.reserved_endpoint_names for name, plugin in self.frontends.items()
            },
            lab=lab,
            compat_models={
                name: plugin.compat_model
                for name, plugin in self.frontends.items()
                if hasattr(plugin, "compat_model")
            },
            refusal_words={
                name: plugin.refusal_words
                for name, plugin in self.frontends.items()
                if hasattr(plugin, "refusal_words")
            },
        )


def load_plugins() -> Plugins:
    """Import every plug-in. Raises ConfigurationError naming the distribution that failed and why."""
    frontends: dict[str, FrontEnd] = {}
    for entry in entry_points(group=FRONTENDS):
        frontends[_unique(frontends, entry)] = _load(entry)()
    backends: dict[str, BackendPlugin] = {}
    for entry in entry_points(group=CA_BACKENDS):
        backends[_unique(backends, entry)] = _load(entry)()
    return Plugins(frontends, backends)


def _unique(known: Mapping[str, object], entry: EntryPoint) -> str:
    if entry.name in known:
        raise ConfigurationError(
            f"two installed packages bring {entry.name!r} in the group {entry.group}; uninstall one of them"
        )
    return entry.name


def _load(entry: EntryPoint) -> type:
    try:
        loaded: type = entry.load()
    except Exception as exc:  # a plug-in may fail with anything; the message names it
        package = entry.dist.name if entry.dist else "an unknown package"
        raise ConfigurationError(
            f"the plug-in {entry.name!r} ({entry.group}) of {package} cannot be loaded: "
            f"{type(exc).__name__}: {exc}; repair or uninstall {package}"
        ) from exc
    return loaded
