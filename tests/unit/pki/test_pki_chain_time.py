"""Path validation over time: dates, grace, and how long a verdict stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.model.reasons import ReasonCode
from gateway.pki.chain import TrustAnchors, UntrustedCertificate, verify_client_chain
from tests.unit.pki.chains import DAY, NOW, SERVER, Made, leaf, make, refusal, verify


@pytest.fixture(scope="module")
def root() -> Made:
    return make("Root")


@pytest.fixture(scope="module")
def issuing(root: Made) -> Made:
    return make("Issuing CA", root, path_length=0)


# -- time ----------------------------------------------------------------------------------------------------


def test_expired_leaf_is_refused_with_its_date(issuing: Made) -> None:
    fault = refusal([leaf(issuing, ends=NOW - DAY)], [issuing])
    assert fault.code is ReasonCode.AUTH_CERTIFICATE_EXPIRED
    assert "expired at 2026-05-31 12:00:00" in str(fault)


def test_leaf_is_good_to_its_last_second_and_not_after(issuing: Made) -> None:
    device = leaf(issuing, ends=NOW)
    assert verify([device], [issuing], NOW).leaf
    assert (
        refusal([device], [issuing], NOW + timedelta(seconds=1)).code is ReasonCode.AUTH_CERTIFICATE_EXPIRED
    )


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_grace_lets_an_expired_leaf_in_and_ends(kind: str) -> None:
    authority = make("CA", kind=kind)
    device = leaf(authority, ends=NOW - DAY)
    assert verify([device], [authority], ignore_expiry_s=86400).leaf
    fault = refusal([device], [authority], ignore_expiry_s=86399)
    assert fault.code is ReasonCode.AUTH_CERTIFICATE_EXPIRED


def test_grace_never_skips_not_before(issuing: Made) -> None:
    fault = refusal([leaf(issuing, starts=NOW + DAY)], [issuing], ignore_expiry_s=10**9)
    assert fault.code is ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID
    assert "2026-06-02" in str(fault)


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
@pytest.mark.parametrize("ignore_expiry_s", [0, 10**9])
def test_expired_ca_is_refused_whatever_the_grace(root: Made, kind: str, ignore_expiry_s: int) -> None:
    between = make("Old CA", root, kind=kind, ends=NOW - DAY)
    device = leaf(between, ends=NOW - 2 * DAY if ignore_expiry_s else NOW + DAY)
    fault = refusal([device, between], [root], ignore_expiry_s=ignore_expiry_s)
    assert fault.code is ReasonCode.AUTH_CERTIFICATE_EXPIRED
    assert "CN=Old CA" in str(fault)


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_renewed_ca_certificate_with_the_same_key_takes_the_place_of_the_old_one(
    root: Made, kind: str
) -> None:
    old = make("CA", root, kind=kind, ends=NOW - DAY)
    new = make("CA", root, private_key=old.private_key)
    assert verify([leaf(old), old, new], [root]).path_der[1] == new.der


# -- verdicts ------------------------------------------------------------------------------------------------


def test_verdict_is_reused_until_the_first_expiry(monkeypatch: pytest.MonkeyPatch, root: Made) -> None:
    between = make("Short-lived CA", root, ends=NOW + DAY)
    sent = (leaf(between).der, between.der)
    trusted = TrustAnchors([root.der])
    first = verify_client_chain(sent, trusted, NOW)
    assert verify_client_chain(sent, trusted, NOW + DAY) is first
    with pytest.raises(UntrustedCertificate) as caught:
        verify_client_chain(sent, trusted, NOW + DAY + timedelta(seconds=1))
    assert caught.value.code is ReasonCode.AUTH_CERTIFICATE_EXPIRED
    with pytest.raises(UntrustedCertificate) as caught:
        verify_client_chain(sent, trusted, NOW - 366 * DAY)
    assert caught.value.code is ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID


def test_verdict_does_not_count_for_another_question(issuing: Made) -> None:
    trusted = TrustAnchors([issuing.der])
    server = (leaf(issuing, extensions=((SERVER, False),), ends=NOW - DAY).der,)
    assert verify_client_chain(server, trusted, NOW, extended_key_usages=None, ignore_expiry_s=90000)
    for options in ({"extended_key_usages": None}, {"ignore_expiry_s": 90000}):
        with pytest.raises(UntrustedCertificate):
            verify_client_chain(server, trusted, NOW, **options)


def test_verdict_of_one_leaf_does_not_count_for_another(issuing: Made) -> None:
    trusted = TrustAnchors([issuing.der])
    device = leaf(issuing)
    assert verify_client_chain((device.der,), trusted, NOW)
    with pytest.raises(UntrustedCertificate):
        verify_client_chain((leaf(make("Issuing CA")).der,), trusted, NOW)


def test_verdicts_are_bounded_and_the_oldest_goes_first(issuing: Made) -> None:
    trusted = TrustAnchors([issuing.der], max_verdicts=2)
    first, second, third = ((leaf(issuing).der,) for _ in range(3))
    one, two = verify_client_chain(first, trusted, NOW), verify_client_chain(second, trusted, NOW)
    assert verify_client_chain(first, trusted, NOW) is one
    verify_client_chain(third, trusted, NOW)
    assert verify_client_chain(first, trusted, NOW) is one
    assert verify_client_chain(second, trusted, NOW) is not two


def test_identity_of_anchors_counts_neither_order_nor_repeats(root: Made, issuing: Made) -> None:
    one = TrustAnchors([root.der, issuing.der])
    assert one.identity == TrustAnchors([issuing.der, root.der, root.der]).identity
    assert one.identity != TrustAnchors([root.der]).identity
    assert one.certificates_der == (root.der, issuing.der)


def test_refusal_is_one_of_the_gateways_errors() -> None:
    assert issubclass(UntrustedCertificate, GatewayError)


# -- certificates of devices that outlive them ---------------------------------------------------------------

FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280 section 4.1.2.5


@pytest.mark.parametrize("options", [{}, {"ignore_expiry_s": 10**9}, {"ignore_not_after": True}])
def test_certificate_without_end_is_good_with_every_grace(issuing: Made, options: dict[str, Any]) -> None:
    anchors = TrustAnchors([issuing.der])
    device = leaf(issuing, ends=FOREVER)
    for at in (NOW, NOW + DAY):
        assert verify_client_chain((device.der,), anchors, at, **options).leaf.not_after == FOREVER


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_ignored_ends_let_a_path_of_former_times_in(kind: str) -> None:
    root = make("Old Root", kind=kind, ends=NOW - 3 * DAY)
    between = make("Old CA", root, kind=kind, ends=NOW - 2 * DAY)
    device = leaf(between, ends=NOW - DAY)
    assert refusal([device, between], [root]).code is ReasonCode.AUTH_CERTIFICATE_EXPIRED
    assert verify([device, between], [root], ignore_not_after=True).leaf
    assert verify([leaf(between, ends=FOREVER), between], [root], ignore_not_after=True).leaf


def test_ignored_ends_ask_for_a_time_when_the_whole_path_was_valid() -> None:
    root = make("Root", ends=NOW - 10 * DAY)
    late = leaf(root, starts=NOW - 9 * DAY)
    fault = refusal([late], [root], ignore_not_after=True)
    assert fault.code in {ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID, ReasonCode.AUTH_CERTIFICATE_UNTRUSTED}


def test_ignored_ends_never_skip_not_before(issuing: Made) -> None:
    fault = refusal([leaf(issuing, starts=NOW + DAY)], [issuing], ignore_not_after=True)
    assert fault.code is ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID


def test_verdict_with_ignored_ends_is_not_one_without() -> None:
    root = make("Root")
    anchors, device = TrustAnchors([root.der]), leaf(root, ends=NOW - DAY)
    assert verify_client_chain((device.der,), anchors, NOW, ignore_not_after=True).leaf
    with pytest.raises(UntrustedCertificate):
        verify_client_chain((device.der,), anchors, NOW)
