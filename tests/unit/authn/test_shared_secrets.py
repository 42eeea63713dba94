"""Shared secrets by reference (RFC 9810 section 5.1.3.1): right and wrong ones, guesses, bounds, silence."""

from __future__ import annotations

import asyncio
import hmac
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.authn.sealing import seal
from gateway.authn.shared_secrets import NO_SUCH_REFERENCE, SharedSecrets
from gateway.authn.throttle import PER_ADDRESS, PER_USER, PER_USER_AND_ADDRESS
from gateway.errors import GatewayError, MalformedMessage, Overloaded, RetryLater, SecretUnavailable
from gateway.model.evidence import BASIC, CMP_SECRET, RemoteInfo, SecretBytes, SharedSecret
from gateway.model.ids import EndpointName, ProtocolName, new_id
from gateway.model.reasons import ReasonCode
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.migrate import migrate
from gateway.store.store import Store
from gateway.store.unit import Unit

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SERVER_KEY = b"k" * 32
SECRET = b"the secret of device-1"
PROTECTED = b"header and body"


class Message:
    """A message that ``secret`` protects. ``asked`` counts the keys that were derived for it."""

    def __init__(self, secret: bytes = SECRET, *, trouble: Exception | None = None) -> None:
        self.mac = hmac.digest(secret, PROTECTED, "sha256")
        self.trouble = trouble
        self.asked: list[SecretBytes] = []

    async def check(self, secret: SecretBytes) -> bool:
        self.asked.append(secret)
        await asyncio.sleep(0)
        if self.trouble is not None:
            raise self.trouble
        return hmac.compare_digest(self.mac, hmac.digest(secret.reveal(), PROTECTED, "sha256"))


