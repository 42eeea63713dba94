"""Every body, every protection, every change of the header: exactly what is declared is issued (cmp.md D)."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from tests.support import cmp_bodies
from tests.support.cmp_client import Reply
from tests.support.cmp_lab import CmpLab
from tests.support.cmp_mutants import CHANGES, PROTECTIONS, SUCCESS, Change, content, faults, sender

_FAILURES_OF_AN_ADDRESS = 9  # attempts with a wrong secret that no throttle minds yet
_addresses = itertools.count(1)


def _address() -> str:
    number = next(_addresses)
    return f"127.1.{number // 250}.{number % 250 + 1}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("protection", PROTECTIONS)
def test_exactly_the_declared_combinations_are_granted(lab: CmpLab, protection: str) -> None:
    """cmp.md D: 27 bodies x 22 headers; each refusal has the bit of one of its faults."""
    usual, wrong, granted = sender(lab, protection), [], 0
    before = lab.certificate_count()
    made = 0
    client = lab.client("matrix")
    for number, (name, change) in enumerate(itertools.product(cmp_bodies.NAMES, CHANGES)):
        who = usual
        if protection == "signature" and name in ("kur", "rr"):
            who, made = sender(lab, protection), made + 1  # each of them uses its certificate up
        if number % _FAILURES_OF_AN_ADDRESS == 0:
            client = lab.client("matrix", source=_address())
        asking = client.having(protection=who.protection)
        reply = asking.send(name, content(name, who), **change.fields())
        expected = faults(name, protection, change)
        granted += len(reply.certificates)
        if complaint := _complaint(name, change, expected, reply):
            wrong.append(complaint)
    assert not wrong, f"{len(wrong)} of {len(cmp_bodies.NAMES) * len(CHANGES)}:\n" + "\n".join(wrong[:40])
    declared = Counter(
        bool(faults(name, protection, change)) for name in ("ir", "cr", "p10cr", "kur") for change in CHANGES
    )[False]
    assert granted == declared
    assert lab.certificate_count() - before == declared + made


def _complaint(name: str, change: Change, expected: frozenset[str], reply: Reply) -> str:
    if reply.http_status not in (200, 400) or not reply.is_message:
        return f"{name}, {change.name}: HTTP {reply.http_status} {reply.der[:80]!r}"
    fits = set(reply.outcome.split("+")) <= expected if expected else reply.outcome == SUCCESS[name]
    if reply.http_status == 400 and reply.outcome != "badDataFormat":
        fits = False
    if fits:
        return ""
    return (
        f"{name}, {change.name}: {reply.outcome}, not {sorted(expected) or SUCCESS[name]}; {reply.statuses}"
    )
