"""A gateway with one ACME endpoint per rule, and the web servers that its validation finds on loopback."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import acme_policies, database, policies
from tests.support import gateway as gateways
from tests.support.acme_client import AcmeClient, Certificate
from tests.support.acme_responders import (
    AlpnResponder,
    Http01Responder,
    alpn_responder,
    http01_responder,
)
from tests.support.gateway import Gateway
from tests.support.ports import spare_port

TERMS = "https://ca.test/terms-1"
WEBSITE = "https://ca.test/"
FAST: Mapping[str, Any] = {"validation_attempts": 1, "validation_timeout": "30s"}
_TABLES = ("acme_account", "acme_order", "acme_authorization", "certificate", "job", "credential")
_numbers = itertools.count(1)


def endpoint(name: str, **options: Any) -> policies.Document:
    """An ACME endpoint that looks once at a name."""
    return acme_policies.acme_endpoint(name, **{**FAST, **options})


def documents() -> list[policies.Document]:
    """``default`` and ``other`` are alike; each other endpoint differs in what its name says."""
    policy = acme_policies.acme_policy
    slow = {"required": 1, "expires": "1h", "retry_after": "1s"}
    return [
        endpoint("default"),
        policy("default", "default", priority=10),
        endpoint("other"),
        policy("other", "other", priority=20),
        endpoint("terms", terms_of_service=TERMS, website=WEBSITE),
        policy("terms", "terms", priority=30),
        endpoint("eab", eab="always"),
        policy("eab", "eab", priority=40),
        endpoint("eab-new", eab="new-accounts"),
        policy("eab-new", "eab-new", priority=50),
        endpoint("trusted", eab="always"),
        policy("trusted", "trusted", priority=60, challenges=()),
        endpoint("brief", order_lifetime="5s", pending_authorization_lifetime="5s"),
        policy("brief", "brief", priority=70),
        endpoint("reuse"),
        policy("reuse", "reuse", priority=80, reuse_authorization="1h"),
        endpoint("approval"),
        policy("approval", "approval", priority=90, approval=slow),
        endpoint("small", max_identifiers=3, max_contacts=2, max_body_bytes=4096),
        policy("small", "small", priority=100),
        endpoint("no-ari", renewal_info=False),
        policy("no-ari", "no-ari", priority=110),
        endpoint("fast-only"),
        policy("fast-only", "fast-only", priority=120, challenges=("http-01",)),
        endpoint("hasty", validation_timeout="8s"),
        policy("hasty", "hasty", priority=130),
    ]


@dataclass(slots=True)
class Lab:
    """A running gateway, its two responders and the clients that were made for it."""

    gateway: Gateway
    http: Http01Responder
    alpn: AlpnResponder
    clients: list[AcmeClient] = field(default_factory=list)

    def directory(self, endpoint_name: str = "default") -> str:
        middle = "" if endpoint_name == "default" else f"/{endpoint_name}"
        return f"{self.gateway.quickstart['https']}/acme{middle}/directory"

    def client(self, endpoint_name: str = "default", **more: Any) -> AcmeClient:
        made = AcmeClient(self.directory(endpoint_name), self.gateway.root_pem, **more)
        self.clients.append(made)
        return made

    def account(self, endpoint_name: str = "default", **more: Any) -> AcmeClient:
        """A client that has an account."""
        return self.client(endpoint_name, **more).registered()

    def issue(self, *names: str, client: AcmeClient | None = None, **members: Any) -> Certificate:
        """A certificate for these names, or for a new one, proven by http-01."""
        return (client or self.account()).issue(names or [new_name()], self.http, **members)

    def external_account(self, endpoint_name: str, *options: str) -> tuple[str, str]:
        """A new MAC key for external account binding: key identifier and key in base64url."""
        added = self.gateway.cli_json("credential", "add", "acme-eab", "--endpoint", endpoint_name, *options)
        return added["kid"], added["hmac_key"]

    def close(self) -> None:
        """Close the clients' connections."""
        for client in self.clients:
            client.close()

    def restart(self) -> None:
        """Restart the gateway; clients forget what they kept of the old process."""
        self.gateway.restart()
        for client in self.clients:
            client.close()
            client.nonce = None

    @contextlib.contextmanager
    def other_policies(self, old: str, new: str) -> Iterator[None]:
        """Run on policies in which the first ``old`` is ``new``; restarts before and after."""
        kept = self.gateway.policies
        assert kept is not None
        text = kept["bundle.yaml"]
        assert old in text
        with self._policies({"bundle.yaml": text.replace(old, new, 1)}):
            yield

    @contextlib.contextmanager
    def cross_certified(self, *path: x509.Certificate) -> Iterator[None]:
        """Run with a cross-certificate and its issuers up to the other root; restarts before and after."""
        pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in path)
        (self.gateway.data / "cross.pem").write_bytes(pem)
        assert self.gateway.policies is not None
        with self._policies(policies.cross_certified(self.gateway.policies, "file:cross.pem")):
            yield

    @contextlib.contextmanager
    def _policies(self, bundle: Mapping[str, str]) -> Iterator[None]:
        kept = self.gateway.policies
        self.gateway.policies = bundle
        try:
            self.restart()
            yield
        finally:
            self.gateway.policies = kept
            self.restart()

    def counts(self) -> dict[str, int]:
        """Rows of what ACME stores, but for the audit's and the refused requests'."""
        found = {table: f"SELECT count(*) FROM {table}" for table in _TABLES}
        found["request"] = "SELECT count(*) FROM request WHERE state <> 'refused'"
        return {name: database.rows(self.gateway.sql_url, query)[0][0] for name, query in found.items()}

    def expire(self, table: str, url: str) -> None:
        """Let the end of what this URL names be in the past, as time would."""
        path = self.gateway.sql_url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection, connection:
            change = f"UPDATE {table} SET expires_at = created_at WHERE id = ?"
            assert connection.execute(change, (url.rpartition("/")[2],)).rowcount == 1

    def audit_count(self) -> int:
        count: int = database.rows(self.gateway.sql_url, "SELECT count(*) FROM audit")[0][0]
        return count


def new_name(prefix: str = "h", suffix: str = "test") -> str:
    """A host name that no other test uses."""
    return f"{prefix}{next(_numbers)}-{os.getpid()}.{suffix}"


@contextlib.contextmanager
def running_lab(
    directory: Path,
    *,
    docs: Sequence[policies.Document] | None = None,
    config: Mapping[str, Any] | None = None,
    responders: tuple[Http01Responder, AlpnResponder] | None = None,
    **options: Any,
) -> Iterator[Lab]:
    """Gateway and responders (own ones, or given ones); everything is stopped at the end. ``config`` is
    merged into pkigate.yaml, its part ``lab`` into that of these tests."""
    with contextlib.ExitStack() as stack:
        if responders is None:
            http = stack.enter_context(http01_responder(spare_port()))
            alpn = stack.enter_context(alpn_responder(spare_port()))
        else:
            http, alpn = responders
        more = dict(config or {})
        switches = {"enabled": True, "http01_port": http.port, "tls_alpn01_port": alpn.port}
        merged = {**more, "lab": switches | more.get("lab", {})}
        bundle = policies.bundle(*(documents() if docs is None else docs))
        gateway = stack.enter_context(gateways.running(directory, policies=bundle, config=merged, **options))
        lab = Lab(gateway, http, alpn)
        stack.callback(lab.close)
        yield lab