class Desk:
    """Shared secrets over a real database; ``at`` is what its monotonic clock says."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.at = 0.0
        self.secrets = SharedSecrets(store, SERVER_KEY, lambda: self.at)

    async def add(self, name: str = "device-1", *, secret: bytes = SECRET, **changes: Any) -> CredentialRow:
        credential_id = new_id()
        values: dict[str, Any] = {
            "id": credential_id,
            "kind": CMP_SECRET,
            "name": name,
            "created_at": NOW,
            "protocol": "cmp",
            "sealed": seal(SERVER_KEY, credential_id, secret),
        }
        row = CredentialRow(**(values | changes))
        unit = Unit()
        credentials.insert(unit, row)
        await self.store.recorder.commit(unit)
        return row

    async def verify(
        self,
        reference: str = "device-1",
        message: Message | None = None,
        *,
        endpoint: str = "default",
        address: str = "192.0.2.1",
    ) -> SharedSecret:
        check = (message or Message()).check
        return await self.secrets.verify(
            ProtocolName("cmp"), EndpointName(endpoint), reference, check, RemoteInfo(address)
        )

    async def refused(self, *given: Any, **more: Any) -> GatewayError:
        with pytest.raises(GatewayError) as refusal:
            await self.verify(*given, **more)
        return refusal.value


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    url = f"sqlite:///{tmp_path}/gateway.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_server").new_database()
    migrate(url)
    with Store(url) as store:
        yield Desk(store)


on_sqlite = pytest.mark.parametrize("desk", ["sqlite"], indirect=True)


async def test_reference_of_a_right_message_gives_its_secret(desk: Desk) -> None:
    row = await desk.add()
    found = await desk.verify()
    assert (found.credential_id, found.name, found.secret.reveal()) == (row.id, "device-1", SECRET)


async def test_unknown_revoked_and_wrong_are_not_told_apart(desk: Desk) -> None:
    """cmp.md C35: an unknown senderKID gives the same answer as a wrong MAC."""
    known, revoked = await desk.add("known"), await desk.add("revoked")
    await desk.add("another kind", kind=BASIC)
    unit = Unit()
    credentials.revoke(unit, revoked.id, NOW)
    await desk.store.recorder.commit(unit)
    errors = [
        await desk.refused("known", Message(b"wrong")),
        await desk.refused("known", Message(b"")),
        *[await desk.refused(name) for name in ("nobody", "n\x00body", "", "revoked", "another kind")],
        await desk.refused("x" * 100_000),
        await desk.refused("\ud800"),
    ]
    assert {(str(error), error.code) for error in errors} == {(NO_SUCH_REFERENCE, ReasonCode.AUTH_FAILED)}
    told = [error.detail for error in errors]
    assert told[0] == f"wrong secret for the reference 'known', credential {known.id}"
    assert told[2] == "no secret has the reference 'nobody'"
    assert told[5] == (
        f"no secret has the reference 'revoked'; credential {revoked.id} was revoked at 2026-03-01 00:00Z"
    )
    assert max(map(len, told)) < 300


@on_sqlite
async def test_work_is_the_same_for_an_unknown_reference(desk: Desk) -> None:
    """cmp.md C35: about the same time, which is the keys that are derived and the rows that are read."""
    await desk.add("known")
    await desk.refused("first")  # opens the connection
    messages = [Message(b"wrong"), Message(b"wrong")]
    work = [
        await _work_of(desk.refused(name, message))
        for name, message in zip(("known", "nobody"), messages, strict=True)
    ]
    assert work[0] == work[1]
    assert work[0].count("decrypt") == 1
    assert work[0].count("execute") == 2
    assert [len(message.asked) for message in messages] == [1, 1]


@on_sqlite
async def test_unknown_references_have_secrets_of_their_own_that_stay(desk: Desk) -> None:
    """Whoever remembers derived keys by the secret is as quick, or as slow, with an unknown reference."""
    asked = []
    for reference in ("one", "two", "one"):
        message = Message(b"wrong")
        await desk.refused(reference, message)
        asked.append(message.asked[0].reveal())
    assert asked[0] == asked[2]
    assert asked[0] != asked[1]
    assert {len(one) for one in asked} == {32}


@pytest.mark.parametrize(
    ("changes", "endpoint"), [({"endpoints": ("lab",)}, "default"), ({"protocol": "scep"}, "default")]
)
@on_sqlite
async def test_scope_is_told_only_to_who_knows_the_secret(
    desk: Desk, changes: dict[str, Any], endpoint: str
) -> None:
    await desk.add(**changes)
    error = await desk.refused(endpoint=endpoint)
    assert error.code is ReasonCode.AUTH_CREDENTIAL_SCOPE
    assert "not for cmp at the endpoint 'default'" in str(error)
    wrong = await desk.refused("device-1", Message(b"wrong"), endpoint=endpoint)
    assert wrong.code is ReasonCode.AUTH_FAILED


@on_sqlite
async def test_expired_and_used_up_secret_still_verifies_a_message(desk: Desk) -> None:
    """Who repeats or polls gets an answer; that no new request begins is policy's word."""
    await desk.add("expired", expires_at=NOW - timedelta(days=1))
    await desk.add("used", uses_left=0)
    assert (await desk.verify("expired")).name == "expired"
    assert (await desk.verify("used")).name == "used"


@on_sqlite
async def test_wrong_messages_are_bounded_by_reference_and_by_address_and_right_ones_are_free(
    desk: Desk,
) -> None:
    await desk.add()
    for _ in range(PER_USER_AND_ADDRESS.burst * 3):
        await desk.verify()
    for _ in range(PER_USER_AND_ADDRESS.burst):
        assert (await desk.refused("device-1", Message(b"wrong"))).code is ReasonCode.AUTH_FAILED
    message = Message()
    error = await desk.refused("device-1", message)
    assert isinstance(error, RetryLater)
    assert (error.code, error.retry_after_s, message.asked) == (ReasonCode.AUTH_THROTTLED, 7, [])
    assert (await desk.verify(address="192.0.2.2")).name == "device-1"
    for number in range(PER_ADDRESS.burst - PER_USER_AND_ADDRESS.burst):
        await desk.refused(f"guess-{number}")
    assert (await desk.refused("one more")).code is ReasonCode.AUTH_THROTTLED
    desk.at += 3600
    assert (await desk.verify()).name == "device-1"


