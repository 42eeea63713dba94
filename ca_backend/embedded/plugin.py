"""Entry point of the embedded CA: ``pkigate.ca_backends`` type ``embedded``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel

from ca_backend.api import BackendContext
from ca_backend.embedded.backend import EmbeddedBackend
from ca_backend.embedded.cross_certificates import CrossChains, read_cross_chains, require_in_time
from ca_backend.embedded.hierarchy import initialise, open_hierarchy
from ca_backend.embedded.options import EmbeddedOptions


class EmbeddedBackendPlugin:
    """``ca_backend.api.BackendPlugin`` for the CA in this process."""

    type_name: ClassVar[str] = "embedded"
    options_model: ClassVar[type[BaseModel]] = EmbeddedOptions

    def initialise(self, options: Any, context: BackendContext) -> None:
        """Make root and issuing CAs that do not exist yet; keeps what is. Cross-certificates must be in time
        here only, so that one that ends while the gateway runs does not keep a worker from starting."""
        checked = EmbeddedOptions.model_validate(options)
        initialise(checked, context)
        require_in_time(read_cross_chains(checked, context), context.clock.now())

    def open(self, options: Any, context: BackendContext) -> EmbeddedBackend:
        """Read keys and certificates. Raises ConfigurationError or SecretUnavailable, saying what to do."""
        checked = EmbeddedOptions.model_validate(options)
        hierarchy = open_hierarchy(checked, context)
        return EmbeddedBackend(checked, context, hierarchy, CrossChains(read_cross_chains(checked, context)))
