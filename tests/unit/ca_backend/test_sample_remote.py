"""The sample CA's faults over a real socket: what its backend says of lost, late or wrong answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ca_backend.api import CaIssued, CanFind, CaPending, CaRefused, IssuanceOrder
from ca_backend.contract import issued, make_order, require_path
from gateway.enrolment.compare import differences
from gateway.errors import BackendInDoubt, BackendUnavailable
from gateway.model.certificate import RevocationReason
from gateway.pki.certificate import parse_certificate
from tests.unit.ca_backend.sample_ca import SampleCa


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SampleCa]:
    with SampleCa(tmp_path / "ca") as running:
        yield running


async def journal(server: SampleCa) -> dict[str, int]:
    answer = await server.acall("journal")
    counts: dict[str, int] = answer["issued"]
    return counts


async def test_ca_that_does_not_listen_is_unavailable(server: SampleCa) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening: connections are refused
        server.address = f"127.0.0.1:{unused.getsockname()[1]}"
        for retry in ("idempotent", "findable", "neither"):
            with pytest.raises(BackendUnavailable):
                await server.backend(retry=retry).issue(make_order())


@pytest.mark.parametrize("lost", ["lose_before", "lose_after"])
@pytest.mark.parametrize("retry", ["findable", "neither"])
async def test_lost_answer_of_a_ca_that_would_issue_again_is_in_doubt(
    retry: str, lost: str, server: SampleCa
) -> None:
    await server.aswitch(retry=retry, **{lost: 1})
    with pytest.raises(BackendInDoubt):
        await server.backend(retry=retry).issue(make_order())


async def test_lost_answer_of_an_idempotent_ca_may_be_repeated_and_gives_one_certificate(
    server: SampleCa,
) -> None:
    backend, order = server.backend(), make_order()
    await server.aswitch(lose_after=1)
    with pytest.raises(BackendUnavailable):
        await backend.issue(order)
    assert await journal(server) == {order.order_id: 1}
    require_path((await issued(backend, order)).certificate_der, await backend.chain())
    assert await journal(server) == {order.order_id: 1}


@pytest.mark.parametrize(("lost", "carried_out"), [("lose_before", False), ("lose_after", True)])
async def test_findable_ca_tells_whether_a_lost_order_was_carried_out(
    lost: str, carried_out: bool, server: SampleCa
) -> None:
    backend, order = server.backend(retry="findable"), make_order()
    assert isinstance(backend, CanFind)
    await server.aswitch(retry="findable", **{lost: 1})
    with pytest.raises(BackendInDoubt):
        await backend.issue(order)
    found = await backend.find(order.order_id, order.plan.spki_der)
    assert isinstance(found, CaIssued) is carried_out


async def test_forgetful_ca_issues_a_repeated_order_twice(server: SampleCa) -> None:
    await server.aswitch(retry="neither")
    backend, order = server.backend(retry="neither"), make_order()
    first, second = await issued(backend, order), await issued(backend, order)
    assert first.certificate_der != second.certificate_der
    assert await journal(server) == {order.order_id: 2}


async def test_killed_ca_still_knows_what_it_answered(server: SampleCa) -> None:
    order = make_order()
    first = await issued(server.backend(), order)
    server.stop()
    server.start()
    assert await issued(server.backend(), order) == first


async def test_half_a_line_in_the_journal_is_dropped_at_the_start(server: SampleCa) -> None:
    order = make_order()
    first = await issued(server.backend(), order)
    server.stop()
    with (server.state / "journal.jsonl").open("ab") as file:
        file.write(b'{"kind": "issued", "order_id": "half')
    server.start()
    assert await issued(server.backend(), order) == first
    assert await journal(server) == {order.order_id: 1}


async def test_answer_later_than_the_timeout_is_in_doubt(server: SampleCa) -> None:
    await server.aswitch(delay_ms=60_000, retry="neither")
    with pytest.raises(BackendInDoubt):
        await server.backend(retry="neither", timeout_s=3).issue(make_order())


async def test_pending_order_is_issued_at_the_poll_that_was_set(server: SampleCa) -> None:
    await server.aswitch(pending=2)
    backend, order = server.backend(), make_order()
    answers = [await backend.issue(order)]
    for _ in range(2):
        assert isinstance(answers[-1], CaPending)
        answers.append(await backend.poll(answers[-1].handle))  # type: ignore[attr-defined]  # it is CanPoll
    assert isinstance(answers[-1], CaIssued)


async def test_refusal_carries_the_ca_s_text(server: SampleCa) -> None:
    await server.aswitch(refuse="not on a Sunday")
    assert await server.backend().issue(make_order()) == CaRefused("sample", "not on a Sunday")


async def test_backend_that_needs_a_csr_refuses_an_order_without(server: SampleCa) -> None:
    order = make_order()
    answer = await server.backend(needs_csr=True).issue(IssuanceOrder(order.order_id, order.plan))
    assert isinstance(answer, CaRefused)


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        ("wrong-key", "the public key is not the one"),
        ("wrong-name", "the subject is"),
        ("longer-validity", "longer than"),
    ],
)
async def test_lie_of_the_ca_is_told_from_the_plan(lie: str, found: str, server: SampleCa) -> None:
    await server.aswitch(lie=lie)
    order = make_order()
    answer = await issued(server.backend(), order)
    found_differences = differences(order.plan, parse_certificate(answer.certificate_der), answer.chain_der)
    assert any(found in difference for difference in found_differences), found_differences


async def test_revocation_reaches_the_ca_once(server: SampleCa) -> None:
    backend = server.backend()
    for reason in (RevocationReason.KEY_COMPROMISE, RevocationReason.SUPERSEDED):
        await backend.revoke(0xBEEF, reason)  # type: ignore[attr-defined]  # it is CanRevoke
    assert (await server.acall("journal"))["revoked"] == {"beef": "keyCompromise"}


async def test_ca_on_a_unix_socket_is_reached(tmp_path: Path) -> None:
    with SampleCa(tmp_path / "ca", "--socket", str(tmp_path / "s")) as server:
        assert server.address == f"unix:{tmp_path / 's'}"
        await issued(server.backend(), make_order())


async def test_unknown_switch_is_refused(server: SampleCa) -> None:
    answer = await server.acall("control", switches={"lies": "all"})
    assert answer["status"] == "error"
    assert "'lies' is no switch" in answer["message"]