@on_sqlite
async def test_owner_of_a_reference_is_not_kept_out_by_guesses_from_elsewhere(desk: Desk) -> None:
    """A reference stands in clear in every message, so wrong ones count at their own addresses only."""
    await desk.add()
    for number in range(PER_USER.burst + 1):
        error = await desk.refused("device-1", Message(b"wrong"), address=f"198.51.{number}.1")
        assert error.code is ReasonCode.AUTH_FAILED
    assert (await desk.verify()).name == "device-1"


@pytest.mark.parametrize(
    "trouble", [MalformedMessage("salt too long"), Overloaded("many derivations wait")], ids=str
)
@on_sqlite
async def test_message_that_could_not_be_judged_is_no_guess(desk: Desk, trouble: GatewayError) -> None:
    await desk.add()
    for _ in range(PER_USER_AND_ADDRESS.burst * 2):
        assert await desk.refused("device-1", Message(trouble=trouble)) is trouble
    assert (await desk.verify()).name == "device-1"


@on_sqlite
async def test_guesses_at_the_same_time_count_against_each_other(desk: Desk) -> None:
    await desk.add()
    found = await asyncio.gather(*(desk.refused("device-1", Message(b"wrong")) for _ in range(30)))
    codes = [error.code for error in found]
    assert codes.count(ReasonCode.AUTH_FAILED) == PER_USER_AND_ADDRESS.burst
    assert codes.count(ReasonCode.AUTH_THROTTLED) == 30 - PER_USER_AND_ADDRESS.burst


@on_sqlite
async def test_right_messages_at_the_same_time_are_no_guesses(desk: Desk) -> None:
    """A fleet behind one address shares a reference, and long derivations take their time."""
    await desk.add()
    count = PER_ADDRESS.burst * 2
    found = await asyncio.gather(*(desk.verify() for _ in range(count)))
    assert [one.name for one in found] == ["device-1"] * count


@on_sqlite
async def test_right_message_waits_for_the_verdict_on_wrong_ones_and_no_longer(desk: Desk) -> None:
    await desk.add()
    wrong = [desk.refused("device-1", Message(b"wrong")) for _ in range(PER_USER_AND_ADDRESS.burst)]
    *refusals, last = await asyncio.gather(*wrong, desk.refused("device-1"))
    assert {error.code for error in refusals} == {ReasonCode.AUTH_FAILED}
    assert last.code is ReasonCode.AUTH_THROTTLED
    desk.at += 3600
    assert (await desk.verify()).name == "device-1"


@on_sqlite
async def test_secret_that_was_sealed_under_another_server_key_is_a_fault_of_ours(desk: Desk) -> None:
    await desk.add(sealed=seal(b"x" * 32, "id", SECRET))
    assert isinstance(await desk.refused(), SecretUnavailable)
    await desk.add("empty", sealed=None)
    assert isinstance(await desk.refused("empty"), SecretUnavailable)


@on_sqlite
async def test_secret_is_in_no_text(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    row = await desk.add()
    found = await desk.verify()
    errors = [await desk.refused("device-1", Message(b"wrong")), await desk.refused("nobody")]
    said = [repr(row), repr(found), str(found), caplog.text]
    said += [part for error in errors for part in (repr(error), str(error), error.detail)]
    assert not [text for text in said if SECRET.decode() in text]


async def _work_of(verification: Any) -> list[str]:
    """The C functions of cryptography, hmac and the database that a verification calls, in order."""
    called: list[str] = []

    def note(_: object, event: str, function: Any) -> None:
        module = str(getattr(function, "__module__", None) or type(getattr(function, "__self__", 0)))
        if event == "c_call" and any(
            word in module for word in ("_hashlib", "_operator", "hazmat", "sqlite")
        ):
            called.append(function.__name__)

    sys.setprofile(note)
    try:
        await verification
    finally:
        sys.setprofile(None)
    return called
