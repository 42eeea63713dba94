"""Download of certificates (acme.md C40, C69, C90)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.acme.certificates import issuer_chains
from gateway.http.message import HttpResponse
from tests.support import pki
from tests.unit.acme.authorized import ready_order
from tests.unit.acme.house import Client, House, header, problem
from tests.unit.acme.ordered import Ordered, ordered


@pytest_asyncio.fixture
async def client(house: House) -> Client:
    return await house.client().registered()


@pytest_asyncio.fixture
async def one(house: House, client: Client) -> Ordered:
    return await ordered(house, client, "a.test")


def chain_of(answer: HttpResponse) -> list[x509.Certificate]:
    assert answer.status == 200, answer.body
    assert answer.content_type == "application/pem-certificate-chain"
    return x509.load_pem_x509_certificates(answer.body)


def alternates(answer: HttpResponse) -> list[str]:
    links = [value for name, value in answer.headers if name == "Link" and 'rel="alternate"' in value]
    return [value.partition(">")[0].removeprefix("<") for value in links]


def assert_each_signs_the_one_before(chain: Sequence[x509.Certificate]) -> None:
    for lower, upper in itertools.pairwise(chain):
        lower.verify_directly_issued_by(upper)


async def test_default_chain_ends_below_the_root(client: Client, one: Ordered) -> None:
    """acme.md C90: leaf first, each signs the one before."""
    chain = chain_of(await client.post(one.url))
    assert len(chain) == 2
    assert_each_signs_the_one_before(chain)
    assert chain[0] == one.leaf
    assert chain[-1].issuer != chain[-1].subject


async def test_alternate_chain_ends_with_the_root(client: Client, one: Ordered) -> None:
    """acme.md C90: linked to from the default chain, and back."""
    answer = await client.post(one.url)
    (url,) = alternates(answer)
    other = await client.post(url)
    chain = chain_of(other)
    assert_each_signs_the_one_before(chain)
    assert chain[-1].issuer == chain[-1].subject
    assert other.body.startswith(answer.body)
    assert alternates(other) == [one.url]


async def test_certificate_is_the_same_each_time_and_after_its_order_expired(
    house: House, client: Client, one: Ordered
) -> None:
    """acme.md C90: immutable."""
    before = (await client.post(one.url)).body
    house.clock.advance(days=400)
    client.nonce = None
    assert (await client.post(one.url)).body == before


async def test_revoked_certificate_can_still_be_fetched(client: Client, one: Ordered) -> None:
    """acme.md C90"""
    assert (await client.post("/revoke-cert", {"certificate": one.b64u})).status == 200
    assert chain_of(await client.post(one.url))[0] == one.leaf


@pytest.mark.parametrize("payload", [{}, b"null", b" "])
async def test_certificate_is_read_with_an_empty_payload_only(
    client: Client, one: Ordered, payload: object
) -> None:
    """acme.md C40"""
    answer = await client.post(one.url, payload)
    assert (answer.status, problem(answer)) == (400, "malformed")


@pytest.mark.parametrize("number", ["0", "2", "01", "x", "-1", "99999", ""])
async def test_chain_that_is_not_there_is_not_found(client: Client, one: Ordered, number: str) -> None:
    """acme.md C90"""
    answer = await client.post(f"{one.url}/{number}")
    assert (answer.status, problem(answer)) == (404, "malformed")


async def test_certificate_of_an_order_without_one_is_not_found(house: House, client: Client) -> None:
    """acme.md C90"""
    order = await ready_order(house, client, "a.test")
    answer = await client.post(str(order["url"]).replace("/order/", "/cert/"))
    assert (answer.status, problem(answer)) == (404, "malformed")


async def test_certificate_of_another_account_is_not_found(house: House, one: Ordered) -> None:
    """acme.md C69"""
    stranger = await house.client().registered()
    for url in (one.url, f"{one.url}/1"):
        answer = await stranger.post(url)
        assert (answer.status, problem(answer)) == (404, "malformed")


async def test_certificate_is_kept_by_nobody_on_the_way(client: Client, one: Ordered) -> None:
    """acme.md C4, C6"""
    answer = await client.post(one.url)
    assert header(answer, "Cache-Control") == "no-store"
    assert header(answer, "Replay-Nonce")


def test_chain_of_the_root_alone_has_no_alternate() -> None:
    """acme.md C90: clients that split leaf and chain need an issuer behind the leaf."""
    root = pki.Authority("Root").certificate.public_bytes(Encoding.DER)
    (only,) = issuer_chains((root,))
    assert x509.load_pem_x509_certificates(only.encode())[0].public_bytes(Encoding.DER) == root


def test_chain_without_a_root_is_given_as_it_is() -> None:
    """acme.md C90"""
    intermediate = pki.Authority("Root").sub("Issuing").certificate
    chains = issuer_chains((intermediate.public_bytes(Encoding.DER),))
    assert [text.count("BEGIN CERTIFICATE") for text in chains] == [1]


def test_chains_to_other_roots_are_the_last_alternates() -> None:
    """acme.md C90: with or without a chain that ends below the own root."""
    root, other = pki.Authority("Root"), pki.Authority("Other Root")
    issuing, cross = root.sub("Issuing").certificate, other.certify(root.certificate)
    own, ours, theirs = (one.public_bytes(Encoding.DER) for one in (root.certificate, issuing, cross))
    found = [
        [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(text.encode())]
        for text in (*issuer_chains((ours, own), ((ours, theirs),)), *issuer_chains((own,), ((theirs,),)))
    ]
    assert found == [[ours], [ours, own], [ours, theirs], [own], [theirs]]


def test_leaf_without_any_issuer_stands_alone() -> None:
    assert issuer_chains(()) == ("",)
