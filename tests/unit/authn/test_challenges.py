"""Challenge passwords (RFC 8894 section 7.3), MACs and signatures of messages, up to the evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.authn.authenticate import NO_SUCH_CHALLENGE, Authenticator, Looked, check_new_request
from gateway.authn.claims import Claims
from gateway.authn.refusal import CredentialRefused
from gateway.authn.secrets import MAX_SECRET_BYTES, challenge_verifier, machine_verifier, new_challenge
from gateway.authn.shared_secrets import NO_SUCH_REFERENCE
from gateway.authn.throttle import PER_ADDRESS, PER_USER_AND_ADDRESS
from gateway.authn.trust import TrustStores
from gateway.clock import SystemClock
from gateway.model.enrolment import EnrolmentRequest
from gateway.model.evidence import (
    BASIC,
    CHALLENGE_DYNAMIC,
    CHALLENGE_STATIC,
    CMP_SECRET,
    MAC,
    MTLS,
    SCEP_CHALLENGE,
    SIGNATURE,
    Evidence,
    PresentedCertificate,
    PresentedChallenge,
    PresentedCredential,
    PresentedMac,
    RemoteInfo,
    SecretBytes,
    VerifiedCredential,
)
from gateway.model.reasons import ReasonCode
from gateway.policy.authentication_rules import (
    AuthenticationRule,
    CertificateRule,
    ChallengeRule,
    MacRule,
    Require,
)
from gateway.policy.rules import (
    CompiledTrustStore,
)
from gateway.store.credentials import CredentialRow
from tests.support import pki
from tests.unit.policy import sample

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SERVER_KEY = b"k" * 32
SECRET = "Zaunkönig 17"
BOTH = frozenset({CHALLENGE_STATIC, CHALLENGE_DYNAMIC})
CMC_RA = "1.3.6.1.5.5.7.3.28"


def _row(kind: str = SCEP_CHALLENGE, **changes: Any) -> CredentialRow:
    verifier = machine_verifier(SERVER_KEY, SECRET) if kind == SCEP_CHALLENGE else None
    values: dict[str, Any] = {"id": "id-1", "kind": kind, "name": "line 4", "created_at": NOW}
    return CredentialRow(**(values | {"verifier": verifier} | changes))


def _request(*presented: PresentedCredential, address: str = "192.0.2.1") -> EnrolmentRequest:
    return replace(sample.request(), presented=presented, remote=RemoteInfo(address))


class Door:
    """An authenticator before which one credential is stored; ``at`` is what its monotonic clock says."""

    def __init__(self, *rows: CredentialRow, accept: frozenset[Any] = BOTH) -> None:
        self.at = 0.0
        self.authenticator = Authenticator(SERVER_KEY, lambda: self.at)
        self.rows = rows
        self.rule = AuthenticationRule(Require.ANY, challenge=ChallengeRule(accept), mac=MacRule())

    def _claimed(self, request: EnrolmentRequest) -> tuple[Claims, Looked]:
        claims = self.authenticator.read_claims(self.rule, request)
        found = [row for row in self.rows if claims.challenge and row.verifier == claims.challenge.verifier]
        by_id = [row for row in self.rows if claims.mac and row.id == claims.mac.credential_id]
        return claims, Looked(challenge=found[0] if found else None, mac=by_id[0] if by_id else None)

    async def knock(self, request: EnrolmentRequest) -> VerifiedCredential:
        claims, looked = self._claimed(request)
        evidence: Evidence = await self.authenticator.verify(claims, looked, request, None, NOW)
        check_new_request(claims, looked, NOW)
        (one,) = evidence.credentials
        return one

    async def challenged(self, secret: bytes = SECRET.encode(), **more: Any) -> VerifiedCredential:
        return await self.knock(_request(PresentedChallenge(SecretBytes(secret)), **more))

    async def refused(self, secret: bytes = SECRET.encode(), **more: Any) -> CredentialRefused:
        with pytest.raises(CredentialRefused) as refusal:
            await self.challenged(secret, **more)
        return refusal.value


# -- challenge passwords --


@pytest.mark.parametrize(("uses", "kind"), [(None, CHALLENGE_STATIC), (1, CHALLENGE_DYNAMIC)])
async def test_challenge_is_static_or_dynamic_by_its_count_of_uses(uses: int | None, kind: str) -> None:
    found = await Door(_row(uses_left=uses, names=("a.test",), profiles=("short",))).challenged()
    assert (found.kind, found.identity, found.label) == (kind, "challenge:id-1", "line 4")
    assert (found.credential_id, found.counted) == ("id-1", uses is not None)
    assert (found.names, found.profiles) == (("a.test",), ("short",))


async def test_wrong_absent_revoked_expired_and_used_up_challenge_are_told_apart_in_the_record_alone() -> (
    None
):
    """scep.md C38, C39."""
    door = Door(_row())
    refusals = [
        await door.refused(b"wrong"),
        await door.refused(b""),
        await door.refused(SECRET.encode("utf-16-be")),
        await door.refused(b"x" * 100_000),
        await door.refused(SECRET.encode() + b"\x00"),
        await Door(_row(revoked_at=NOW)).refused(),
        await Door(_row(expires_at=NOW, uses_left=1)).refused(),
        await Door(_row(uses_left=0)).refused(),
    ]
    assert {(str(one), one.code, one.path) for one in refusals} == {
        (NO_SUCH_CHALLENGE, ReasonCode.AUTH_FAILED, "credential")
    }
    unknown = "no credential has this challenge password"
    assert [one.detail for one in refusals] == [
        unknown,
        "the message brings none",
        unknown,
        unknown,
        unknown,
        "credential id-1 was revoked at 2026-03-01 00:00Z",
        "credential id-1 expired at 2026-03-01 00:00Z",
        "credential id-1 is used up",
    ]


def test_verifier_of_a_presented_challenge_is_that_of_the_stored_one_and_of_no_longer_secret() -> None:
    stored = machine_verifier(SERVER_KEY, SECRET)
    assert challenge_verifier(SERVER_KEY, SECRET.encode()) == stored
    assert challenge_verifier(b"x" * 32, SECRET.encode()) != stored
    longest = b"x" * MAX_SECRET_BYTES
    assert challenge_verifier(SERVER_KEY, longest) == machine_verifier(SERVER_KEY, longest.decode())
    assert challenge_verifier(SERVER_KEY, longest + b"x") != challenge_verifier(SERVER_KEY, longest)


def test_new_challenges_have_128_random_bits_in_characters_of_every_string_type() -> None:
    made = {new_challenge() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(one) for one in made} == {32}
    assert set("".join(made)) == set("0123456789abcdef")


@pytest.mark.parametrize(
    ("accept", "uses", "said"),
    [
        (CHALLENGE_STATIC, 1, "a one-time challenge password is not accepted here"),
        (CHALLENGE_DYNAMIC, None, "a static challenge password is not accepted here"),
    ],
)
async def test_challenge_of_the_sort_that_the_rule_does_not_accept_is_refused(
    accept: Any, uses: int | None, said: str
) -> None:
    refusal = await Door(_row(uses_left=uses), accept=frozenset({accept})).refused()
    assert (refusal.code, refusal.detail) == (ReasonCode.AUTH_CREDENTIAL_SCOPE, "credential id-1")
    assert said in str(refusal)


async def test_challenge_that_was_made_too_long_ago_is_refused_whatever_its_end() -> None:
    for age_s, refused in ((3600, False), (3601, True)):
        made_at = NOW - timedelta(seconds=age_s)
        door = Door(_row(uses_left=1, created_at=made_at, expires_at=NOW + timedelta(days=9)))
        door.rule = AuthenticationRule(Require.ANY, challenge=ChallengeRule(BOTH, ttl_s=3600))
        if refused:
            refusal = await door.refused()
            assert (str(refusal), refusal.rule) == (NO_SUCH_CHALLENGE, "challenge.ttl")
            assert "credential id-1 was made at" in refusal.detail
        else:
            assert (await door.challenged()).credential_id == "id-1"


@pytest.mark.parametrize("bound", [{"protocol": "scep"}, {"endpoints": ("lab",)}])
async def test_challenge_for_elsewhere_is_refused(bound: dict[str, Any]) -> None:
    refusal = await Door(_row(**bound)).refused()
    assert (refusal.code, refusal.detail) == (ReasonCode.AUTH_CREDENTIAL_SCOPE, "credential id-1")
    assert "not for est at the endpoint 'default'" in str(refusal)


async def test_failed_challenges_are_bounded_per_secret_and_per_address_and_successes_are_free() -> None:
    """scep.md C51."""
    door = Door(_row())
    for _ in range(PER_USER_AND_ADDRESS.burst * 3):
        await door.challenged()
    for _ in range(PER_USER_AND_ADDRESS.burst):
        assert (await door.refused(b"wrong")).code is ReasonCode.AUTH_FAILED
    throttled = await door.refused(b"wrong")
    assert (throttled.code, throttled.retry_after_s) == (ReasonCode.AUTH_THROTTLED, 7)
    # A device with a wrong challenge keeps neither others behind its address out, nor its like elsewhere.
    for _ in range(PER_ADDRESS.burst):
        assert (await door.refused(b"wrong")).code is ReasonCode.AUTH_THROTTLED
    assert (await door.challenged()).label == "line 4"
    assert (await door.refused(b"wrong", address="192.0.2.2")).code is ReasonCode.AUTH_FAILED
    for number in range(PER_ADDRESS.burst - PER_USER_AND_ADDRESS.burst):
        assert (await door.refused(b"%d" % number)).code is ReasonCode.AUTH_FAILED
    assert (await door.refused()).code is ReasonCode.AUTH_THROTTLED
    assert (await door.challenged(address="192.0.2.2")).label == "line 4"
    door.at += 3600
    assert (await door.challenged()).label == "line 4"


async def test_right_challenge_that_is_no_longer_good_is_no_guess() -> None:
    door = Door(_row(uses_left=0))
    for _ in range(PER_USER_AND_ADDRESS.burst * 2):
        assert (await door.refused()).code is ReasonCode.AUTH_FAILED


def test_challenge_is_claimed_only_where_the_rule_looks_at_one() -> None:
    authenticator = Authenticator(SERVER_KEY, lambda: 0.0)
    request = _request(PresentedChallenge(SecretBytes(b"x")))
    with pytest.raises(CredentialRefused, match="a message that a shared secret protects") as refused:
        authenticator.read_claims(AuthenticationRule(Require.ANY, mac=MacRule()), request)
    assert refused.value.code is ReasonCode.AUTH_MISSING
    rule = AuthenticationRule(Require.ANY, challenge=ChallengeRule(BOTH))
    with pytest.raises(CredentialRefused, match="a challenge password"):
        authenticator.read_claims(rule, _request(PresentedMac("id-1", "line 4")))


def test_challenge_is_in_no_text_of_its_claim() -> None:
    authenticator = Authenticator(SERVER_KEY, lambda: 0.0)
    presented = PresentedChallenge(SecretBytes(SECRET.encode()))
    claims = authenticator.read_claims(
        AuthenticationRule(Require.ANY, challenge=ChallengeRule(BOTH)), _request(presented)
    )
    assert SECRET not in repr(claims) + repr(presented) + str(presented)


# -- MACs --


async def test_mac_is_evidence_with_the_bounds_of_its_credential() -> None:
    door = Door(_row(CMP_SECRET, uses_left=3, names=("a.test",), profiles=("short",)))
    found = await door.knock(_request(PresentedMac("id-1", "whatever")))
    assert (found.kind, found.identity, found.label) == (MAC, "mac:id-1", "line 4")
    assert (found.credential_id, found.counted) == ("id-1", True)
    assert (found.names, found.profiles) == (("a.test",), ("short",))


@pytest.mark.parametrize(
    ("row", "code", "said", "detail"),
    [
        (None, ReasonCode.AUTH_FAILED, NO_SUCH_REFERENCE, "no shared secret is credential id-1"),
        (_row(BASIC), ReasonCode.AUTH_FAILED, NO_SUCH_REFERENCE, "no shared secret is credential id-1"),
        (
            _row(CMP_SECRET, revoked_at=NOW),
            ReasonCode.AUTH_FAILED,
            NO_SUCH_REFERENCE,
            "credential id-1 was revoked at 2026-03-01 00:00Z",
        ),
        (_row(CMP_SECRET, protocol="cmp"), ReasonCode.AUTH_CREDENTIAL_SCOPE, "is not for est", "id-1"),
        (_row(CMP_SECRET, endpoints=("lab",)), ReasonCode.AUTH_CREDENTIAL_SCOPE, "is not for est", "id-1"),
        (_row(CMP_SECRET, expires_at=NOW), ReasonCode.AUTH_FAILED, "expired at 2026-03-01 00:00Z", "id-1"),
        (_row(CMP_SECRET, uses_left=0), ReasonCode.AUTH_FAILED, "has been used up", "id-1 is used up"),
    ],
)
async def test_mac_whose_credential_is_not_good_begins_nothing(
    row: CredentialRow | None, code: ReasonCode, said: str, detail: str
) -> None:
    with pytest.raises(CredentialRefused) as refused:
        await Door(*([row] if row is not None else [])).knock(_request(PresentedMac("id-1", "line 4")))
    assert refused.value.code is code
    assert said in str(refused.value)
    assert detail in refused.value.detail


# -- signatures --


async def _signed(
    rule: CertificateRule, *usages: str, kind: Any = SIGNATURE, ours: bool = False
) -> VerifiedCredential:
    """``ours``: the CA in the trust store, by its file, is one of this gateway."""
    authority = pki.Authority()
    own_names = frozenset({authority.certificate.subject.public_bytes()} if ours else ())
    extended = [x509.ObjectIdentifier(usage) for usage in usages] or None
    leaf = authority.issue(cn="ra", extended_key_usage=extended)
    request = _request(PresentedCertificate((leaf.certificate_der,), kind))

    async def no_backend(_: str) -> tuple[bytes, ...]:
        return ()

    compiled = CompiledTrustStore("ras", (authority.certificate.public_bytes(Encoding.DER),), (), "none")
    authenticator = Authenticator(SERVER_KEY, lambda: 0.0)
    claims = authenticator.read_claims(AuthenticationRule(Require.ANY, signature=rule), request)
    trust = await TrustStores(no_backend, lambda: own_names).get(compiled)
    evidence = await authenticator.verify(claims, Looked(), request, trust, SystemClock().now())
    (one,) = evidence.credentials
    return one


@pytest.mark.parametrize("ra", [False, True])
async def test_certificate_of_a_signature_is_evidence_of_an_ra_only_where_the_rule_says_so(ra: bool) -> None:
    found = await _signed(CertificateRule("ras", frozenset(), ra=ra))
    assert (found.kind, found.label, found.ra) == (SIGNATURE, "CN=ra", ra)
    assert found.identity.startswith("cert:")


@pytest.mark.parametrize("usages", [(), ("1.3.6.1.5.5.7.3.2",), (CMC_RA,)])
async def test_signature_rule_without_extended_key_usage_takes_any(usages: tuple[str, ...]) -> None:
    assert (await _signed(CertificateRule("ras", frozenset()), *usages)).label == "CN=ra"


async def test_certificate_without_extended_key_usage_is_no_ra_where_the_rule_names_one() -> None:
    """Elsewhere a certificate without the extension serves every purpose; that makes nobody an RA."""
    wanted = frozenset({CMC_RA})
    assert (await _signed(CertificateRule("ras", wanted))).label == "CN=ra"
    assert (await _signed(CertificateRule("ras", wanted, ra=True), CMC_RA)).ra
    with pytest.raises(CredentialRefused, match=r"extended key usage of 1\.3\.6\.1\.5\.5\.7\.3\.28") as no:
        await _signed(CertificateRule("ras", wanted, ra=True))
    assert no.value.code is ReasonCode.AUTH_CERTIFICATE_USAGE
    with pytest.raises(CredentialRefused):
        await _signed(CertificateRule("ras", wanted, ra=True), "1.3.6.1.5.5.7.3.2")


async def test_whoever_enrolled_here_is_no_ra_though_the_trust_store_holds_our_ca_by_its_file() -> None:
    with pytest.raises(CredentialRefused, match="makes nobody a registration authority") as no:
        await _signed(CertificateRule("ras", frozenset(), ra=True), CMC_RA, ours=True)
    assert no.value.code is ReasonCode.AUTH_CERTIFICATE_USAGE
    assert "extended_key_usage: [cmcRA]" in no.value.detail
    assert (await _signed(CertificateRule("ras", frozenset({CMC_RA}), ra=True), CMC_RA, ours=True)).ra


async def test_client_certificate_of_the_transport_does_not_count_as_a_signature() -> None:
    with pytest.raises(CredentialRefused, match="a signature with a certificate") as refused:
        await _signed(CertificateRule("ras", frozenset()), kind=MTLS)
    assert refused.value.code is ReasonCode.AUTH_MISSING


def test_row_that_has_no_count_begins_as_often_as_wanted_until_it_expires() -> None:
    claims = Claims(mac=PresentedMac("id-1", "line 4"))
    row = _row(CMP_SECRET, expires_at=NOW + timedelta(seconds=1))
    check_new_request(claims, Looked(mac=row), NOW)
    with pytest.raises(CredentialRefused):
        check_new_request(claims, Looked(mac=row), NOW + timedelta(seconds=1))
