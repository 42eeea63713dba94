"""What other protocols need of the path: several requests in a message, verdicts before there is a key."""

from __future__ import annotations

from dataclasses import replace

from gateway.model.keys import KeyToCome
from gateway.model.outcome import Issued, Pending, Refused
from gateway.model.reasons import ReasonCode
from gateway.store import requests
from tests.unit.enrolment.house import House


async def test_requests_of_one_message_are_decided_each_by_itself_in_order(house: House) -> None:
    await house.credential("device")
    outcomes = await house.service.submit(
        (house.request("a.test"), house.request("evil.com"), house.request("b.test", endpoint="approval"))
    )
    assert [type(outcome) for outcome in outcomes] == [Issued, Refused, Pending]


async def test_names_are_judged_before_there_is_a_key_and_nothing_is_recorded(house: House) -> None:
    await house.credential("device")
    asked = replace(house.request("a.test"), key=KeyToCome(), csr_der=None)
    assert (await house.service.preview(asked)).reasons == ()
    refused = await house.service.preview(replace(house.request("evil.com"), key=KeyToCome(), csr_der=None))
    assert ReasonCode.NAME_NOT_ALLOWED in {reason.code for reason in refused.reasons}
    page = await house.store.reader.read(requests.search)
    assert page.rows == ()


async def test_request_without_csr_is_refused_before_a_ca_that_needs_one_is_asked(house: House) -> None:
    await house.credential("device", uses_left=1)
    house.foreign.needs_csr = True
    request = house.request("a.test", endpoint="foreign")
    (refused,) = await house.service.submit((replace(request, csr_der=None),))
    assert isinstance(refused, Refused)
    assert [reason.code for reason in refused.reasons] == [ReasonCode.MESSAGE_UNSUPPORTED]
    (issued,) = await house.service.submit((request,))
    assert isinstance(issued, Issued), "the one-time credential was used up by the refusal"
