"""How names are validated from this host (RFC 8555 section 8), and the lab switches that bend it."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.config.values import Port, Section
from gateway.policy.complaints import Misfit

LAB_HTTP_PORT, LAB_TLS_PORT = 5002, 5001
LAB_SUFFIXES = ("test", "example", "internal", "localhost")


def _resolver(text: str) -> str:
    """``192.0.2.53``, ``192.0.2.53:5353``, ``2001:db8::53`` or ``[2001:db8::53]:5353``."""
    try:
        split_resolver(text)
    except ValueError as exc:
        raise ValueError(
            "is no resolver; write an IP address, with a port where it is not 53: 192.0.2.53, "
            "192.0.2.53:5353, [2001:db8::53]:5353"
        ) from exc
    return text


def split_resolver(text: str) -> tuple[str, int]:
    """Address and port of a resolver. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if text.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    if colon and host.count(":") == 0:
        return str(ipaddress.IPv4Address(host)), int(port)
    return str(ipaddress.ip_address(text)), 53


class Validation(Section):
    """How ACME's challenges (http-01, dns-01, tls-alpn-01) are looked at from this host."""

    resolvers: tuple[Annotated[str, AfterValidator(_resolver)], ...] = Field(
        default=(),
        description="DNS resolvers, `ADDRESS` or `ADDRESS:PORT`, asked in this order. Default: the system's.",
    )


class Lab(Section):
    """Switches for trying things out. Never for production."""

    enabled: bool = Field(
        default=False,
        description="Lab mode (`--lab`): default policies also allow loopback addresses in certificates, and "
        "the switches below count.",
    )
    http01_port: Port = Field(
        default=LAB_HTTP_PORT,
        description="In lab mode http-01 looks at this port instead of 80. 0 picks a free one once and keeps "
        "it.",
    )
    tls_alpn01_port: Port = Field(
        default=LAB_TLS_PORT,
        description="In lab mode tls-alpn-01 looks at this port instead of 443. 0 as above.",
    )
    loopback_targets: bool = Field(
        default=True, description="In lab mode validation may connect to this host itself."
    )
    loopback_names: tuple[str, ...] | None = Field(
        default=None,
        description="In lab mode names under these suffixes are taken to be 127.0.0.1 without DNS. Default: "
        "`test`, `example`, `internal` and `localhost` while no resolver is set, else none.",
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        switched = self.model_fields_set - {"enabled"}
        if switched and not self.enabled:
            # a switch that is forgotten in a file must not come to life by itself, nor seem to be on
            raise Misfit("counts in lab mode only; write enabled: true beside it", (min(switched),))
        return self
