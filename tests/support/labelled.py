"""A gateway with one EST endpoint ("label") per rule, for the wire tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support import pki
from tests.support.est_client import EstClient
from tests.support.gateway import Gateway


@dataclass(frozen=True, slots=True)
class Labelled:
    """A gateway with one EST endpoint per rule, and the foreign CA that some of them trust."""

    gateway: Gateway
    factory: pki.Authority
    factory_line: pki.Authority  # an intermediate of the factory, in the trust store too

    def client(self, label: str, **more: Any) -> EstClient:
        return self.gateway.est_client(endpoint=label, **more)

    def anonymous(self, label: str, **more: Any) -> EstClient:
        return self.client(label, user=None, password=None, **more)
