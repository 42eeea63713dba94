"""The configuration of one process and host: ``pkigate.yaml``, environment and flags."""

from gateway.config.model import (
    ClientCertificate,
    ClientCertificateHeader,
    Config,
    Lab,
    Limits,
    Listener,
    Logging,
    Metrics,
    TlsFiles,
    default_data_directory,
)

__all__ = [
    "ClientCertificate",
    "ClientCertificateHeader",
    "Config",
    "Lab",
    "Limits",
    "Listener",
    "Logging",
    "Metrics",
    "TlsFiles",
    "default_data_directory",
]
