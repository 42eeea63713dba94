"""`pkigate credential add api-token` on a real database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.authn.secrets import machine_verifier
from gateway.datadir import DataDirectory
from gateway.model.evidence import API_TOKEN
from gateway.store import credentials
from tests.unit.cli.recorded import database_of

Run = Callable[..., Any]
ADD = ("credential", "add", "api-token")


def test_token_is_shown_once_and_found_by_its_verifier(on_data: Run, data: DataDirectory) -> None:
    added = on_data(
        *(*ADD, "--name", "portal", "--endpoint", "line4", "--endpoint", "line5", "--expires", "90d"),
        *("--allow", "credential.add,credential.read", "--allow", "credential.revoke", "--json"),
    ).document
    assert added["token"].startswith("pkigate_")
    assert len(added["token"]) >= 51
    verifier = machine_verifier(data.server_key(), added["token"])
    with database_of(data) as store:
        row = store.reader.read_blocking(
            lambda connection: credentials.by_verifier(connection, API_TOKEN, verifier)
        )
    assert row is not None
    assert (row.id, row.protocol, row.endpoints, row.uses_left) == (
        added["id"],
        "api",
        ("line4", "line5"),
        None,
    )
    assert row.permissions == ("credential.add", "credential.read", "credential.revoke")
    assert row.expires_at is not None
    assert abs(row.expires_at - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=5)
    said = on_data("credential", "list", "--json").out + on_data("credential", "show", "portal").out
    said += on_data("audit", "export").out
    assert added["token"] not in said
    assert "credential.revoke" in said


def test_token_is_revoked_by_its_name_and_the_name_is_free_again(on_data: Run) -> None:
    add = (*ADD, "--name", "portal", "--allow", "credential.read")
    assert on_data(*add).code == 0
    assert "a credential for 'portal' exists" in on_data(*add).err
    assert on_data("credential", "revoke", "portal").code == 0
    assert on_data(*add).code == 0


def test_people_see_what_a_token_may_do(on_data: Run) -> None:
    added = on_data(*ADD, "--name", "portal", "--allow", "credential.read")
    assert "credential.read" in added.out
    assert "Keep the secret now" in added.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--name", "x"), "say what the token may do: credential.add, credential.read, credential.revoke"),
        (("--name", "x", "--allow", "everything"), "'everything' is no permission; there are credential.add"),
        (("--name", "x", "--allow", ""), "'' is no permission"),
        (("--allow", "credential.add"), "say what the token is called"),
        (("--allow", "credential.add", "--name", "x", "--uses", "3"), "is not for api-token"),
        (("--allow", "credential.add", "--name", "x", "--names", "a.test"), "is not for api-token"),
        (("--allow", "credential.add", "--name", "x", "--profiles", "a"), "is not for api-token"),
        (("--allow", "credential.add", "--name", "x", "--secret-stdin"), "is not for api-token"),
        (("--allow", "credential.add", "--name", "x", "--endpoint", "A"), "is no endpoint"),
        (
            ("--allow", "credential.add", "--name", "x", *("--endpoint", "a") * 101),
            "101 endpoints are too many",
        ),
    ],
)
def test_wrong_argument_of_a_token_is_told(on_data: Run, arguments: tuple[str, ...], complaint: str) -> None:
    ended = on_data(*ADD, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in " ".join(ended.err.replace("│", " ").split())


def test_permission_is_for_tokens_only(on_data: Run) -> None:
    ended = on_data("credential", "add", "scep-challenge", "--allow", "credential.add")
    assert ended.code == 2
    assert "is not for scep-challenge" in ended.err
