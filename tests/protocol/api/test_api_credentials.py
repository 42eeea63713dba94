"""Credentials that the API makes are those that devices enrol with."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support import database
from tests.support.api_client import CREDENTIALS, ApiClient
from tests.support.api_lab import ApiLab
from tests.support.scep_answer import issued, refused


@pytest.fixture
def client(api: ApiLab) -> ApiClient:
    """A client whose token is for the endpoint ``default``."""
    return api.client(api.token("default"))


def _challenge(**more: Any) -> dict[str, Any]:
    return {"kind": "scep-challenge", "endpoints": ["default"], **more}


def test_device_enrols_by_scep_with_a_challenge_of_the_api_once(api: ApiLab, client: ApiClient) -> None:
    made = client.created(_challenge(name="for the press"))
    assert (made["name"], made["uses_left"], made["state"]) == ("for the press", 1, "active")
    life = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert life == timedelta(hours=1)
    device = api.scep.device()
    assert issued(device.enrol(made["secret"])).serial_number
    shown = client.get(f"{CREDENTIALS}/{made['id']}").document
    assert (shown["state"], shown["uses_left"]) == ("used-up", 0)
    refused(api.scep.device(key="second").enrol(made["secret"]), 2, "auth.failed")


def test_challenge_is_good_within_its_bounds_only(api: ApiLab, client: ApiClient) -> None:
    elsewhere = client.created(_challenge(names=["*.Elsewhere.example"], static=True))
    assert elsewhere["names"] == ["elsewhere.example"]
    assert elsewhere["uses_left"] is None
    assert api.scep.device().enrol(elsewhere["secret"]).status == 2
    here = client.created(_challenge(static=True))
    assert api.scep.device("other").enrol(here["secret"]).status == 2
    issued(api.scep.device().enrol(here["secret"]))


def test_revoked_challenge_is_refused_at_once_and_revoking_again_changes_nothing(
    api: ApiLab, client: ApiClient
) -> None:
    made = client.created(_challenge())
    revoked = client.revoke(made["id"])
    assert (revoked.status, revoked.document["state"]) == (200, "revoked")
    assert "secret" not in revoked.document
    refused(api.scep.device().enrol(made["secret"]), 2, "auth.failed")
    assert client.revoke(made["id"]).document == revoked.document
    query = (
        f"SELECT actor, details FROM audit WHERE action = 'credential.revoke' AND object_id = '{made['id']}'"
    )
    ((actor, details),) = database.rows(api.scep.gateway.sql_url, query)
    assert actor.startswith("api-token:")
    assert json.loads(details)["remote"] == "127.0.0.1"


def test_making_one_is_in_the_audit_with_its_token_and_without_its_secret(
    api: ApiLab, client: ApiClient
) -> None:
    made = client.created(_challenge())
    query = f"SELECT actor, action, details FROM audit WHERE object_id = '{made['id']}'"
    ((actor, action, details),) = database.rows(api.scep.gateway.sql_url, query)
    token_id = actor.removeprefix("api-token:")
    (found,) = database.rows(api.scep.gateway.sql_url, f"SELECT kind FROM credential WHERE id = '{token_id}'")
    assert (found, action) == (("api-token",), "credential.add")
    assert json.loads(details)["endpoints"] == ["default"]
    assert json.loads(details)["token"].startswith("token-")
    assert made["secret"] not in details
    assert json.loads(api.scep.gateway.cli("audit", "verify", "--json").stdout)["ok"]


def test_shared_secret_and_external_account_have_the_names_that_were_asked_for(client: ApiClient) -> None:
    secret = client.created({"kind": "cmp-secret", "ref": "device-1", "endpoints": ["default"], "uses": 3})
    assert (secret["protocol"], secret["name"], secret["uses_left"]) == ("cmp", "device-1", 3)
    account = client.created({"kind": "acme-eab", "name": "team-1", "endpoints": ["default"]})
    assert (account["protocol"], account["name"], account["expires_at"]) == ("acme", "team-1", None)
    assert len(account["secret"]) == 43
    for body in (
        {"kind": "cmp-secret", "ref": "device-1", "endpoints": ["default"]},
        {"kind": "acme-eab", "name": "team-1", "endpoints": ["default"]},
    ):
        problem = client.create(body).problem(409, "conflict")
        assert "exists; revoke it first, or take another name" in problem["detail"]
    assert client.revoke(secret["id"]).status == 200
    client.created({"kind": "cmp-secret", "ref": "device-1", "endpoints": ["default"]})


def test_groups_and_labels_are_as_asked_for_within_those_of_the_token(api: ApiLab) -> None:
    document = api.new_token("for-netops", "--endpoint", "default", "--group", "netops")
    client = api.client(document["token"])
    wanted = {"kind": "scep-challenge", "endpoints": ["default"], "labels": {"site": "brno"}}
    made = client.created({**wanted, "groups": ["netops"]})
    assert (made["groups"], made["labels"]) == (["netops"], {"site": "brno"})
    assert client.created(wanted)["groups"] == []
    problem = client.create({**wanted, "groups": ["netops", "admins"]}).problem(403, "out-of-reach")
    assert problem["lacks"] == {"group": ["admins"]}


def test_end_is_a_span_or_a_time_with_an_offset(client: ApiClient) -> None:
    made = client.created(_challenge(expires_in_s=7200))
    life = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert life == timedelta(hours=2)
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    made = client.created(_challenge(expires_at=f"{soon + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}+02:00"))
    assert made["expires_at"] == f"{soon:%Y-%m-%dT%H:%M:%SZ}"


def test_endpoint_that_no_policy_has_is_a_warning(api: ApiLab) -> None:
    """As on the command line: the Endpoint document may come later."""
    client = api.client(api.token())
    (warning,) = client.created(_challenge(endpoints=["default", "line9"]))["warnings"]
    assert warning.startswith("the active policies have no scep endpoint 'line9' (known: default, other)")
    assert client.created(_challenge())["warnings"] == []


def test_list_shows_what_is_within_reach_page_by_page_and_never_a_secret(api: ApiLab) -> None:
    api.scep.gateway.cli("credential", "add", "scep-challenge", "--name", "for all")
    everything = api.client(api.token())
    mine = [everything.created(_challenge(endpoints=["line7"])) for _ in range(5)]
    for endpoints in (["line7", "default"], ["line77"]):
        everything.created(_challenge(endpoints=endpoints))
    client = api.client(api.token("line7"))
    found, path = [], f"{CREDENTIALS}?limit=2"
    while True:
        page = client.get(path).document
        assert len(page["credentials"]) <= 2
        found += page["credentials"]
        if page["next_before"] is None:
            break
        path = f"{CREDENTIALS}?limit=2&before={page['next_before']}"
    assert [row["id"] for row in found] == [row["id"] for row in reversed(mine)]
    assert not any("secret" in row for row in found)
    at_line7 = everything.get(f"{CREDENTIALS}?endpoint=line7&kind=scep-challenge").document["credentials"]
    wanted = [None, ["line7"], ["line7", "default"]]
    assert all(row["endpoints"] in wanted for row in at_line7)
    assert len([row for row in at_line7 if row["endpoints"] is not None]) == 6
    assert "for all" in {row["name"] for row in at_line7}
    everything.revoke(mine[0]["id"])
    by_state = {
        state: len(client.get(f"{CREDENTIALS}?state={state}").document["credentials"])
        for state in ("active", "revoked", "expired", "used-up")
    }
    assert by_state == {"active": 4, "revoked": 1, "expired": 0, "used-up": 0}


def test_credential_of_the_command_line_is_shown_and_revoked_too(api: ApiLab, client: ApiClient) -> None:
    made = api.scep.gateway.cli_json("credential", "add", "scep-challenge", "--endpoint", "default")
    shown = client.get(f"{CREDENTIALS}/{made['id']}").document
    assert (shown["source"], shown["name"]) == ("cli", made["user"])
    assert client.revoke(made["id"]).status == 200
    assert api.scep.gateway.cli_json("credential", "show", made["id"])["state"] == "revoked"


def test_unknown_credential_is_404(client: ApiClient) -> None:
    for name in (
        "01a20a9b-f434-783d-aef2-560dd35e4390",
        "nobody",
        "%20",
        "01A20A9B-F434-783D-AEF2-560DD35E4390",
    ):
        client.get(f"{CREDENTIALS}/{name}").problem(404, "not-found")
        client.revoke(name).problem(404, "not-found")


def test_secrets_and_tokens_stand_neither_in_the_database_nor_in_the_log(
    api: ApiLab, client: ApiClient
) -> None:
    """What is sealed for a repeat is no clear text either."""
    secrets = [client.created(_challenge(), "kept")["secret"], client.token]
    secrets.append(client.created({"kind": "acme-eab", "endpoints": ["default"]}, "kept too")["secret"])
    gateway = api.scep.gateway
    connection = sqlite3.connect(gateway.data / "pkigate.sqlite3")
    try:
        dump = "\n".join(connection.iterdump())
    finally:
        connection.close()
    for secret in secrets:
        assert secret
        assert secret not in dump
        assert secret.encode().hex().upper() not in dump
        assert secret not in gateway.log
