"""tls-alpn-01 against real TLS servers (acme.md C82, E5, E6; RFC 8737, RFC 8738 section 6)."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.acme.tables.authorizations import INVALID, VALID, AuthorizationRow
from gateway.store.store import Store
from tests.support import acme_signing, pki
from tests.support.acme_responders import AlpnResponder, alpn_responder, validation_certificate
from tests.support.ports import spare_port
from tests.unit.acme.answering import authorization_url, challenge_of, look_out, looking_house, settled
from tests.unit.acme.house import Client, House, SetClock


@pytest.fixture
def responder() -> Iterator[AlpnResponder]:
    with alpn_responder(spare_port()) as running:
        yield running


@pytest_asyncio.fixture
async def looking(
    tmp_path: Path, store: Store, clock: SetClock, responder: AlpnResponder
) -> AsyncIterator[House]:
    opened = looking_house(tmp_path, store, clock, tls_port=responder.port)
    yield opened
    await opened.aclose()


async def tls_challenge(
    house: House, name: str = "a.test", kind: str = "dns"
) -> tuple[Client, str, dict[str, Any]]:
    client = await house.client().registered()
    url = await authorization_url(client, name, kind)
    return client, url, await challenge_of(client, url, "tls-alpn-01")


async def outcome(house: House, client: Client, url: str, challenge: dict[str, Any]) -> AuthorizationRow:
    assert (await client.post(challenge["url"], {})).status == 200
    return await settled(house, client, url)


def digest(challenge: dict[str, Any], key: pki.PrivateKey) -> bytes:
    return hashlib.sha256(acme_signing.key_authorization(challenge["token"], key).encode()).digest()


def error_of(row: AuthorizationRow) -> tuple[str, str]:
    assert row.status == INVALID
    assert row.error is not None
    return str(row.error["type"]).removeprefix("urn:ietf:params:acme:error:"), str(row.error["detail"])


async def test_certificate_with_the_digest_proves_the_name(looking: House, responder: AlpnResponder) -> None:
    """acme.md C82"""
    client, url, challenge = await tls_challenge(looking)
    responder.answer("a.test", challenge["token"], client.key)
    row = await outcome(looking, client, url, challenge)
    assert (row.status, row.method) == (VALID, "tls-alpn-01")
    assert (row.evidence or {})["addresses"] == [f"127.0.0.1:{responder.port}"]
    assert responder.asked == ["a.test"]


async def test_name_in_the_certificate_is_compared_without_regard_to_case(
    looking: House, responder: AlpnResponder
) -> None:
    """RFC 8737 section 3"""
    client, url, challenge = await tls_challenge(looking)
    responder.answer("a.test", challenge["token"], client.key, san="A.Test")
    assert (await outcome(looking, client, url, challenge)).status == VALID


async def test_address_is_asked_for_by_its_reverse_name(looking: House, responder: AlpnResponder) -> None:
    """acme.md C82: RFC 8738 section 6"""
    client, url, challenge = await tls_challenge(looking, "127.0.0.1", "ip")
    responder.answer("1.0.0.127.in-addr.arpa", challenge["token"], client.key, san="ip:127.0.0.1")
    assert (await outcome(looking, client, url, challenge)).status == VALID
    assert responder.asked == ["1.0.0.127.in-addr.arpa"]


@pytest.mark.parametrize(
    ("san", "options", "words"),
    [
        ("b.test", {}, "dns:b.test"),
        ("a.test", {"more_sans": ("b.test",)}, "alone"),
        ("a.test", {"more_sans": ("a.test",)}, "alone"),
        ("*.test", {}, "alone"),
        ("ip:127.0.0.1", {}, "alone"),
        ("a.test", {"critical": False}, "critical acmeIdentifier"),
        ("a.test", {"extension": False}, "critical acmeIdentifier"),
    ],
)
async def test_certificate_of_another_form_is_an_incorrect_response(
    looking: House, responder: AlpnResponder, san: str, options: dict[str, Any], words: str
) -> None:
    """acme.md C82, E6: exactly one SAN, a critical extension."""
    client, url, challenge = await tls_challenge(looking)
    responder.answer("a.test", challenge["token"], client.key, san=san, **options)
    type_, detail = error_of(await outcome(looking, client, url, challenge))
    assert type_ == "incorrectResponse"
    assert words in detail


@pytest.mark.parametrize("spoil", [lambda d: d[:-1], lambda d: d + b"\x00", lambda d: d[::-1], lambda _: b""])
async def test_digest_that_differs_is_an_incorrect_response(
    looking: House, responder: AlpnResponder, spoil: Any
) -> None:
    """acme.md C82: OCTET STRING of 32 bytes. The helper writes the right header before whatever follows."""
    client, url, challenge = await tls_challenge(looking)
    responder.show("a.test", *validation_certificate("a.test", spoil(digest(challenge, client.key))))
    type_, detail = error_of(await outcome(looking, client, url, challenge))
    assert type_ == "incorrectResponse"
    assert "digest of another key authorization" in detail


async def test_certificate_for_another_account_is_an_incorrect_response(
    looking: House, responder: AlpnResponder
) -> None:
    client, url, challenge = await tls_challenge(looking)
    responder.answer("a.test", challenge["token"], pki.key())
    assert error_of(await outcome(looking, client, url, challenge))[0] == "incorrectResponse"


@pytest.mark.parametrize("protocols", [(), ("h2", "http/1.1")])
async def test_server_without_the_protocol_is_a_tls_error(
    looking: House, responder: AlpnResponder, protocols: tuple[str, ...]
) -> None:
    """acme.md C82, E6: ALPN acme-tls/1 exactly, right certificate or not."""
    responder.protocols = protocols
    client, url, challenge = await tls_challenge(looking)
    responder.answer("a.test", challenge["token"], client.key)
    type_, detail = error_of(await outcome(looking, client, url, challenge))
    assert type_ == "tls"
    assert "acme-tls/1" in detail


async def test_server_that_does_not_know_the_name_is_a_tls_error(looking: House) -> None:
    client, url, challenge = await tls_challenge(looking)
    type_, detail = error_of(await outcome(looking, client, url, challenge))
    assert type_ == "tls"
    assert "unrecognized name" in detail


@contextmanager
def old_server(directory: Path, certificate: tuple[bytes, bytes]) -> Iterator[int]:
    """Speaks TLS 1.1 and older only."""
    pem = directory / "old.pem"
    pem.write_bytes(b"".join(reversed(certificate)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["acme-tls/1"])

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                return  # the other side will not

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(60)


async def test_server_with_old_tls_only_is_a_tls_error(looking: House, tmp_path: Path) -> None:
    """acme.md C82, E5: TLS 1.2 or later."""
    client, url, challenge = await tls_challenge(looking)
    with old_server(tmp_path, validation_certificate("a.test", digest(challenge, client.key))) as port:
        look_out(looking, tls_port=port)
        assert error_of(await outcome(looking, client, url, challenge))[0] == "tls"


async def test_server_that_closes_is_a_connection_error(looking: House) -> None:
    client, url, challenge = await tls_challenge(looking)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        look_out(looking, tls_port=listener.getsockname()[1])
        closing = threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True)
        closing.start()
        type_, _ = error_of(await outcome(looking, client, url, challenge))
        closing.join(60)
    assert type_ == "connection"


async def test_server_that_speaks_http_is_a_tls_error(looking: House) -> None:
    client, url, challenge = await tls_challenge(looking)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\nsecret")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        look_out(looking, tls_port=listener.getsockname()[1])
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        type_, detail = error_of(await outcome(looking, client, url, challenge))
        thread.join(60)
    assert type_ == "tls"
    assert "secret" not in detail
