"""An answer of an ACME server, taken apart for tests (RFC 8555 section 6.7, RFC 8288)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

PROBLEM = "application/problem+json"
URN = "urn:ietf:params:acme:error:"


@dataclass(frozen=True, slots=True)
class AcmeAnswer:
    """One parsed response."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        values = self.headers_named(name)
        return values[0] if values else None

    def headers_named(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def links(self, relation: str) -> list[str]:
        """Targets of the Link headers with this relation (RFC 8288)."""
        found = []
        for value in self.headers_named("Link"):
            for one in value.split(", <"):
                target, _, parameters = one.lstrip("<").partition(">")
                if f'rel="{relation}"' in parameters:
                    found.append(target)
        return found

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    @property
    def location(self) -> str:
        value = self.header("Location")
        assert value, f"no Location: {self.status} {self.text}"
        return value

    @property
    def problem(self) -> str:
        """The type of a problem document without its URN; fails where the answer is none."""
        assert self.header("Content-Type") == PROBLEM, f"{self.status} {self.headers} {self.text}"
        document = self.json
        assert document["status"] == self.status, document
        assert document["type"].startswith(URN), document
        return str(document["type"]).removeprefix(URN)

    def ok(self, status: int = 200) -> Any:
        """The JSON of an answer that must have this status."""
        assert self.status == status, f"{self.status}: {self.text}"
        return self.json if self.body else None

    def refused(self, status: int, type_: str) -> Any:
        """Check status and type of a refusal; gives the document."""
        assert (self.status, self.problem) == (status, type_), self.text
        return self.json
