"""``pkigate.yaml``: the facts of this process and host (decisions: "Three places for facts").

A value counts in this order: command-line flag, ``PKIGATE_*`` environment variable, file, default. What may
be requested and issued stands in the policy bundle, not here.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from gateway.config.validation import Lab, Validation
from gateway.config.values import (
    HTTP_LISTENER,
    HTTPS_LISTENER,
    WILDCARD_ADDRESSES,
    AbsolutePath,
    BaseUrl,
    DatabaseUrl,
    IpAddress,
    Name,
    Network,
    Port,
    SecretReference,
    Section,
    Workers,
    default_data_directory,
    not_empty,
    tls_form,
)
from gateway.policy.complaints import Misfit


class TlsFiles(Section):
    """TLS certificate and key from files, read again at SIGHUP."""

    certificate: AbsolutePath = Field(
        description="PEM file: the listener's certificate first, then its chain without the root."
    )
    key: AbsolutePath = Field(description="PEM file with the private key.")
    passphrase: SecretReference | None = Field(
        default=None, description="Opens the key file: `file:PATH`, `env:NAME` or `cred:NAME`."
    )


TlsSetting = Annotated[
    Annotated[Literal["auto", "off"], Tag("word")] | Annotated[TlsFiles, Tag("files")],
    Discriminator(tls_form),
]


class ClientCertificate(StrEnum):
    """Whether a TLS listener asks for a client certificate."""

    NONE = "none"
    REQUEST = "request"
    REQUIRE = "require"


class ClientCertificateHeader(StrEnum):
    """In which header a trusted proxy hands on the client certificate that it verified possession of."""

    NONE = "none"
    RFC9440 = "rfc9440"
    NGINX = "nginx"
    HAPROXY = "haproxy"
    ENVOY = "envoy"


class Listener(Section):
    """One address and port, and what is served there."""

    name: Name = Field(description="Name of this listener in logs, flags and kept ports.")
    address: IpAddress = Field(
        default="127.0.0.1",
        description="IP address to bind; `0.0.0.0` is every IPv4 address, `::` every one.",
    )
    port: Port = Field(description="TCP port. 0 picks a free one once and keeps it in the data directory.")
    tls: TlsSetting = Field(
        default="auto",
        description="`auto`: a certificate of the embedded CA, renewed by itself; `off`: plain HTTP; "
        "or files with `certificate`, `key` and `passphrase`.",
    )
    client_certificate: ClientCertificate = Field(
        default=ClientCertificate.NONE,
        description="`request`: asked for, and judged by policy, so that a bad one is answered in words; "
        "`require`: no connection without one; `none`: never asked for.",
    )
    client_certificate_header: ClientCertificateHeader = Field(
        default=ClientCertificateHeader.NONE,
        description="Header in which a proxy of `trusted_proxies` hands on the client's certificate; "
        "from anyone else it is dropped.",
    )
    serves: Annotated[tuple[Name, ...], AfterValidator(not_empty)] = Field(
        description="Services on this listener: front ends (`est`, `acme`, `scep`, `cmp` or a plug-in's "
        "name) and `api`, `crl`, `ocsp`, `ca`. `est` and `api` are refused over plain HTTP.",
    )

    @property
    def plain(self) -> bool:
        """Whether this listener speaks HTTP without TLS."""
        return self.tls == "off"

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        asks = self.client_certificate is not ClientCertificate.NONE
        if asks and self.plain:
            raise Misfit("a client certificate needs TLS; write none, or tls: auto", ("client_certificate",))
        if asks and "scep" in self.serves:
            # SCEP clients have no certificate yet, and some break when asked for one.
            raise Misfit(
                "a listener that serves scep never asks for a client certificate; write none, or serve scep "
                "on another listener",
                ("client_certificate",),
            )
        return self


class Logging(Section):
    """What is logged to standard error, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe records that are written."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="`json`: one object per line; `auto`: `console` on a terminal, else `json`.",
    )


class Metrics(Section):
    """The Prometheus endpoint ``/metrics``, on a listener of its own."""

    enabled: bool = Field(default=True, description="Whether the metrics listener exists.")
    address: IpAddress = Field(default="127.0.0.1", description="IP address to bind.")
    port: Port = Field(default=9464, description="TCP port. 0 picks a free one once and keeps it.")


class Limits(Section):
    """Bounds on what clients can make one worker hold."""

    connections: int = Field(
        default=4096, ge=1, le=1_000_000, description="Open connections per worker; more get 503."
    )
    queue: int = Field(
        default=2000,
        ge=1,
        le=100_000,
        description="Requests that wait for the database, per worker; more get 503 with Retry-After.",
    )


def _default_listeners() -> tuple[Listener, ...]:
    return (
        Listener(
            name=HTTPS_LISTENER,
            port=8443,
            tls="auto",
            client_certificate=ClientCertificate.REQUEST,
            serves=("acme", "est", "cmp", "api"),
        ),
        Listener(name=HTTP_LISTENER, port=8080, tls="off", serves=("scep", "cmp", "crl", "ocsp", "ca")),
    )


def _within_data(already: dict[str, Any], *parts: str) -> Path:
    # The key is missing when data_directory itself is wrong; that error is then reported, not this value.
    return Path(already.get("data_directory", Path.cwd())).joinpath(*parts)


