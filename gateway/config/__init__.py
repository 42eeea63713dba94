"""The configuration of one process and host: ``pkigate.yaml``, environment and flags."""

from gateway.config.model import (
    ClientCertificate,
    ClientCertificateHeader,
    Config,
    Limits,
    Listener,
    Logging,
    Metrics,
    TlsFiles,
)
from gateway.config.overrides import Flags, unknown_variables
from gateway.config.public import require_public_urls
from gateway.config.reference import config_markdown, config_schema
from gateway.config.source import load, parse, read_file
from gateway.config.validation import Lab, Validation, split_resolver
from gateway.config.values import default_data_directory

__all__ = [
    "ClientCertificate",
    "ClientCertificateHeader",
    "Config",
    "Flags",
    "Lab",
    "Limits",
    "Listener",
    "Logging",
    "Metrics",
    "TlsFiles",
    "Validation",
    "config_markdown",
    "config_schema",
    "default_data_directory",
    "load",
    "parse",
    "read_file",
    "require_public_urls",
    "split_resolver",
    "unknown_variables",
]
