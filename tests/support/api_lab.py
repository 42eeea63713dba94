"""A gateway with SCEP endpoints, and tokens of its REST API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.api_client import ApiClient
from tests.support.scep_lab import ScepLab, endpoint, first, running_lab

ADD, READ, REVOKE = "credential.add", "credential.read", "credential.revoke"
ALL = (ADD, READ, REVOKE)


@dataclass(slots=True)
class ApiLab:
    """The gateway, its devices, and who calls its API."""

    scep: ScepLab
    _tokens: dict[tuple[tuple[str, ...], tuple[str, ...]], str] = field(default_factory=dict)
    _clients: list[ApiClient] = field(default_factory=list)

    def new_token(self, name: str, *more: str, allow: tuple[str, ...] = ALL) -> dict[str, Any]:
        """A token of its own: the document that shows it."""
        allowed = ("--allow", ",".join(allow))
        arguments = ("credential", "add", "api-token", "--name", name, *allowed, *more)
        document: dict[str, Any] = self.scep.gateway.cli_json(*arguments)
        return document

    def token(self, *endpoints: str, allow: tuple[str, ...] = ALL) -> str:
        """The token for these endpoints, none for all, that allows this; made once."""
        wanted = (endpoints, allow)
        if wanted not in self._tokens:
            bounds = [part for name in endpoints for part in ("--endpoint", name)]
            made = self.new_token(f"token-{len(self._tokens)}", *bounds, allow=allow)
            self._tokens[wanted] = made["token"]
        return self._tokens[wanted]

    def client(self, token: str | None = None, source: str = "127.0.0.1", scheme: str = "https") -> ApiClient:
        """A client of this token, over a connection of its own."""
        gateway = self.scep.gateway
        made = ApiClient(str(gateway.quickstart[scheme]), gateway.root_pem, token, source)
        self._clients.append(made)
        return made

    def close(self) -> None:
        for client in self._clients:
            client.close()


@contextmanager
def running_api_lab(directory: Path, **options: Any) -> Iterator[ApiLab]:
    """A started gateway with the SCEP endpoints ``default`` and ``other``."""
    documents = (
        endpoint("default"),
        first("default", "default", 10),
        endpoint("other"),
        first("other", "other", 20),
    )
    with running_lab(directory, *documents, **options) as scep:
        lab = ApiLab(scep)
        try:
            yield lab
        finally:
            lab.close()
