"""Entry point of the embedded CA: ``pkigate.ca_backends`` type ``embedded``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel

from ca_backend.api import BackendContext
from ca_backend.embedded.backend import EmbeddedBackend
from ca_backend.embedded.hierarchy import initialise, open_hierarchy
from ca_backend.embedded.options import EmbeddedOptions


class EmbeddedBackendPlugin:
    """``ca_backend.api.BackendPlugin`` for the CA in this process."""

    type_name: ClassVar[str] = "embedded"
    options_model: ClassVar[type[BaseModel]] = EmbeddedOptions

    def initialise(self, options: Any, context: BackendContext) -> None:
        """Make root and issuing CAs that do not exist yet; keeps what is."""
        initialise(EmbeddedOptions.model_validate(options), context)

    def open(self, options: Any, context: BackendContext) -> EmbeddedBackend:
        """Read keys and certificates. Raises ConfigurationError or SecretUnavailable, saying what to do."""
        checked = EmbeddedOptions.model_validate(options)
        return EmbeddedBackend(checked, context, open_hierarchy(checked, context))
