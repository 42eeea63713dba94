"""What is claimed before anything is verified, and the anchors that certificates are held against."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.authn.authenticate import Authenticator, Looked, check_new_request
from gateway.authn.claims import MAX_CHAIN
from gateway.authn.refusal import CredentialRefused
from gateway.authn.trust import TrustStores
from gateway.clock import SystemClock
from gateway.model.enrolment import EnrolmentRequest, Operation
from gateway.model.evidence import (
    ACME_ACCOUNT,
    ACME_EAB,
    MTLS,
    RENEWAL_CERT,
    PresentedAccount,
    PresentedCertificate,
    PresentedCredential,
    PresentedPassword,
    ProvenName,
    SecretBytes,
)
from gateway.model.names import NameKind
from gateway.model.reasons import ReasonCode
from gateway.policy.authentication_rules import (
    AcmeAccountRule,
    AuthenticationRule,
    BasicRule,
    CertificateRule,
    Require,
)
from gateway.policy.rules import (
    CompiledTrustStore,
)
from gateway.store.credentials import CredentialRow
from tests.support import pki
from tests.unit.policy import sample
from tests.unit.store.samples import certificate_record

CLIENT_AUTH = frozenset({"1.3.6.1.5.5.7.3.2"})
CERTIFICATE = CertificateRule("own", CLIENT_AUTH)
PASSWORD = PresentedPassword("anna", SecretBytes(b"secret"))
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ACCOUNT = PresentedAccount("1", "t" * 43, "ops@a.test", (ProvenName(NameKind.DNS, "a.test", "http-01", NOW),))
AUTHENTICATOR = Authenticator(b"k" * 32, lambda: 0.0)
BY_ACCOUNT = AcmeAccountRule(challenges=("http-01",))


def _rule(require: Require = Require.ANY, **kinds: object) -> AuthenticationRule:
    return AuthenticationRule(require, **kinds)  # type: ignore[arg-type]


def _request(*presented: PresentedCredential, operation: Operation = Operation.ENROLL) -> EnrolmentRequest:
    return replace(sample.request(), presented=presented, operation=operation)


def _certificate(authority: pki.Authority, kind: str = MTLS) -> PresentedCertificate:
    return PresentedCertificate((authority.issue(cn="device").certificate_der,), type(MTLS)(kind))


def _der(authority: pki.Authority) -> bytes:
    return authority.certificate.public_bytes(Encoding.DER)


def test_only_what_the_rule_looks_at_is_claimed() -> None:
    certificate = _certificate(pki.Authority())
    both = _request(PASSWORD, certificate)
    only_basic = AUTHENTICATOR.read_claims(_rule(basic=BasicRule()), both)
    assert only_basic.password is PASSWORD
    assert only_basic.certificate is None
    only_mtls = AUTHENTICATOR.read_claims(_rule(mtls=CERTIFICATE), both)
    assert only_mtls.password is None
    assert only_mtls.certificate is not None
    assert only_mtls.certificate.identity.endswith("/CN=device")


def test_account_is_claimed_only_where_the_rule_looks_at_one() -> None:
    both = _request(PASSWORD, ACCOUNT)
    assert AUTHENTICATOR.read_claims(_rule(basic=BasicRule()), both).account is None
    claims = AUTHENTICATOR.read_claims(_rule(acme=BY_ACCOUNT), both)
    assert (claims.account, claims.password) == (ACCOUNT, None)
    with pytest.raises(CredentialRefused, match="an ACME account") as refused:
        AUTHENTICATOR.read_claims(_rule(acme=BY_ACCOUNT), _request(PASSWORD))
    assert refused.value.code is ReasonCode.AUTH_MISSING


async def test_account_is_evidence_with_the_names_that_it_proved_and_bounds_of_its_external_one() -> None:
    bound = replace(ACCOUNT, credential_id="id-1")
    row = CredentialRow(
        "id-1",
        ACME_EAB,
        "kid-1",
        NOW,
        names=("a.test",),
        profiles=("short",),
        prevalidated=("b.test",),
        uses_left=0,
    )
    for account, external, found in (
        (ACCOUNT, None, (None, None, None, ())),
        (bound, row, ("id-1", ("a.test",), ("short",), ("b.test",))),
    ):
        claims = AUTHENTICATOR.read_claims(_rule(acme=BY_ACCOUNT), _request(account))
        looked = Looked(external=external)
        evidence = await AUTHENTICATOR.verify(claims, looked, _request(account), None, NOW)
        check_new_request(claims, looked, NOW)
        (one,) = evidence.credentials
        assert (one.kind, one.identity, one.label) == (ACME_ACCOUNT, "acme:1", "ops@a.test")
        assert (one.credential_id, one.names, one.profiles, one.prevalidated) == found
        assert (one.proven, one.counted) == (ACCOUNT.proven, False)


@pytest.mark.parametrize("presented", [(), (PASSWORD,)])
def test_rule_of_all_misses_whatever_is_not_there(presented: tuple[PresentedPassword, ...]) -> None:
    rule = _rule(Require.ALL, basic=BasicRule(), mtls=CERTIFICATE)
    with pytest.raises(CredentialRefused, match="client certificate") as refused:
        AUTHENTICATOR.read_claims(rule, _request(*presented))
    assert refused.value.code is ReasonCode.AUTH_MISSING


@pytest.mark.parametrize(
    ("operation", "kind", "taken"),
    [
        (Operation.RENEW, RENEWAL_CERT, True),
        (Operation.RENEW, MTLS, True),
        (Operation.ENROLL, MTLS, False),
    ],
)
def test_certificate_counts_for_a_renewal_rule_only_at_a_renewal(
    operation: Operation, kind: str, taken: bool
) -> None:
    request = _request(_certificate(pki.Authority(), kind), operation=operation)
    if taken:
        assert AUTHENTICATOR.read_claims(_rule(renewal=CERTIFICATE), request).certificate is not None
    else:
        with pytest.raises(CredentialRefused):
            AUTHENTICATOR.read_claims(_rule(renewal=CERTIFICATE), request)


@pytest.mark.parametrize("chain_der", [(b"\x30\x00",), (b"",), (b"x",) * (MAX_CHAIN + 1)])
def test_chain_that_cannot_be_read_is_untrusted(chain_der: tuple[bytes, ...]) -> None:
    with pytest.raises(CredentialRefused) as refused:
        AUTHENTICATOR.read_claims(_rule(mtls=CERTIFICATE), _request(PresentedCertificate(chain_der)))
    assert refused.value.code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED


async def test_trust_store_holds_every_certificate_of_its_backends_and_follows_them() -> None:
    one, two, given = pki.Authority("One"), pki.Authority("Two"), pki.Authority("Given")
    known: list[tuple[bytes, ...]] = [(_der(one), _der(two))]

    async def certificates_of(backend: str) -> tuple[bytes, ...]:
        return known[0]

    stores = TrustStores(certificates_of, frozenset)
    compiled = CompiledTrustStore("own", (_der(given),), ("embedded",), "own")
    first = await stores.get(compiled)
    assert first.own_issuers == {one.name.public_bytes(), two.name.public_bytes()}
    assert await stores.get(compiled) is first
    known[0] = (_der(two),)
    second = await stores.get(compiled)
    assert second is not first
    assert second.own_issuers == {two.name.public_bytes()}


async def _verified(
    presenter: pki.Authority,
    *,
    own: bool,
    trusted: pki.Authority,
    own_names: frozenset[bytes] = frozenset(),
    protocols: tuple[str, ...] = (),
    looked: Looked | None = None,
    revocation: str = "own",
) -> str:
    async def certificates_of(backend: str) -> tuple[bytes, ...]:
        return (_der(trusted),)

    files, backends = ((), ("embedded",)) if own else ((_der(trusted),), ())
    compiled = CompiledTrustStore("own", files, backends, revocation, protocols)
    request = _request(_certificate(presenter))
    claims = AUTHENTICATOR.read_claims(_rule(mtls=CERTIFICATE), request)
    evidence = await AUTHENTICATOR.verify(
        claims,
        looked or Looked(),
        request,
        await TrustStores(certificates_of, lambda: own_names).get(compiled),
        SystemClock().now(),
    )
    return evidence.label


async def test_certificate_of_our_own_ca_that_was_never_recorded_is_refused() -> None:
    authority = pki.Authority()
    with pytest.raises(CredentialRefused) as refused:
        await _verified(authority, own=True, trusted=authority)
    assert refused.value.code is ReasonCode.AUTH_CERTIFICATE_STATUS_UNKNOWN


async def test_unrecorded_certificate_is_refused_where_our_ca_stands_in_the_store_by_its_file() -> None:
    authority = pki.Authority()
    names = frozenset({authority.name.public_bytes()})
    with pytest.raises(CredentialRefused) as refused:
        await _verified(authority, own=False, trusted=authority, own_names=names)
    assert refused.value.code is ReasonCode.AUTH_CERTIFICATE_STATUS_UNKNOWN


async def test_certificate_of_a_trusted_foreign_ca_needs_no_record() -> None:
    authority = pki.Authority()
    assert await _verified(authority, own=False, trusted=authority) == "CN=device"
    assert await _verified(authority, own=False, trusted=authority, protocols=("est",)) == "CN=device"


@pytest.mark.parametrize(("protocols", "counts"), [((), True), (("est", "acme"), True), (("est",), False)])
async def test_certificate_of_ours_counts_if_it_was_issued_by_a_protocol_of_the_store(
    protocols: tuple[str, ...], counts: bool
) -> None:
    authority, looked = pki.Authority(), Looked(certificate=certificate_record(protocol="acme"))
    if counts:
        found = await _verified(authority, own=True, trusted=authority, protocols=protocols, looked=looked)
        assert found == "CN=device"
        return
    with pytest.raises(CredentialRefused, match="issued by acme; here count those of est") as refused:
        await _verified(authority, own=True, trusted=authority, protocols=protocols, looked=looked)
    assert refused.value.code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED


async def test_unrecorded_certificate_of_ours_was_issued_by_no_protocol_of_the_store() -> None:
    authority = pki.Authority()
    with pytest.raises(CredentialRefused, match="nobody knows how") as refused:
        await _verified(authority, own=True, trusted=authority, protocols=("est", "acme"), revocation="none")
    assert refused.value.code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED


async def test_certificate_of_an_impostor_of_the_ca_is_refused() -> None:
    authority = pki.Authority()
    with pytest.raises(CredentialRefused) as refused:
        await _verified(pki.impostor(_der(authority)), own=True, trusted=authority)
    assert refused.value.code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED
