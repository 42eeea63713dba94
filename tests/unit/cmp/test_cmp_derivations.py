"""Keys that are derived from secrets, counted: work that a sender can ask for (cmp.md C37)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support import cmp_wire, pki
from tests.support.cmp_wire import Pbm, Pbmac1, Protection
from tests.unit.cmp.cmp_house import MAC, CmpHouse, ir

MakeHouse = Callable[..., CmpHouse]
MAC1 = Pbmac1(MAC.reference, MAC.secret)


def _derived(house: CmpHouse) -> int:
    """How many keys this front end has derived."""
    answer: Any = house.routes[0].handler
    count: int = answer.__self__._keys.derived_count
    return count


@pytest.mark.parametrize(
    "protection",
    [
        *(replace(MAC, iterations=count, computed=False) for count in (2**31, 2**31 - 1, 100_001, 99, 0)),
        *(replace(MAC1, iterations=count, computed=False) for count in (2**31, 2**40, 100_001, 1)),
        replace(MAC1, key_octets=2**31, computed=False),
        replace(MAC, salt=bytes(100_000), computed=False),
    ],
    ids=lambda one: f"{type(one).__name__}-{one.iterations}-{len(one.salt)}",
)
async def test_parameters_out_of_bounds_cost_no_derivation(cmp: MakeHouse, protection: Protection) -> None:
    """cmp.md C37: badAlg, before anything is derived, of a known reference too."""
    house = cmp()
    await house.secret()
    reply = await house.talk(protection).send("ir", ir(pki.key()))
    assert reply.outcome == "badAlg"
    assert _derived(house) == 0


@pytest.mark.parametrize("protection", [MAC, MAC1], ids=["PBM", "PBMAC1"])
async def test_transaction_with_one_salt_costs_one_derivation(cmp: MakeHouse, protection: Protection) -> None:
    """cmp.md E: request, answer, confirmation and its answer."""
    house = cmp()
    await house.secret()
    talk = house.talk(protection)
    reply = await talk.send("ir", ir(pki.key()))
    assert (await talk.confirm(reply.certificate)).body_name == "pkiconf"
    assert _derived(house) == 1


async def test_wrong_secret_and_unknown_reference_cost_the_same(cmp: MakeHouse) -> None:
    """cmp.md C35: one derivation each, every time."""
    house = cmp()
    await house.secret()
    for count, protection in enumerate(
        (
            replace(MAC, secret=b"wrong"),
            replace(MAC, secret=b"wrong"),
            Pbm("nobody", b"x"),
            Pbm("nobody", b"x"),
        ),
        1,
    ):
        reply = await house.talk(protection).send("genm", cmp_wire.infos())
        assert reply.outcome == "badMessageCheck"
        assert _derived(house) == count
