"""A token that ends while the body is still on its way, on a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.application import AdminServices, api_application
from gateway.authn.api_tokens import ApiTokens
from gateway.credentials import making
from gateway.credentials.draft import Wishes, drafted
from gateway.credentials.making import NewCredential
from gateway.credentials.service import CredentialService
from gateway.http.edge import APP_SERVICE, Edge
from gateway.http.listener import CONNECTION_KEY, ConnectionFacts, ListenerSpec
from gateway.model.evidence import API_TOKEN, SCEP_CHALLENGE
from gateway.model.permissions import Permission
from gateway.store import credentials
from gateway.store.migrate import migrate
from gateway.store.store import Store
from gateway.store.unit import Unit

NOW = datetime(2031, 5, 1, 12, 0, tzinfo=UTC)
SERVER_KEY = bytes(range(64))
BODY = json.dumps({"kind": "scep-challenge"}).encode()


class StoppedClock:
    def now(self) -> datetime:
        return NOW


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/gateway.db"
    migrate(url)
    with Store(url) as opened:
        yield opened


async def _token(store: Store) -> NewCredential:
    wishes = Wishes(API_TOKEN, "api", name="portal", permissions=[Permission.CREDENTIAL_ADD])
    made = making.new_credential(SERVER_KEY, drafted(wishes, NOW), source="cli")
    unit = Unit()
    making.add(unit, made.row, "cli:tester")
    await store.recorder.commit(unit)
    return made


async def _answer(store: Store, token: NewCredential, *, revoked: bool) -> tuple[int, dict[str, Any]]:
    """Status and body of a request whose token is revoked, or not, before its body comes."""
    clock, tokens = StoppedClock(), ApiTokens(store, SERVER_KEY, StoppedClock(), lambda: 0.0)
    service = CredentialService(store, SERVER_KEY, clock, tuple)
    edge = Edge(routes=(), app=api_application(AdminServices(service, tokens.verify, clock)))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if revoked:
            unit = Unit()
            making.revoke(unit, token.row, "cli:tester", NOW)
            await store.recorder.commit(unit)
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path = "/api/v1/credentials"
    listener = ListenerSpec("https", "127.0.0.1", 8443, frozenset((APP_SERVICE,)))
    headers = {b"host": b"localhost", b"content-type": b"application/json"}
    headers[b"authorization"] = b"Bearer " + str(token.secret).encode()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "http_version": "1.1",
        "headers": list(headers.items()),
        "scheme": "https",
        "client": ("192.0.2.1", 50000),
        "server": ("127.0.0.1", 8443),
        CONNECTION_KEY: ConnectionFacts(listener, "192.0.2.1"),
    }
    await edge(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent))


def _made(store: Store) -> int:
    page = store.reader.read_blocking(lambda connection: credentials.search(connection, kind=SCEP_CHALLENGE))
    return len(page.rows)


async def test_token_that_is_revoked_before_its_body_has_come_makes_nothing(store: Store) -> None:
    """Whoever stole it could otherwise keep requests open, and use them after the revocation."""
    status, problem = await _answer(store, await _token(store), revoked=True)
    assert (status, problem.get("type")) == (401, "urn:pkigate:problem:token-refused")
    assert _made(store) == 0


async def test_token_that_goes_on_makes_what_its_body_asks_for(store: Store) -> None:
    """The same way, so that the refusal is known to be the revocation's."""
    status, made = await _answer(store, await _token(store), revoked=False)
    assert (status, made["kind"]) == (201, "scep-challenge")
    assert _made(store) == 1
