"""Path validation: which client certificates stand below the anchors, and how the others are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.errors import MalformedMessage
from gateway.model.names import DistinguishedName
from gateway.model.reasons import ReasonCode
from gateway.pki import chain, path_search
from gateway.pki.chain import TrustAnchors, UntrustedCertificate, verify_client_chain
from gateway.pki.names import comparable_name
from tests.support import pki
from tests.unit.pki.chains import CLIENT, DAY, NOW, SERVER, Made, leaf, make, refusal, verify


@pytest.fixture(scope="module")
def root() -> Made:
    return make("Root")


@pytest.fixture(scope="module")
def issuing(root: Made) -> Made:
    return make("Issuing CA", root, path_length=0)


# -- what is accepted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519", "Ed448", "ML-DSA-44", "ML-DSA-65"])
def test_leaf_with_any_kind_of_key_is_proven(root: Made, issuing: Made, kind: str) -> None:
    device = leaf(issuing, private_key=pki.shared_key(kind))
    proven = verify([device, issuing], [root])
    assert proven.path_der == (device.der, issuing.der, root.der)
    assert proven.leaf.certificate_der == device.der
    assert proven.valid_until == NOW + 365 * DAY


@pytest.mark.parametrize("kind", ["RSA-2048", "P-384", "Ed25519", "Ed448", "ML-DSA-65"])
def test_leaf_below_a_ca_with_any_kind_of_key_is_proven(kind: str) -> None:
    authority = make("CA", private_key=pki.shared_key(kind))
    device = leaf(authority)
    assert verify([device], [authority]).path_der == (device.der, authority.der)


def test_short_rsa_root_that_was_configured_is_believed() -> None:
    authority = make("Old CA", private_key=pki.shared_key("RSA-1024"))
    assert verify([leaf(authority)], [authority]).anchor_sha256


def test_ca_without_key_identifiers_is_believed() -> None:
    authority = make("Bare CA", identifiers=False)
    between = make("Bare issuing CA", authority, identifiers=False)
    device = leaf(between, identifiers=False)
    assert len(verify([device, between], [authority]).path_der) == 3


def test_second_opinion_works_inside_a_running_event_loop() -> None:
    authority = make("CA", kind="Ed25519")

    async def inside() -> int:
        return len(verify([leaf(authority)], [authority]).path_der)

    assert asyncio.run(inside()) == 2


def test_issuing_ca_alone_can_be_the_anchor(issuing: Made) -> None:
    device = leaf(issuing)
    assert verify([device], [issuing]).path_der == (device.der, issuing.der)


def test_intermediate_may_come_from_our_side(root: Made, issuing: Made) -> None:
    assert verify([leaf(issuing)], [root], intermediates=(issuing.der,)).path_der[1] == issuing.der


def test_chain_in_disorder_with_strangers_in_it_is_proven(root: Made, issuing: Made) -> None:
    device, stranger = leaf(issuing), make("Stranger")
    assert verify([device, stranger, root, issuing], [root]).path_der == (device.der, issuing.der, root.der)


def test_unreadable_certificate_beside_the_leaf_is_passed_over(root: Made, issuing: Made) -> None:
    trusted = TrustAnchors([root.der])
    assert verify_client_chain((leaf(issuing).der, b"\x30\x00", issuing.der), trusted, NOW).path_der


def test_leaf_that_is_itself_an_anchor_is_proven() -> None:
    pinned = make("pinned device", ca=False)
    assert verify([pinned], [pinned]).path_der == (pinned.der,)


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        ((CLIENT, False),),
        ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), True),),
        ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),),
    ],
)
def test_leaf_that_may_authenticate_clients_is_proven(
    issuing: Made, extensions: Sequence[tuple[x509.ExtensionType, bool]]
) -> None:
    assert verify([leaf(issuing, extensions=extensions)], [issuing]).leaf


def test_other_usage_is_accepted_where_it_is_asked_for(issuing: Made) -> None:
    server = leaf(issuing, extensions=((SERVER, False),))
    asked = frozenset({ExtendedKeyUsageOID.SERVER_AUTH.dotted_string})
    assert verify([server], [issuing], extended_key_usages=asked).leaf
    assert verify([server], [issuing], extended_key_usages=None).leaf


# -- what is refused -----------------------------------------------------------------------------------------


def test_leaf_of_an_unknown_ca_is_refused_and_the_ca_named(root: Made) -> None:
    fault = refusal([leaf(make("Foreign CA"))], [root])
    assert fault.code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED
    for words in ("CN=device-1", "no CA of the name CN=Foreign CA", "2025-06-01", "2027-06-01"):
        assert words in str(fault)


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_impostor_with_the_name_of_our_ca_is_refused(kind: str) -> None:
    real, impostor = make("Root", kind=kind), make("Root", kind=kind, identifiers=False)
    fault = refusal([leaf(impostor, identifiers=False), impostor], [real])
    assert fault.code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED


def test_impostor_is_told_that_the_signature_is_not_of_our_ca(root: Made) -> None:
    fault = refusal([leaf(make("Root"))], [root])
    assert "was not signed by the CA CN=Root" in str(fault)


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_leaf_with_one_flipped_bit_is_refused(kind: str) -> None:
    authority = make("CA", kind=kind)
    device = leaf(authority).der.replace(b"device-1", b"device-2")
    with pytest.raises(UntrustedCertificate):
        verify_client_chain((device,), TrustAnchors([authority.der]), NOW)


def test_self_signed_leaf_is_refused(root: Made) -> None:
    assert refusal([make("device-1", ca=False)], [root]).code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED


def test_leaf_without_any_anchor_is_refused(issuing: Made) -> None:
    assert refusal([leaf(issuing)], []).code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED


def test_missing_intermediate_is_named(root: Made, issuing: Made) -> None:
    assert "no CA of the name CN=Issuing CA" in str(refusal([leaf(issuing)], [root]))


def test_certificate_signed_by_a_leaf_is_refused(root: Made) -> None:
    device = leaf(root)
    fault = refusal([leaf(device), device], [root])
    assert "is no CA certificate" in str(fault)


def test_ca_that_may_not_sign_certificates_is_refused(root: Made) -> None:
    between = make("CRL signer", root, usage=("crl_sign",))
    assert "may not sign" in str(refusal([leaf(between), between], [root]))


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
@pytest.mark.parametrize("limit_is_the_anchor", [True, False])
def test_path_longer_than_a_ca_allows_is_refused(root: Made, kind: str, limit_is_the_anchor: bool) -> None:
    limited = make("Limited", root, path_length=0, kind=kind)
    below = make("Below", limited)
    anchor = limited if limit_is_the_anchor else root
    assert verify([leaf(limited), limited], [anchor]).leaf
    fault = refusal([leaf(below), below, limited], [anchor])
    assert fault.code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
@pytest.mark.parametrize("limit_is_the_anchor", [True, False])
def test_name_outside_the_constraints_of_a_ca_is_refused(
    root: Made, kind: str, limit_is_the_anchor: bool
) -> None:
    only = x509.NameConstraints(permitted_subtrees=[x509.DNSName("inside.test")], excluded_subtrees=None)
    limited = make("Constrained", root, extensions=((only, True),), kind=kind)
    anchor = limited if limit_is_the_anchor else root

    def named(host: str) -> Made:
        san = x509.SubjectAlternativeName([x509.DNSName(host)])
        return leaf(limited, extensions=((san, False),))

    assert verify([named("a.inside.test"), limited], [anchor]).leaf
    fault = refusal([named("a.outside.test"), limited], [anchor])
    assert fault.code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_policies_of_an_anchor_ask_nothing_of_the_leaf(root: Made, kind: str) -> None:
    policies = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3.4"), None)])
    anchor = make("With policies", root, kind=kind, extensions=((policies, False),))
    assert verify([leaf(anchor)], [anchor]).leaf


def test_unknown_critical_extension_is_refused(issuing: Made) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    assert verify([leaf(issuing, extensions=((unknown, False),))], [issuing]).leaf
    refusal([leaf(issuing, extensions=((unknown, True),))], [issuing])


def test_server_certificate_is_refused_for_its_usage(issuing: Made) -> None:
    fault = refusal([leaf(issuing, extensions=((SERVER, False),))], [issuing])
    assert fault.code is ReasonCode.AUTH_CERTIFICATE_USAGE
    assert "1.3.6.1.5.5.7.3.1" in str(fault)


def test_leaf_below_a_ca_for_servers_only_is_refused(root: Made) -> None:
    between = make("Server CA", root, extensions=((SERVER, False),))
    refusal([leaf(between), between], [root])


def test_ca_certificate_as_a_client_is_refused(root: Made, issuing: Made) -> None:
    assert refusal([issuing], [root]).code is ReasonCode.AUTH_CERTIFICATE_USAGE


def test_sha1_signature_of_a_ca_is_refused() -> None:
    authority = make("CA", private_key=pki.shared_key("RSA-2048"))
    device = leaf(authority)
    weak = pki.raw_signed(authority.private_key, sha1_tbs(device.certificate), "sha1")
    with pytest.raises(UntrustedCertificate):
        verify_client_chain((weak,), TrustAnchors([authority.der]), NOW)


def sha1_tbs(certificate: x509.Certificate) -> bytes:
    sha256, sha1 = (pki.oid(f"1.2.840.113549.1.1.{arc}") for arc in (11, 5))
    return certificate.tbs_certificate_bytes.replace(sha256, sha1)


@pytest.mark.parametrize("count", [0, chain.MAX_CERTIFICATES + 1])
def test_too_few_or_too_many_certificates_are_refused(issuing: Made, count: int) -> None:
    device = leaf(issuing)
    assert f"sent {count} certificates" in str(refusal([device] * count, [issuing]))


def test_unreadable_leaf_is_refused(root: Made) -> None:
    with pytest.raises(UntrustedCertificate, match="cannot be read"):
        verify_client_chain((b"\x30\x00",), TrustAnchors([root.der]), NOW)


def test_unreadable_anchor_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        TrustAnchors([b"\x30\x00"])


def test_many_cas_of_one_name_cost_bounded_work(root: Made) -> None:
    crowd = [make("Same name", root) for _ in range(5)]
    looped = [make("Same name", issuer, private_key=other.private_key) for issuer in crowd for other in crowd]
    sent = [leaf(looped[0], identifiers=False), *looped[: chain.MAX_CERTIFICATES - 1]]
    assert refusal(sent, [make("Elsewhere")]).code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED


def test_names_of_a_crowd_are_prepared_for_comparison_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way through certificates of one name and key is tried, but long names cost their time once."""
    prepared: list[str] = []

    def counted(name: DistinguishedName) -> tuple[object, ...]:
        prepared.append(str(name))
        return comparable_name(name)

    monkeypatch.setattr(path_search, "comparable_name", counted)
    first = make("Same name")
    crowd = [make("Same name", first, private_key=first.private_key) for _ in range(5)]
    strangers = [make("Another name") for _ in range(3)]
    sent = [leaf(first, identifiers=False), *crowd, *strangers]
    assert refusal(sent, [make("Elsewhere")]).code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED
    subjects, issuers = len(crowd) + len(strangers) + 1, 1 + len(crowd)
    assert len(prepared) <= subjects + issuers