class Config(Section):
    """Facts of this process and host."""

    data_directory: AbsolutePath = Field(
        default_factory=default_data_directory,
        description="Where the gateway keeps keys, the SQLite database and the active policy files. Default: "
        "`/var/lib/pkigate` for root, else `~/.local/share/pkigate`.",
    )
    database_url: DatabaseUrl = Field(
        default_factory=lambda already: f"sqlite:///{_within_data(already, 'pkigate.sqlite3')}",
        repr=False,  # may hold a password
        description="`sqlite:////PATH` or `postgresql://USER@HOST/DATABASE`. Default: `pkigate.sqlite3` in "
        "the data directory. Passwords are better kept in a PGPASSFILE.",
    )
    policies: AbsolutePath = Field(
        default_factory=lambda already: _within_data(already, "policies"),
        description="Directory of the policy bundle. Default: `policies` in the data directory, filled with "
        "the packaged ones at the first start.",
    )
    policy_activation: Literal["automatic", "explicit"] = Field(
        default="automatic",
        description="When changed policy files begin to count. `automatic`: at the next start or SIGHUP; "
        "`explicit`: they are a draft until `pkigate policy activate`. Either way every gateway on the same "
        "database follows within seconds.",
    )
    passphrase: SecretReference | None = Field(
        default=None,
        description="Opens the gateway's private keys: `file:PATH`, `env:NAME` or `cred:NAME` (a systemd "
        "credential). Default: `keys/passphrase` in the data directory, made at the first start.",
    )
    listeners: Annotated[tuple[Listener, ...], AfterValidator(not_empty)] = Field(
        default_factory=_default_listeners,
        description="Where the gateway listens. Default: `https` on port 8443 (acme, est, cmp, api; asks for "
        "client certificates) and `http` on port 8080 (scep, cmp, crl, ocsp, ca), both on 127.0.0.1.",
    )
    public_urls: tuple[BaseUrl, ...] = Field(
        default=(),
        description="External base URLs by which clients reach the gateway; links in answers and "
        "certificates are built from these alone. Default: the listeners' own addresses; a listener on "
        "`0.0.0.0` or `::` has none, so an `http://` one is needed then.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        description="Networks whose X-Forwarded-* and client certificate headers count, judged by the real "
        "TCP peer.",
    )
    workers: Workers = Field(
        default="auto",
        description="Worker processes, 1 to 256. `auto`: 1 on SQLite, one per core on PostgreSQL.",
    )
    drain_timeout: Annotated[int, Field(ge=0, le=3600)] = Field(
        default=30, description="Seconds that running requests have to finish after SIGTERM."
    )
    demo_credentials: Literal["auto", "off", "allow-non-loopback"] = Field(
        default="auto",
        description="Credentials in quickstart.json that everyone who can read it may enrol with. `auto`: "
        "made while every listener is on loopback, otherwise the start is refused; `off`: none; "
        "`allow-non-loopback`: made anyway.",
    )
    logging: Logging = Field(default_factory=Logging, description="What is logged, and how.")
    metrics: Metrics = Field(default_factory=Metrics, description="The Prometheus listener.")
    limits: Limits = Field(default_factory=Limits, description="Bounds on what clients can use.")
    validation: Validation = Field(
        default_factory=Validation, description="How ACME's challenges are looked at from this host."
    )
    lab: Lab = Field(default_factory=Lab, description="Switches for trying things out.")

    @property
    def uses_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def database_kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return "sqlite" if self.uses_sqlite else "postgresql"

    @property
    def worker_count(self) -> int:
        """How many workers to start: ``workers``, or what ``auto`` means here."""
        if self.workers != "auto":
            return self.workers
        return 1 if self.uses_sqlite else len(os.sched_getaffinity(0))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address that serves clients, in order; metrics are not among them."""
        return tuple(listener.address for listener in self.listeners)

    def listener(self, name: str) -> Listener | None:
        """The listener of this name."""
        return next((listener for listener in self.listeners if listener.name == name), None)

    def tls_names(self) -> tuple[str, ...]:
        """Host names and addresses for the gateway's own TLS certificate, without repeats."""
        public = [urlsplit(url).hostname or "" for url in self.public_urls]
        bound = [address for address in self.addresses if address not in WILDCARD_ADDRESSES]
        return tuple(dict.fromkeys(["localhost", "127.0.0.1", "::1", *public, *bound]))

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        names: set[str] = set()
        bound: set[tuple[str, int]] = set()
        for position, listener in enumerate(self.listeners):
            if listener.name in names:
                raise Misfit(
                    f"{listener.name!r} is the name of another listener too; give each its own",
                    ("listeners", position, "name"),
                )
            names.add(listener.name)
            self._refuse_taken(bound, listener.address, listener.port, ("listeners", position, "port"))
            header = listener.client_certificate_header
            if header is not ClientCertificateHeader.NONE and not self.trusted_proxies:
                raise Misfit(
                    f"{header.value!r} is believed from trusted proxies only, and there are none; "
                    "name the proxy's network in trusted_proxies",
                    ("listeners", position, "client_certificate_header"),
                )
        if self.metrics.enabled:
            self._refuse_taken(bound, self.metrics.address, self.metrics.port, ("metrics", "port"))
        return self

    @staticmethod
    def _refuse_taken(
        bound: set[tuple[str, int]], address: str, port: int, path: tuple[str | int, ...]
    ) -> None:
        if port and (address, port) in bound:
            raise Misfit(f"port {port} of {address} is taken by another listener; choose another", path)
        bound.add((address, port))
