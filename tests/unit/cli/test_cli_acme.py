"""External accounts of ACME and the accounts that are bound to them, on the command line."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.acme.tables import accounts
from gateway.acme.tables.accounts import AccountRow
from gateway.authn.external import ExternalAccounts
from gateway.authn.sealing import unseal
from gateway.clock import SystemClock
from gateway.datadir import DataDirectory
from gateway.model.evidence import RemoteInfo
from gateway.model.ids import EndpointName, ProtocolName, new_object_id
from gateway.model.outcome import State
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.unit import Unit
from tests.unit.cli.recorded import database_of, record_request

Run = Callable[..., Any]
ADD = ("credential", "add", "acme-eab")


def stored(data: DataDirectory, kid: str) -> CredentialRow:
    with database_of(data) as store:
        row = store.reader.read_blocking(lambda connection: credentials.by_name(connection, "acme-eab", kid))
    assert row is not None
    return row


def bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def open_account(data: DataDirectory, **columns: Any) -> AccountRow:
    """An account as a worker records it."""
    values: dict[str, Any] = {
        "id": new_object_id(),
        "endpoint": "default",
        "thumbprint": new_object_id()[:43],
        "jwk": "{}",
        "status": accounts.VALID,
        "contacts": ("mailto:ops@a.test",),
        "created_at": datetime(2026, 3, 1, tzinfo=UTC),
    }
    row = AccountRow(**(values | columns))
    unit = Unit()
    accounts.insert(unit, row)
    with database_of(data) as store:
        store.recorder.commit_blocking(unit)
    return row


# -- external accounts --


async def test_printed_key_of_an_external_account_makes_macs_that_a_gateway_takes(
    on_data: Run, data: DataDirectory
) -> None:
    added = on_data(*ADD, "--json").document
    key, kid = bytes_of(added["hmac_key"]), added["kid"]
    assert len(key) == 32
    with database_of(data) as store:
        desk = ExternalAccounts(store, data.server_key(), SystemClock(), lambda: 0.0)
        account = await desk.verify(
            ProtocolName("acme"),
            EndpointName("default"),
            kid,
            "HS256",
            b"signed",
            hmac.digest(key, b"signed", "sha256"),
            RemoteInfo("192.0.2.1"),
        )
    assert (account.credential_id, account.name) == (added["id"], kid)


def test_external_account_is_printed_with_the_flags_that_clients_take(
    on_data: Run, data: DataDirectory
) -> None:
    ended = on_data(*ADD, "--name", "site-1", "--expires", "90d", "--uses", "3")
    assert ended.code == 0
    lines = dict(
        line.split(maxsplit=1) for line in ended.out.splitlines() if not line.startswith(("key", "H"))
    )
    row = stored(data, "site-1")
    key = unseal(data.server_key(), row.id, row.sealed or b"").reveal()
    text = base64.urlsafe_b64encode(key).rstrip(b"=").decode()
    assert lines["certbot"] == f"--eab-kid site-1 --eab-hmac-key {text}"
    assert lines["lego"] == f"--eab --kid site-1 --hmac {text}"
    assert lines["uses"] == "3"
    assert "Keep the secret now" in ended.err


def test_external_account_keeps_its_bounds(on_data: Run, data: DataDirectory) -> None:
    ended = on_data(
        *(*ADD, "--name", "site-1", "--endpoint", "default", "--names", "*.Line.Example,10.1.0.0/16,fd00::1"),
        *("--profiles", "short, long", "--prevalidated", "line.example", "--prevalidated", "192.0.2.7"),
        *("--uses", "2", "--expires", "2090-01-31", "--json"),
    )
    assert (ended.code, ended.err) == (0, "")
    row = stored(data, "site-1")
    assert (row.protocol, row.endpoints, row.uses_left) == ("acme", ("default",), 2)
    assert row.names == ("line.example", "10.1.0.0/16", "fd00::1")
    assert (row.profiles, row.prevalidated) == (("short", "long"), ("line.example", "192.0.2.7"))
    shown = on_data("credential", "show", "site-1", "--json").document
    assert (shown["user"], shown["kind"], shown["state"]) == ("site-1", "acme-eab", "active")
    assert shown["prevalidated"] == ["line.example", "192.0.2.7"]
    assert "10.1.0.0/16" in on_data("credential", "show", row.id).out


def test_hmac_key_is_shown_once_and_stands_nowhere_in_clear(on_data: Run, data: DataDirectory) -> None:
    added = on_data(*ADD, "--json").document
    shown = [
        on_data("credential", "list").out,
        on_data("credential", "list", "--json").out,
        on_data("credential", "show", added["id"], "--json").out,
        on_data("audit", "export").out,
    ]
    assert all(added["kid"] in text for text in shown)
    assert not any(added["hmac_key"] in text for text in shown)
    key = bytes_of(added["hmac_key"])
    files = [file.read_bytes() for file in data.path.rglob("*") if file.is_file()]
    assert files
    assert not any(key in content or added["hmac_key"].encode() in content for content in files)


def test_keys_and_identifiers_never_look_like_options(on_data: Run) -> None:
    added = [on_data(*ADD, "--json").document for _ in range(8)]
    assert not any(one["hmac_key"].startswith("-") or one["kid"].startswith("-") for one in added)
    assert len({one["hmac_key"] for one in added} | {one["kid"] for one in added}) == 16


def test_revoked_external_account_makes_room_for_another_of_its_name(on_data: Run) -> None:
    first = on_data(*ADD, "--name", "site-1", "--json").document
    again = on_data(*ADD, "--name", "site-1")
    assert (again.code, "'site-1' exists" in again.err) == (1, True)
    assert on_data("credential", "revoke", "site-1", "--json").document["id"] == first["id"]
    assert on_data(*ADD, "--name", "site-1").code == 0


def test_name_of_two_credentials_is_told_apart_by_id(on_data: Run) -> None:
    on_data("credential", "add", "--user", "site-1")
    external = on_data(*ADD, "--name", "site-1", "--json").document
    ended = on_data("credential", "revoke", "site-1")
    assert ended.code == 1
    assert "2 credentials are called 'site-1'" in ended.err
    assert external["id"] in ended.err
    assert on_data("credential", "revoke", external["id"]).code == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((*ADD, "--name", "-x"), "does not begin"),
        ((*ADD, "--name", "two words"), "letters, digits"),
        ((*ADD, "--user", "anna"), "is not for acme-eab"),
        ((*ADD, "--password-stdin"), "is not for acme-eab"),
        ((*ADD, "--ref", "x"), "is not for acme-eab"),
        ((*ADD, "--static"), "is not for acme-eab"),
        ((*ADD, "--names", "10.0.0.1/8"), "host bits"),
        ((*ADD, "--prevalidated", "exa mple"), "holds white space"),
        ((*ADD, "--profiles", "a,,b"), "is no profile"),
        (
            ("credential", "add", "--user", "a", "--name", "b"),
            "is for acme-eab or scep-challenge or api-token only",
        ),
        (("credential", "add", "--user", "a", "--prevalidated", "b.test"), "is for acme-eab only"),
        (("credential", "add", "acme", "--user", "a"), "write acme-eab"),
    ],
)
def test_wrong_argument_of_an_external_account_is_told(
    on_data: Run, arguments: tuple[str, ...], complaint: str
) -> None:
    ended = on_data(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in " ".join(ended.err.split())


# -- accounts --


def test_accounts_are_listed_by_endpoint_and_by_external_account(on_data: Run, data: DataDirectory) -> None:
    """acme.md B15."""
    external = on_data(*ADD, "--name", "site-1", "--json").document
    bound = open_account(data, credential_id=external["id"])
    other = open_account(data, endpoint="lab", contacts=())

    def ids(*arguments: str) -> list[str]:
        found = on_data("acme", "account", "list", "--json", *arguments).document["accounts"]
        return [row["id"] for row in found]

    assert ids() == [other.id, bound.id]
    assert ids("--endpoint", "lab") == [other.id]
    assert ids("--credential", "site-1") == ids("--credential", external["id"]) == [bound.id]
    on_data("credential", "revoke", "site-1")
    assert ids("--credential", "site-1") == [bound.id]
    ended = on_data("acme", "account", "list", "--credential", "nobody")
    assert (ended.code, "no external account 'nobody'" in ended.err) == (3, True)
    listed = on_data("acme", "account", "list").out
    assert "mailto:ops@a.test" in listed


def test_page_of_accounts_continues_where_it_ended(on_data: Run, data: DataDirectory) -> None:
    made = [open_account(data).id for _ in range(3)]
    first = on_data("acme", "account", "list", "--limit", 2, "--json").document
    before = first["next_before"]
    rest = on_data("acme", "account", "list", "--limit", 2, "--before", before, "--json").document
    assert [row["id"] for page in (first, rest) for row in page["accounts"]] == made[::-1]
    assert rest["next_before"] is None


def test_account_is_turned_off_once_by_its_id_or_url_and_the_audit_tells(
    on_data: Run, data: DataDirectory
) -> None:
    row = open_account(data)
    url = f"https://acme.test/acme/account/{row.id}"
    shown = on_data("acme", "account", "show", url, "--json").document
    assert (shown["status"], shown["contacts"]) == ("valid", ["mailto:ops@a.test"])
    assert (
        on_data("acme", "account", "deactivate", url).out
        == f"Turned off the account {row.id} of ops@a.test.\n"
    )
    with database_of(data) as store:
        kept = store.reader.read_blocking(lambda connection: accounts.get(connection, "default", row.id))
    assert kept is not None
    assert (kept.status, kept.version) == (accounts.REVOKED, 2)
    again = on_data("acme", "account", "deactivate", row.id)
    assert (again.code, again.err) == (1, f"error: the account {row.id} is revoked already\n")
    events = [json.loads(line) for line in on_data("audit", "export").out.splitlines()]
    assert [event["action"] for event in events if event["object_id"] == row.id] == ["account.revoke"]


def test_unknown_account_ends_with_the_code_for_not_found(on_data: Run) -> None:
    for command in ("show", "deactivate"):
        ended = on_data("acme", "account", command, "nothing")
        assert (ended.code, ended.out) == (3, "")
        assert "there is no account 'nothing'" in ended.err


# -- requests of orders --


def test_requests_of_an_order_are_found_by_its_id(on_data: Run, data: DataDirectory) -> None:
    row = record_request(data, State.REFUSED, transaction_id="order-1")
    record_request(data, State.REFUSED)
    found = on_data("request", "list", "--transaction", "order-1", "--json").document["requests"]
    assert [(one["id"], one["transaction_id"]) for one in found] == [(row.id, "order-1")]
    assert "order-1" in on_data("request", "show", row.id).out
