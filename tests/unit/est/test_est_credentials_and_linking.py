"""What a request presents, and whether its CSR was made for this TLS session."""

from __future__ import annotations

import base64

import pytest

from gateway.errors import GatewayError
from gateway.est.credentials import presented_credentials, presented_password
from gateway.est.linking import linking_of
from gateway.http.message import TlsPeer
from gateway.model.evidence import RENEWAL_CERT, Linking, PresentedCertificate
from gateway.model.reasons import ReasonCode
from tests.unit.est.house import http_request

UNIQUE, EXPORTER = b"client finished.", b"e" * 32


def basic(pair: bytes) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(pair).decode()}


@pytest.mark.parametrize(
    ("pair", "user", "password"),
    [
        (b"demo:secret", "demo", b"secret"),
        (b"demo:a:b:c", "demo", b"a:b:c"),
        (b"demo:", "demo", b""),
        (b":secret", "", b"secret"),
        ("jürgen:päß ✓".encode(), "jürgen", "päß ✓".encode()),
        (b"demo:\xff\xfe", "demo", b"\xff\xfe"),
    ],
    ids=["plain", "colons", "empty-password", "empty-user", "utf-8", "password-octets"],
)
def test_basic_credentials_are_split_at_the_first_colon(pair: bytes, user: str, password: bytes) -> None:
    """est.md C10; RFC 7030 section 3.2.3 allows an empty user name."""
    presented = presented_password(http_request(headers=basic(pair)))
    assert presented is not None
    assert (presented.user, presented.secret.reveal()) == (user, password)


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Basic "])
def test_basic_scheme_is_read_in_any_case(scheme: str) -> None:
    value = f"{scheme} " + base64.b64encode(b"u:p").decode()
    assert presented_password(http_request(headers={"authorization": value})) is not None


@pytest.mark.parametrize(
    "value",
    [
        "Basic",
        "Basic !!!!",
        "Basic dXNlcg==",  # no colon
        "Basic dTpwcA",  # no padding
        "Basic /zpw",  # user 0xff
        "Basic CjpwdA==",  # user is a line feed
        "Basic " + base64.b64encode(b"u" * 300 + b":p").decode(),
    ],
)
def test_malformed_basic_credentials_are_failed_ones(value: str) -> None:
    """est.md C10: malformed is 401, never 500, and never as if nothing had been sent."""
    with pytest.raises(GatewayError) as refused:
        presented_password(http_request(headers={"authorization": value}))
    assert refused.value.code is ReasonCode.AUTH_FAILED


@pytest.mark.parametrize("value", ["Bearer abc", "Digest username=x", "x" * 5000])
def test_other_schemes_are_not_taken(value: str) -> None:
    with pytest.raises(GatewayError) as refused:
        presented_password(http_request(headers={"authorization": value}))
    assert refused.value.code is ReasonCode.AUTH_KIND
    assert len(str(refused.value)) < 100


def test_two_authorization_headers_are_refused() -> None:
    request = http_request(headers=basic(b"a:b"))
    request.headers += ((b"authorization", b"Basic YTpi"),)
    with pytest.raises(GatewayError, match="more than one"):
        presented_password(request)


def test_certificate_comes_before_the_password_and_neither_is_dropped() -> None:
    """est.md C13: both identities are handed on."""
    presented = presented_credentials(
        http_request(headers=basic(b"u:p"), chain=(b"leaf", b"issuer")), RENEWAL_CERT
    )
    assert [credential.kind for credential in presented] == ["renewal-cert", "basic"]
    assert isinstance(presented[0], PresentedCertificate)
    assert presented[0].chain_der == (b"leaf", b"issuer")


def test_nothing_presented_gives_nothing() -> None:
    assert presented_credentials(http_request()) == ()


def peer(version: str, *, source: str = "tls", bindings: dict[str, bytes] | None = None) -> TlsPeer:
    known = {"tls-unique": UNIQUE, "tls-exporter": EXPORTER} if bindings is None else bindings
    return TlsPeer(version, "", source=source, binding=known.get)


@pytest.mark.parametrize(
    ("version", "sent", "linking"),
    [
        ("TLSv1.2", base64.b64encode(UNIQUE), Linking.TLS_UNIQUE),
        ("TLSv1.2", base64.b64encode(UNIQUE) + b"\n", Linking.TLS_UNIQUE),
        ("TLSv1.2", base64.b64encode(EXPORTER), Linking.MISMATCH),
        ("TLSv1.3", base64.b64encode(EXPORTER), Linking.TLS_EXPORTER),
        ("TLSv1.3", base64.b64encode(UNIQUE), Linking.MISMATCH),
        ("TLSv1.2", UNIQUE, Linking.MISMATCH),
        ("TLSv1.2", b"", Linking.MISMATCH),
        ("TLSv1.2", b"\xff\x00", Linking.MISMATCH),
        ("TLSv1.2", None, Linking.ABSENT),
    ],
)
def test_challenge_password_is_compared_with_this_sessions_binding(
    version: str, sent: bytes | None, linking: Linking
) -> None:
    """est.md C33 and C34."""
    assert linking_of(sent, peer(version)) is linking


@pytest.mark.parametrize(
    "tls", [None, peer("TLSv1.2", source="proxy"), peer("TLSv1.2", bindings={}), peer("TLSv1.3", bindings={})]
)
def test_linking_without_a_session_to_compare_with_is_unavailable(tls: TlsPeer | None) -> None:
    assert linking_of(base64.b64encode(UNIQUE), tls) is Linking.UNAVAILABLE


def test_tls13_linking_set_to_ignore_counts_as_absent_on_tls13_only() -> None:
    assert linking_of(b"anything", peer("TLSv1.3"), "ignore") is Linking.ABSENT
    assert linking_of(b"anything", peer("TLSv1.2"), "ignore") is Linking.MISMATCH


def test_binding_is_asked_for_only_when_a_value_was_sent() -> None:
    def unwanted(name: str) -> bytes | None:
        raise AssertionError(f"{name} was computed for nothing")

    assert linking_of(None, TlsPeer("TLSv1.2", "", binding=unwanted)) is Linking.ABSENT
