"""Authorizations as validation would leave them, for tests of what comes after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from gateway.acme.tables import authorizations
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.frontend import Unit
from gateway.http.message import HttpResponse
from tests.support import acme_signing, pki
from tests.unit.acme.house import Client, House, document, header

PROBLEM = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": "the answer was another one"}


async def row_of(house: House, client: Client, url: str) -> AuthorizationRow:
    """The row behind an authorization's URL."""
    assert client.kid is not None
    account_id, one = client.kid.rsplit("/", 1)[1], url.rsplit("/", 1)[1]
    row = await house.services.records.read(
        lambda connection: authorizations.get(connection, client.endpoint, account_id, one)
    )
    assert row is not None
    return row


async def settle(
    house: House, client: Client, urls: Iterable[str], *, status: str = authorizations.VALID, method: str = ""
) -> None:
    """Write down that a challenge of each was passed, or failed if ``status`` says so."""
    now = house.clock.now()
    for url in urls:
        row = await row_of(house, client, url)
        if row.status == authorizations.VALID:
            continue
        valid = status == authorizations.VALID
        after = replace(
            row,
            status=status,
            method=method or row.challenges[0],
            validated_at=now if valid else None,
            expires_at=now + timedelta(days=30) if valid else row.expires_at,
            error=PROBLEM if status == authorizations.INVALID else None,
        )
        unit = Unit()
        authorizations.change(unit, row, after)
        await house.services.records.commit(unit)


async def ready_order(house: House, client: Client, *names: str, **members: object) -> dict[str, object]:
    """A new order with every authorization valid; its URL as ``url``."""
    answer = await client.new_order(names, **members)
    assert answer.status == 201, answer.body
    order: dict[str, object] = document(answer)
    urls = order["authorizations"]
    assert isinstance(urls, list)
    await settle(house, client, urls)
    return order | {"url": header(answer, "Location")}


async def finalize(client: Client, order: dict[str, object], csr_der: bytes) -> HttpResponse:
    return await client.post(str(order["finalize"]), {"csr": acme_signing.b64u(csr_der)})


def csr_for(*names: str, key: pki.PrivateKey | None = None, cn: str | None = None) -> bytes:
    """A CSR for these names; an IP address is written ``ip:127.0.0.1``."""
    return pki.csr(key or pki.key(), cn=cn, sans=names)
