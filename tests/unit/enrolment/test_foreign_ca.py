"""A CA in another process: what it may answer, how it may fail, and what becomes of the request."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca_backend.api import CaAnswer, CaIssued, RetryClass
from gateway.enrolment import calls
from gateway.errors import BackendInDoubt, BackendUnavailable
from gateway.model.certificate import CertificateStatus
from gateway.model.outcome import Issued, Outcome, Pending, Refused, State, Unavailable
from gateway.model.reasons import ReasonCode
from gateway.store import certificates, crl_state
from tests.support import pki
from tests.unit.enrolment.house import ForeignCa, House

MUST_STAPLE = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.24")


def _request(house: House, host: str = "a.test", **more: Any) -> Any:
    return house.request(host, endpoint="foreign", **more)


def _mismatch(outcome: Outcome) -> bool:
    return isinstance(outcome, Refused) and outcome.reasons[0].code is ReasonCode.BACKEND_MISMATCH


async def _certificates(house: House) -> tuple[Any, ...]:
    page = await house.store.reader.read(certificates.search)
    return page.records


def _signed_by(authority: pki.Authority, chain_der: tuple[bytes, ...]) -> Any:
    """Sign anew what the CA has signed, with another key."""

    def altered(answer: CaAnswer) -> CaAnswer:
        assert isinstance(answer, CaIssued)
        real = x509.load_der_x509_certificate(answer.certificate_der)
        builder = x509.CertificateBuilder(
            issuer_name=real.issuer,
            subject_name=real.subject,
            public_key=real.public_key(),
            serial_number=real.serial_number,
            not_valid_before=real.not_valid_before_utc,
            not_valid_after=real.not_valid_after_utc,
            extensions=list(real.extensions),
        )
        forged = builder.sign(authority.private_key, pki_hash(authority))
        return CaIssued(forged.public_bytes(Encoding.DER), chain_der or answer.chain_der)

    return altered


def pki_hash(authority: pki.Authority) -> Any:
    from tests.support.keys import default_hash

    return default_hash(authority.private_key)


async def test_certificate_of_another_key_under_the_ca_s_name_is_refused(house: House) -> None:
    await house.credential("device")
    impostor = pki.impostor(house.foreign.ca.root_der())
    house.foreign.altered = _signed_by(impostor, ())
    assert _mismatch(await house.submit(_request(house)))
    assert [record.status for record in await _certificates(house)] == [CertificateStatus.REVOKED]


async def test_chain_that_does_not_hold_is_refused_and_never_adopted(house: House) -> None:
    await house.credential("device")
    real = await house.backends.issuer("foreign")
    unrelated = pki.Authority("Unrelated").certificate.public_bytes(Encoding.DER)

    def longer(answer: CaAnswer) -> CaAnswer:
        assert isinstance(answer, CaIssued)
        return CaIssued(answer.certificate_der, (*answer.chain_der, unrelated))

    house.foreign.altered = longer
    assert _mismatch(await house.submit(_request(house)))
    assert await house.backends.issuer("foreign") == real
    assert unrelated not in await house.backends.certificates("foreign")


async def test_new_certificate_of_the_ca_is_adopted_and_the_old_one_stays_trusted(
    house: House, tmp_path: Path
) -> None:
    await house.credential("device")
    old = house.foreign.ca.root_der()
    assert old in await house.backends.certificates("foreign")
    house.foreign.ca = ForeignCa(tmp_path / "successor").ca
    assert isinstance(await house.submit(_request(house)), Issued)
    new = house.foreign.ca.root_der()
    assert (await house.backends.issuer("foreign")).chain_der == (new,)
    assert set(await house.backends.certificates("foreign")) == {old, new}


@pytest.mark.parametrize(("critical", "refused"), [(True, True), (False, False)])
async def test_extension_of_the_ca_s_own_may_not_be_critical(
    house: House, critical: bool, refused: bool
) -> None:
    await house.credential("device")
    sign = house.foreign.ca._sign

    def with_own(plan: dict[str, Any]) -> x509.Certificate:
        own = [MUST_STAPLE.dotted_string, critical, "MAMCAQU="]
        certificate: x509.Certificate = sign({**plan, "extensions": [*plan["extensions"], own]})
        return certificate

    house.foreign.ca._sign = with_own
    outcome = await house.submit(_request(house))
    assert _mismatch(outcome) is refused
    assert isinstance(outcome, Issued) is not refused


async def test_certificate_of_another_request_is_refused_and_left_alone(house: House) -> None:
    await house.credential("device")
    private_key = pki.key()
    first = await house.submit(_request(house, private_key=private_key))
    assert isinstance(first, Issued)
    house.foreign.altered = lambda answer: CaIssued(first.certificate_der, first.chain_der)
    assert _mismatch(await house.submit(_request(house, "b.test")))
    (record,) = await _certificates(house)
    assert (record.status, record.request_id) == (CertificateStatus.GOOD, first.request_id)
    assert house.foreign.revoked == {}


async def test_serial_number_used_twice_is_refused_without_revoking_the_first(house: House) -> None:
    await house.credential("device")
    first = await house.submit(_request(house))
    assert isinstance(first, Issued)
    serial = x509.load_der_x509_certificate(first.certificate_der).serial_number
    sign = x509.random_serial_number
    try:
        x509.random_serial_number = lambda: serial
        assert _mismatch(await house.submit(_request(house, "b.test")))
    finally:
        x509.random_serial_number = sign
    assert house.foreign.revoked == {}
    (record,) = await _certificates(house)
    assert record.status is CertificateStatus.GOOD


async def test_certificate_in_quarantine_is_revoked_at_the_ca_and_makes_the_crl_stale(house: House) -> None:
    await house.credential("device")
    house.foreign.ca.switches.lie = "wrong-name"
    assert _mismatch(await house.submit(_request(house)))
    (record,) = await _certificates(house)
    async with house.at_work(), asyncio.timeout(60):
        while not house.foreign.revoked:
            await asyncio.sleep(0.01)
    assert list(house.foreign.revoked) == [record.serial_hex]
    key = record.issuer_key_sha256
    state = await house.store.reader.read(lambda connection: crl_state.get(connection, key))
    assert state.revocation_count == 1


async def test_quarantine_that_the_ca_could_not_be_told_of_is_told_later(house: House) -> None:
    await house.credential("device")
    house.foreign.ca.switches.lie = "wrong-name"

    def no_revocation(call: str) -> None:
        if call == "revoke":
            raise ValueError("a fault of the plug-in")

    house.foreign.before = no_revocation
    assert _mismatch(await house.submit(_request(house)))
    assert house.foreign.revoked == {}
    house.foreign.before = lambda call: None
    async with house.at_work(), asyncio.timeout(60):
        while not house.foreign.revoked:
            await asyncio.sleep(0.01)


async def test_call_that_hangs_ends_and_the_request_goes_on_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.credential("device")
    monkeypatch.setattr(calls, "CALL_TIMEOUT_S", 0.1)

    async def hang() -> None:
        await asyncio.Event().wait()

    house.foreign.before = lambda call: hang()
    late = await house.submit(_request(house))
    assert isinstance(late, Unavailable)
    assert (await house.row(late.request_id)).state is State.SUBMITTING
    house.foreign.before = lambda call: None
    async with house.at_work():
        await house.reaches(late.request_id, State.ISSUED, seconds=1)


@pytest.mark.parametrize("fault", [ValueError("broken"), BackendInDoubt("lost"), KeyError("x")])
async def test_poll_that_fails_keeps_the_order_of_a_ca_that_cannot_be_asked_twice(
    house: House, fault: Exception
) -> None:
    await house.credential("device")
    house.foreign.retry = RetryClass.NEITHER
    house.foreign.ca.switches.pending = 2
    failed = False

    def once(call: str) -> None:
        nonlocal failed
        if call == "poll" and not failed:
            failed = True
            raise fault

    house.foreign.before = once
    waiting = await house.submit(_request(house))
    assert isinstance(waiting, Pending)
    async with house.at_work():
        await house.reaches(waiting.request_id, State.ISSUED, seconds=1)
    assert house.foreign.calls.count("issue") == 1


@pytest.mark.parametrize(
    ("retry", "issues"), [(RetryClass.IDEMPOTENT, 2), (RetryClass.FINDABLE, 1), (RetryClass.NEITHER, 1)]
)
async def test_lost_answer_is_asked_for_as_the_retry_class_says(
    house: House, retry: RetryClass, issues: int
) -> None:
    await house.credential("device")
    house.foreign.retry = retry
    house.foreign.ca.switches.retry = retry.value
    lost = False

    def lose(answer: CaAnswer) -> CaAnswer:
        nonlocal lost
        if lost:
            return answer
        lost = True
        raise BackendInDoubt("the answer was lost")

    house.foreign.altered = lose
    first = await house.submit(_request(house))
    assert isinstance(first, Unavailable)
    wanted = State.IN_DOUBT if retry is RetryClass.NEITHER else State.ISSUED
    async with house.at_work():
        await house.reaches(first.request_id, wanted, seconds=1)
    assert house.foreign.calls.count("issue") == issues
    assert max(house.foreign.ca.journal.issued_count.values()) == 1


async def test_ca_that_was_not_reached_is_asked_again_whatever_its_retry_class(house: House) -> None:
    await house.credential("device")
    house.foreign.retry = RetryClass.NEITHER

    def away(call: str) -> None:
        raise BackendUnavailable("the CA cannot be reached", retry_after_s=1)

    house.foreign.before = away
    first = await house.submit(_request(house))
    assert isinstance(first, Unavailable)
    house.foreign.before = lambda call: None
    async with house.at_work():
        await house.reaches(first.request_id, State.ISSUED, seconds=1)


async def test_refusal_of_the_ca_is_final_and_keeps_its_words_to_the_audit(house: House) -> None:
    await house.credential("device")
    house.foreign.ca.switches.refuse = "internals"
    outcome = await house.submit(_request(house))
    assert isinstance(outcome, Refused)
    assert outcome.reasons[0].code is ReasonCode.BACKEND_REFUSED
    assert "internals" not in str(outcome)
