"""A client of the REST API: JSON over HTTPS on one connection, which sends exactly what it is told to."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CREDENTIALS = "/api/v1/credentials"
URN = "urn:pkigate:problem:"
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """One response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    def problem(self, status: int, kind: str) -> dict[str, Any]:
        """The problem document, which must be this one (RFC 9457)."""
        assert self.status == status, (self.status, self.body)
        assert self.headers["content-type"] == "application/problem+json"
        document: dict[str, Any] = self.document
        assert document["type"] == URN + kind, document
        assert document["status"] == status
        assert document["instance"] == f"urn:pkigate:request:{self.headers['x-request-id']}"
        assert document["title"]
        assert document["detail"]
        return document


@dataclass(slots=True)
class ApiClient:
    """``source`` is the client's own address; ``token`` None sends no Authorization."""

    url: str
    root_pem: Path
    token: str | None = None
    source: str = "127.0.0.1"
    _connection: http.client.HTTPConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        token: str | None = None,
    ) -> ApiAnswer:
        """One exchange. Bytes go out as they are, everything else as JSON."""
        sent = {} if headers is None else dict(headers)
        bearer = self.token if token is None else token
        if bearer is not None:
            sent.setdefault("Authorization", f"Bearer {bearer}")
        octets = None
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        kept = self._connection is not None
        try:
            return self._exchange(method, path, octets, sent)
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            self.close()
            if not kept:
                raise
            return self._exchange(method, path, octets, sent)  # it had been idle for too long

    def create(self, body: object, key: str | None = None, **more: Any) -> ApiAnswer:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.request("POST", CREDENTIALS, body, headers, **more)

    def created(self, body: object, key: str | None = None) -> dict[str, Any]:
        """The document of a credential that was made."""
        answer = self.create(body, key)
        assert answer.status == 201, answer.body
        document: dict[str, Any] = answer.document
        assert answer.headers["location"] == f"{CREDENTIALS}/{document['id']}"
        return document

    def get(self, path: str = CREDENTIALS, **more: Any) -> ApiAnswer:
        return self.request("GET", path, **more)

    def revoke(self, credential_id: str, **more: Any) -> ApiAnswer:
        return self.request("POST", f"{CREDENTIALS}/{credential_id}/revoke", **more)

    def open(self) -> http.client.HTTPConnection:
        """The connection, opened if it is not."""
        if self._connection is None:
            split = urlsplit(self.url)
            where: dict[str, Any] = {"timeout": PATIENCE_S, "source_address": (self.source, 0)}
            if split.scheme == "https":
                where["context"] = ssl.create_default_context(cafile=str(self.root_pem))
                self._connection = http.client.HTTPSConnection("127.0.0.1", split.port or 443, **where)
            else:
                self._connection = http.client.HTTPConnection("127.0.0.1", split.port or 80, **where)
            self._connection.connect()
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> ApiAnswer:
        connection = self.open()
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        answer = ApiAnswer(response.status, found, response.read())
        if response.will_close:
            self.close()
        return answer
