"""Renewal information, and what an order may replace (acme.md B3, C67, C95, C96; RFC 9773)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from gateway.acme.errors import AcmeError
from gateway.acme.exchange import ACME, Exchange
from gateway.acme.identifiers import from_text
from gateway.acme.options import AcmeOptions
from gateway.acme.paths import Links
from gateway.acme.renewal_info import CertificateId, parse_id, renewal_window
from gateway.acme.replaces import Replaced, check_replaces
from gateway.acme.tables import accounts, orders
from gateway.acme.tables.orders import OrderRow
from gateway.errors import Conflict
from gateway.frontend import Unit
from gateway.model.certificate import CertificateRecord, CertificateStatus
from gateway.model.ids import EndpointName, new_object_id
from tests.support.acme_signing import b64u
from tests.unit.acme.authorized import ready_order, settle
from tests.unit.acme.doors import change_options
from tests.unit.acme.house import BASE, Client, House, document, header, http_request, problem
from tests.unit.acme.ordered import Ordered, ordered

APPENDIX_A = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"  # RFC 9773 section 4.1 and appendix A


@pytest_asyncio.fixture
async def client(house: House) -> Client:
    return await house.client().registered()


@pytest_asyncio.fixture
async def one(house: House, client: Client) -> Ordered:
    return await ordered(house, client, "a.test", "b.test")


async def ask(client: Client, certificate_id: str) -> Any:
    return await client.get(f"/renewal-info/{certificate_id}")


def window_of(answer: Any) -> tuple[datetime, datetime]:
    assert answer.status == 200, answer.body
    window = document(answer)["suggestedWindow"]
    return datetime.fromisoformat(window["start"]), datetime.fromisoformat(window["end"])


def record(lifetime: timedelta, **changes: Any) -> CertificateRecord:
    """A certificate of this lifetime from 2030 on."""
    start = datetime(2030, 1, 1, tzinfo=UTC)
    values: dict[str, Any] = dict.fromkeys(CertificateRecord.__dataclass_fields__, "")
    values |= {
        "not_before": start,
        "not_after": start + lifetime,
        "status": CertificateStatus.GOOD,
        "revoked_at": None,
    }
    return CertificateRecord(**(values | changes))


async def test_anybody_learns_when_to_renew(house: House, one: Ordered) -> None:
    """acme.md C95: unsigned, between two thirds and three quarters of the lifetime."""
    answer = await ask(house.client(), one.id)
    start, end = window_of(answer)
    born, lifetime = (
        one.leaf.not_valid_before_utc,
        one.leaf.not_valid_after_utc - one.leaf.not_valid_before_utc,
    )
    assert abs(start - (born + lifetime * 2 / 3)) < timedelta(seconds=2)
    assert abs(end - (born + lifetime * 3 / 4)) < timedelta(seconds=2)
    assert header(answer, "Retry-After") == str(6 * 3600)
    assert header(answer, "Cache-Control") == "public, max-age=300"
    assert answer.content_type == "application/json"
    assert "explanationURL" not in document(answer)


async def test_operator_chooses_how_often_to_ask_and_explains(house: House, one: Ordered) -> None:
    """acme.md C95"""
    url = "https://ca.test/why"
    change_options(house, "default", renewal_retry_after="30s", renewal_explanation_url=url)
    answer = await ask(house.client(), one.id)
    assert header(answer, "Retry-After") == "30"
    assert document(answer)["explanationURL"] == url


async def test_revoked_certificate_is_due_at_once(house: House, client: Client, one: Ordered) -> None:
    """acme.md C95 (RFC 9773 section 4.2)"""
    house.clock.advance(days=10)
    client.nonce = None
    await client.post("/revoke-cert", {"certificate": one.b64u})
    start, end = window_of(await ask(client, one.id))
    assert start < end <= one.leaf.not_valid_before_utc + timedelta(hours=1)


async def test_endpoint_without_renewal_information_has_none(house: House, one: Ordered) -> None:
    change_options(house, "default", renewal_info=False)
    answer = await ask(house.client(), one.id)
    assert (answer.status, problem(answer)) == (404, "malformed")


async def test_unknown_certificates_are_not_found(house: House, one: Ordered) -> None:
    """acme.md C95: another serial number, the right one of another issuer."""
    aki, serial = one.id.split(".")
    for unknown in (APPENDIX_A, f"{aki}.{b64u(b'x' * 20)}", f"{b64u(b'k' * 20)}.{serial}"):
        answer = await ask(house.client(), unknown)
        assert (answer.status, problem(answer)) == (404, "malformed")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "AAAA",
        "AQ.",
        ".AQ",
        "AQ.AQ.AQ",
        "AQ==.AQ",
        "AQ.AQ==",
        "A.AQ",
        "AR.AQ",
        "AQ.AR",
        "+/+/.AQ",
        "AQ.AA",  # zero
        "AQ._w",  # negative
        "AQ.AAE",  # an octet too many
        "AQ.AAAB",
        f"AQ.{b64u(b'a' * 22)}",
        f"{b64u(b'a' * 65)}.AQ",
        "AQ .AQ",
        "é.AQ",
    ],
)
def test_identifier_in_another_spelling_is_malformed(text: str) -> None:
    """acme.md C95 (RFC 9773 section 4.1)"""
    with pytest.raises(AcmeError) as refused:
        parse_id(text)
    assert (refused.value.status, refused.value.type) == (400, "malformed")


def test_identifier_of_the_rfc_is_read() -> None:
    """RFC 9773 section 4.1"""
    aki = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    assert parse_id(APPENDIX_A) == CertificateId(aki, 0x87654321)


@pytest.mark.parametrize("seconds", [0, 1, 5, 11, 12, 60, 3600, 86_400, 90 * 86_400, 20 * 365 * 86_400])
def test_window_is_never_empty_and_ends_in_time(seconds: int) -> None:
    """acme.md C95 (RFC 9773 section 4.2: an end that is not after the start MUST NOT be served)"""
    whole = record(timedelta(seconds=seconds))
    window = renewal_window(whole)
    assert whole.not_before <= window.start < window.end
    assert seconds < 12 or window.end <= whole.not_after


@pytest.mark.parametrize("after", [timedelta(0), timedelta(minutes=1), timedelta(days=50)])
def test_window_of_a_revoked_certificate_is_over_when_it_is_revoked(after: timedelta) -> None:
    """acme.md C95"""
    start = datetime(2030, 1, 1, tzinfo=UTC)
    revoked = record(timedelta(days=90), status=CertificateStatus.REVOKED, revoked_at=start + after)
    window = renewal_window(revoked)
    assert window.start < window.end <= start + after


# replaces


async def exchange_of(house: House) -> Exchange:
    view = house.services.endpoint(ACME, "default")
    assert view is not None
    assert isinstance(view.options, AcmeOptions)
    request = http_request("POST", f"{BASE}/acme/new-order")
    links = Links(f"{BASE}/acme")
    return Exchange(house.services, request, EndpointName("default"), view.options, links, "new-order")


async def checked(house: House, client: Client, certificate_id: str, *names: str) -> Replaced:
    account_id = str(client.kid).rsplit("/", 1)[1]
    account = await house.services.records.read(
        lambda connection: accounts.get(connection, "default", account_id)
    )
    assert account is not None
    identifiers = [from_text(f"dns:{name}") for name in names]
    return await check_replaces(await exchange_of(house), account, identifiers, certificate_id)


async def refusal(house: House, client: Client, certificate_id: str, *names: str) -> tuple[int, str]:
    with pytest.raises(AcmeError) as refused:
        await checked(house, client, certificate_id, *names)
    return refused.value.status, refused.value.type


async def claim(house: House, order: dict[str, Any], one: Ordered, sha256: str) -> None:
    """Write an order with the same authorizations that claims the certificate."""
    template = str(order["url"]).rsplit("/", 1)[1]
    row = await house.services.records.read(lambda connection: orders.by_id(connection, "default", template))
    assert row is not None
    values = {name: getattr(row, name) for name in OrderRow.__dataclass_fields__}
    values |= {"id": new_object_id(), "replaces": one.id, "replaces_sha256": sha256}
    unit = Unit()
    orders.insert(unit, OrderRow(**values))
    await house.services.records.commit(unit)


async def test_own_certificate_with_a_common_name_may_be_replaced(
    house: House, client: Client, one: Ordered
) -> None:
    """acme.md C67"""
    replaced = await checked(house, client, one.id, "b.test", "new.test")
    assert (replaced.certificate_id, replaced.certificate_der) == (one.id, one.der)
    assert not replaced.exempt


async def test_replacement_is_exempt_from_limits_from_the_renewal_window_to_the_end_of_the_certificate(
    house: House, client: Client, one: Ordered
) -> None:
    """acme.md C96"""
    start, _ = window_of(await ask(client, one.id))
    house.clock.moment = start - timedelta(seconds=1)
    assert not (await checked(house, client, one.id, "a.test")).exempt
    house.clock.advance(seconds=1)
    assert (await checked(house, client, one.id, "a.test")).exempt
    house.clock.moment = one.leaf.not_valid_after_utc - timedelta(seconds=1)
    assert (await checked(house, client, one.id, "a.test")).exempt
    house.clock.advance(seconds=1)
    assert not (await checked(house, client, one.id, "a.test")).exempt


async def test_replacement_of_a_revoked_certificate_is_exempt_from_limits(
    house: House, client: Client, one: Ordered
) -> None:
    """acme.md C95, C96"""
    assert (await client.post("/revoke-cert", {"certificate": one.b64u})).status == 200
    assert (await checked(house, client, one.id, "a.test")).exempt


async def test_certificate_of_another_account_may_not_be_replaced(house: House, one: Ordered) -> None:
    """acme.md C67"""
    stranger = await house.client().registered()
    assert await refusal(house, stranger, one.id, "a.test") == (403, "unauthorized")


async def test_certificate_without_a_common_identifier_may_not_be_replaced(
    house: House, client: Client, one: Ordered
) -> None:
    """acme.md C67: a wildcard is another identifier than the name."""
    assert await refusal(house, client, one.id, "c.test", "*.a.test") == (400, "malformed")


@pytest.mark.parametrize("certificate_id", ["x", "", APPENDIX_A])
async def test_unknown_or_malformed_certificate_may_not_be_replaced(
    house: House, client: Client, certificate_id: str
) -> None:
    """acme.md C67"""
    assert await refusal(house, client, certificate_id, "a.test") == (400, "malformed")


async def test_certificate_that_an_open_order_replaces_is_taken(
    house: House, client: Client, one: Ordered
) -> None:
    """acme.md C67 (RFC 9773 section 5)"""
    replaced = await checked(house, client, one.id, "a.test")
    await claim(house, await ready_order(house, client, "a.test"), one, replaced.sha256)
    assert await refusal(house, client, one.id, "a.test") == (409, "alreadyReplaced")


async def test_claim_of_an_invalid_order_is_given_up(house: House, client: Client, one: Ordered) -> None:
    """acme.md C67: failed and expired orders free the certificate, and stay as they are otherwise."""
    replaced = await checked(house, client, one.id, "a.test")
    answer = await client.new_order(["a.test"])
    order = document(answer) | {"url": header(answer, "Location")}
    await claim(house, order, one, replaced.sha256)
    assert await refusal(house, client, one.id, "a.test") == (409, "alreadyReplaced")
    await settle(house, client, order["authorizations"], status="invalid")
    again = await checked(house, client, one.id, "a.test")
    claiming = await house.services.records.read(
        lambda connection: orders.replacing(connection, replaced.sha256)
    )
    assert claiming is not None
    assert (again.sha256, again.claimed_by) == (replaced.sha256, claiming.id)
    unit = Unit()
    again.release(unit)
    await house.services.records.commit(unit)
    claiming = await house.services.records.read(
        lambda connection: orders.replacing(connection, replaced.sha256)
    )
    assert claiming is None


async def test_claim_is_given_up_once(house: House, client: Client, one: Ordered) -> None:
    """acme.md C67: of two that judge the same invalid claim, one goes on."""
    start, _ = window_of(await ask(client, one.id))
    house.clock.moment = start
    replaced = await checked(house, client, one.id, "a.test")
    answer = await client.new_order(["a.test"])
    order = document(answer) | {"url": header(answer, "Location")}
    await claim(house, order, one, replaced.sha256)
    await settle(house, client, order["authorizations"], status="invalid")
    again = await checked(house, client, one.id, "a.test")
    assert not again.exempt
    units = Unit(), Unit()
    for unit in units:
        again.release(unit)
    await house.services.records.commit(units[0])
    with pytest.raises(Conflict):
        await house.services.records.commit(units[1])


async def test_answer_is_plain_json(house: House, one: Ordered) -> None:
    """acme.md C95: times of RFC 3339 in UTC."""
    found = json.loads((await ask(house.client(), one.id)).body)
    assert set(found) == {"suggestedWindow"}
    assert all(text.endswith("Z") and len(text) == 20 for text in found["suggestedWindow"].values())
