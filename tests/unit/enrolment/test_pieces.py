"""The small parts of the one path: states, correlation, comparison, plans as JSON, bundle and backends."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import DEFAULT_GRACE_S, ActiveBundle
from gateway.enrolment.compare import differences, foreign_differences
from gateway.enrolment.correlation import correlation_hash
from gateway.enrolment.plan_json import plan_from_json, plan_to_json
from gateway.enrolment.states import CLOSED, FIRST, MOVES, check_move
from gateway.errors import BackendUnavailable
from gateway.model.enrolment import CertificatePlan, Correlation, Extension
from gateway.model.outcome import State
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.names import dns_name
from tests.support import pki
from tests.unit.enrolment.house import House
from tests.unit.policy import sample

NOW = datetime.now(UTC).replace(microsecond=0)


def _made(**changes: Any) -> tuple[CertificatePlan, ParsedCertificate, tuple[bytes, ...]]:
    """A plan, a certificate that keeps to it, and its chain of intermediate and root."""
    root = pki.Authority("Root")
    issuing = root.sub("Issuing")
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    identity = issuing.issue(cn="a.test", sans=["a.test"], extended_key_usage=usages)
    issued = parse_certificate(identity.certificate_der)
    plan = CertificatePlan(
        subject=issued.subject,
        sans=(dns_name("a.test"),),
        spki_der=issued.spki_der,
        not_before=issued.not_before,
        not_after=issued.not_after,
        extended_key_usage=("1.3.6.1.5.5.7.3.2",),
    )
    chain = tuple(each.certificate.public_bytes(Encoding.DER) for each in (issuing, root))
    return replace(plan, **changes), issued, chain


@pytest.mark.parametrize(("source", "target"), list(product(State, State)))
def test_moves_are_those_of_the_table_and_no_others(source: State, target: State) -> None:
    if target in MOVES[source]:
        check_move(source, target)
    else:
        with pytest.raises(ValueError, match="never goes"):
            check_move(source, target)


def test_every_state_can_be_reached_and_every_open_one_left() -> None:
    reached = FIRST.union(*MOVES.values())
    assert reached == set(State)
    assert {state for state, targets in MOVES.items() if not targets} == CLOSED
    for state in set(State) - CLOSED:
        seen, frontier = {state}, {state}
        while frontier:
            frontier = set().union(*(MOVES[one] for one in frontier)) - seen
            seen |= frontier
        assert seen & CLOSED, state


def test_correlation_changes_with_every_part_and_never_by_moving_a_boundary() -> None:
    request = replace(sample.request(), correlation=Correlation((b"ab", b"c")))
    hashes = {
        correlation_hash(request, "basic:1"),
        correlation_hash(request, "basic:2"),
        correlation_hash(replace(request, correlation=Correlation((b"a", b"bc"))), "basic:1"),
        correlation_hash(replace(request, endpoint=type(request.endpoint)("other")), "basic:1"),
        correlation_hash(replace(request, renews_der=b"certificate"), "basic:1"),
    }
    assert len(hashes) == 5
    assert correlation_hash(request, "basic:1") in hashes


def test_correlation_without_identity_is_the_same_for_everybody() -> None:
    request = replace(sample.request(), correlation=Correlation((b"order",), with_identity=False))
    assert correlation_hash(request, "basic:1") == correlation_hash(request, "basic:2")


def test_certificate_that_keeps_to_its_plan_has_no_differences() -> None:
    plan, issued, chain_der = _made()
    assert foreign_differences(plan, issued, chain_der) == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"spki_der": pki.spki_der(pki.key())}, "public key"),
        ({"sans": ()}, "alternative names"),
        ({"sans": (dns_name("a.test"), dns_name("b.test"))}, "alternative names"),
        ({"not_after": NOW + timedelta(hours=1)}, "longer than"),
        ({"not_before": NOW + timedelta(hours=1)}, "earlier than"),
        ({"extended_key_usage": ()}, "extended key usages"),
        ({"key_usage": ("digitalSignature",)}, "key usages"),
        ({"without": ("2.5.29.31", "2.5.29.19")}, "extension 2.5.29.19, which policy wants left out"),
        (
            {"extensions": (Extension("1.3.6.1.5.5.7.1.24", critical=False, value_der=b"\x30\x00"),)},
            "decided",
        ),
    ],
)
def test_every_departure_from_the_plan_is_told(changes: dict[str, Any], told: str) -> None:
    found = foreign_differences(*_made(**changes))
    assert any(told in line for line in found), found


def test_certificate_may_be_valid_for_a_shorter_time_than_planned() -> None:
    assert differences(*_made(not_after=NOW + timedelta(days=400))) == ()


@pytest.mark.parametrize("kind", ["none", "too long", "garbage", "another CA", "no link"])
def test_chain_that_does_not_lead_from_the_certificate_is_told(kind: str) -> None:
    plan, issued, chain_der = _made()
    other = pki.Authority("Other").certificate.public_bytes(Encoding.DER)
    chains = {
        "none": (),
        "too long": chain_der * 6,
        "garbage": (b"\x30\x00",),
        "another CA": (other,),
        "no link": (chain_der[0], other),
    }
    assert len(foreign_differences(plan, issued, chains[kind])) == 1


def test_ca_certificate_is_never_taken_for_an_end_entity_s() -> None:
    root = pki.Authority("Root")
    issued = parse_certificate(root.sub("Sub").certificate.public_bytes(Encoding.DER))
    plan = CertificatePlan(issued.subject, (), issued.spki_der, issued.not_before, issued.not_after)
    chain_der = (root.certificate.public_bytes(Encoding.DER),)
    assert "it is a CA certificate" in foreign_differences(plan, issued, chain_der)


def test_plan_comes_back_from_json_as_it_was() -> None:
    own = Extension("1.3.6.1.5.5.7.1.24", critical=True, value_der=b"\x30\x03\x02\x01\x05")
    plan, _, _ = _made(
        extensions=(own,), key_usage=("digitalSignature", "keyAgreement"), without=("2.5.29.31",)
    )
    assert plan_from_json(plan_to_json(plan)) == plan
    earlier = {key: value for key, value in plan_to_json(plan).items() if key != "without"}
    assert plan_from_json(earlier) == replace(plan, without=())
    with pytest.raises(ValueError, match="version"):
        plan_from_json({**plan_to_json(plan), "plan_version": 2})


def test_grace_is_the_endpoint_s_or_the_usual_one() -> None:
    active = ActiveBundle(sample.load(sample.policy()))
    assert active.grace_s("est", "nowhere") == DEFAULT_GRACE_S
    assert active.grace_s("est", "default") == active.current.endpoints["est", "default"].grace_s
    active.problem = "broken"
    active.activate(active.current)
    assert active.problem == ""


async def test_unknown_backend_is_unavailable_and_a_replaced_one_read_anew(house: House) -> None:
    with pytest.raises(BackendUnavailable):
        house.backends.get("nobody")
    before = await house.backends.issuer("foreign")
    house.backends.replace("foreign", house.embedded)
    assert "foreign" in house.backends
    assert await house.backends.issuer("foreign") != before
    assert x509.load_der_x509_certificate((await house.backends.issuer("foreign")).chain_der[0])


async def test_backend_without_a_certificate_of_its_own_is_unavailable(house: House) -> None:
    async def nothing() -> tuple[bytes, ...]:
        return ()

    house.foreign.chain = nothing  # type: ignore[method-assign]  # the CA's own answer
    with pytest.raises(BackendUnavailable):
        await BackendSet({"foreign": house.foreign}).issuer("foreign")
