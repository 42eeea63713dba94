"""External accounts (RFC 8555 section 7.3.4): right and wrong MACs, guesses, bounds and counted uses."""

from __future__ import annotations

import asyncio
import base64
import hmac
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.authn.external import ExternalAccounts
from gateway.authn.sealing import seal, unseal
from gateway.authn.throttle import PER_ADDRESS, PER_USER, PER_USER_AND_ADDRESS
from gateway.errors import Conflict, GatewayError, RetryLater, SecretUnavailable
from gateway.model.evidence import ACME_EAB, BASIC, RemoteInfo
from gateway.model.ids import EndpointName, ProtocolName, new_id
from gateway.model.reasons import ReasonCode
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.migrate import migrate
from gateway.store.store import Store
from gateway.store.unit import Unit

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SERVER_KEY = b"k" * 32
KEY = b"0123456789abcdef" * 2
SIGNED = b"protected.payload"


class StandingClock:
    """Always the same moment."""

    def now(self) -> datetime:
        return NOW


class Desk:
    """External accounts over a real database; ``at`` is what its monotonic clock says."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.at = 0.0
        self.accounts = ExternalAccounts(store, SERVER_KEY, StandingClock(), lambda: self.at)

    async def add(self, name: str = "kid-1", *, key: bytes = KEY, **changes: Any) -> CredentialRow:
        credential_id = new_id()
        values: dict[str, Any] = {
            "id": credential_id,
            "kind": ACME_EAB,
            "name": name,
            "created_at": NOW,
            "protocol": "acme",
            "sealed": seal(SERVER_KEY, credential_id, key),
        }
        row = CredentialRow(**(values | changes))
        unit = Unit()
        credentials.insert(unit, row)
        await self.store.recorder.commit(unit)
        return row

    async def verify(
        self,
        name: str = "kid-1",
        *,
        key: bytes = KEY,
        algorithm: str = "HS256",
        endpoint: str = "default",
        mac: bytes | None = None,
        signed: bytes = SIGNED,
        address: str = "192.0.2.1",
    ) -> Any:
        hash_name = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}.get(algorithm, "sha256")
        return await self.accounts.verify(
            ProtocolName("acme"),
            EndpointName(endpoint),
            name,
            algorithm,
            signed,
            hmac.digest(key, SIGNED, hash_name) if mac is None else mac,
            RemoteInfo(address),
        )

    async def refused(self, **more: Any) -> GatewayError:
        with pytest.raises(GatewayError) as refusal:
            await self.verify(**more)
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


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_right_mac_gives_the_account(desk: Desk, algorithm: str) -> None:
    row = await desk.add()
    account = await desk.verify(algorithm=algorithm)
    assert (account.credential_id, account.name, account.counted) == (row.id, "kid-1", False)


@on_sqlite
async def test_mac_of_the_standards_own_example_is_right(desk: Desk) -> None:
    """RFC 7515 appendix A.1."""
    key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    signed = (
        b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l"
        b"eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    )
    mac = base64.urlsafe_b64decode("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk=")
    await desk.add(key=base64.urlsafe_b64decode(key + "=="))
    assert (await desk.verify(signed=signed, mac=mac)).name == "kid-1"
    assert (await desk.refused(signed=signed + b"x", mac=mac)).code is ReasonCode.AUTH_FAILED


async def test_unknown_revoked_and_wrong_are_not_told_apart(desk: Desk) -> None:
    """acme.md C54."""
    await desk.add("known")
    await desk.add("another kind", kind=BASIC)
    revoked = await desk.add("revoked")
    unit = Unit()
    credentials.revoke(unit, revoked.id, NOW)
    await desk.store.recorder.commit(unit)
    wrong = b"w" * 32
    said = {
        (str(error), error.code)
        for error in (
            await desk.refused(name="known", key=wrong),
            await desk.refused(name="known", mac=b""),
            await desk.refused(name="known", mac=hmac.digest(KEY, SIGNED, "sha256") + b"\x00"),
            await desk.refused(name="known", algorithm="HS384", mac=hmac.digest(KEY, SIGNED, "sha256")),
            await desk.refused(name="known", algorithm="none", mac=b""),
            await desk.refused(name="nobody"),
            await desk.refused(name="n\x00body"),
            await desk.refused(name="revoked"),
            await desk.refused(name="another kind"),
        )
    }
    assert said == {("the external account's key identifier or its MAC is wrong", ReasonCode.AUTH_FAILED)}


@on_sqlite
async def test_work_is_the_same_for_an_unknown_key_identifier(desk: Desk) -> None:
    await desk.add("known")
    work = [await _cryptography_of(desk.refused(name=name, key=b"w" * 32)) for name in ("known", "nobody")]
    assert work[0] == work[1]
    assert work[0].count("compare_digest") == 1
    assert work[0].count("decrypt") == 1


@pytest.mark.parametrize(
    ("changes", "endpoint", "said"),
    [
        ({"endpoints": ("lab",)}, "default", "is not for acme at the endpoint 'default'"),
        ({"protocol": "scep"}, "default", "is not for acme"),
        ({"expires_at": NOW}, "default", "expired at 2026-03-01 00:00Z"),
        ({"uses_left": 0}, "default", "used up"),
    ],
)
@on_sqlite
async def test_bounds_are_told_only_to_who_knows_the_key(
    desk: Desk, changes: dict[str, Any], endpoint: str, said: str
) -> None:
    await desk.add(**changes)
    error = await desk.refused(endpoint=endpoint)
    assert error.code is ReasonCode.AUTH_CREDENTIAL_SCOPE
    assert said in str(error)
    assert (await desk.refused(endpoint=endpoint, key=b"w" * 32)).code is ReasonCode.AUTH_FAILED


@on_sqlite
async def test_account_within_its_bounds_is_good(desk: Desk) -> None:
    await desk.add(endpoints=("lab",), expires_at=NOW + timedelta(seconds=1), uses_left=1)
    assert (await desk.verify(endpoint="lab")).counted


@on_sqlite
async def test_guesses_are_bounded_by_key_identifier_and_by_address_and_successes_are_free(
    desk: Desk,
) -> None:
    await desk.add()
    for _ in range(PER_USER_AND_ADDRESS.burst * 3):
        await desk.verify()
    for _ in range(PER_USER_AND_ADDRESS.burst):
        assert (await desk.refused(key=b"w" * 32)).code is ReasonCode.AUTH_FAILED
    error = await desk.refused()
    assert isinstance(error, RetryLater)
    assert (error.code, error.retry_after_s) == (ReasonCode.AUTH_THROTTLED, 7)
    assert (await desk.verify(address="192.0.2.2")).name == "kid-1"
    for number in range(PER_ADDRESS.burst - PER_USER_AND_ADDRESS.burst):
        await desk.refused(name=f"guess-{number}")
    assert (await desk.refused(name="one more")).code is ReasonCode.AUTH_THROTTLED
    desk.at += 3600
    assert (await desk.verify()).name == "kid-1"


@on_sqlite
async def test_owner_of_a_key_identifier_is_not_kept_out_by_guesses_from_elsewhere(desk: Desk) -> None:
    """acme.md C54: the key identifier is no secret, so wrong MACs count at their own addresses only."""
    await desk.add()
    for number in range(PER_USER.burst + 1):
        error = await desk.refused(key=b"w" * 32, address=f"198.51.{number}.1")
        assert error.code is ReasonCode.AUTH_FAILED
    assert (await desk.verify()).name == "kid-1"


async def test_counted_account_is_taken_as_often_as_it_says_however_many_come_at_once(desk: Desk) -> None:
    await desk.add(uses_left=2)
    account = await desk.verify()
    assert account.counted

    async def take() -> bool:
        unit = Unit()
        desk.accounts.take(unit, account, NOW)
        try:
            await desk.store.recorder.commit(unit)
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(take() for _ in range(10)))) == 2
    assert "used up" in str(await desk.refused())


@on_sqlite
async def test_account_without_count_is_taken_without_a_trace(desk: Desk) -> None:
    await desk.add()
    unit = Unit()
    desk.accounts.take(unit, await desk.verify(), NOW)
    assert unit.operations == []


@on_sqlite
async def test_key_that_was_sealed_under_another_server_key_is_a_fault_of_ours(desk: Desk) -> None:
    await desk.add(sealed=seal(b"x" * 32, "id", KEY))
    assert isinstance(await desk.refused(), SecretUnavailable)


def test_sealed_secret_opens_for_its_own_credential_and_key_only() -> None:
    sealed = seal(SERVER_KEY, "id-1", KEY)
    assert unseal(SERVER_KEY, "id-1", sealed).reveal() == KEY
    assert KEY not in sealed
    assert seal(SERVER_KEY, "id-1", KEY) != sealed
    for server_key, credential_id in ((SERVER_KEY, "id-2"), (b"x" * 32, "id-1")):
        with pytest.raises(SecretUnavailable):
            unseal(server_key, credential_id, sealed)


def test_sealed_secret_that_was_changed_or_cut_does_not_open() -> None:
    sealed = seal(SERVER_KEY, "id-1", KEY)
    broken = [sealed[:length] for length in range(len(sealed))]
    broken += [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    for one in broken:
        with pytest.raises(SecretUnavailable):
            unseal(SERVER_KEY, "id-1", one)


async def _cryptography_of(verification: Any) -> list[str]:
    """The C functions of cryptography and hmac that a verification calls, in order."""
    called: list[str] = []

    def note(_: object, event: str, function: Any) -> None:
        module = str(getattr(function, "__module__", None) or type(getattr(function, "__self__", 0)))
        if event == "c_call" and any(word in module for word in ("_hashlib", "_operator", "hazmat")):
            called.append(function.__name__)

    sys.setprofile(note)
    try:
        await verification
    finally:
        sys.setprofile(None)
    return called
