"""`pkigate credential` on a real database."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.authn.secrets import PasswordMemory, machine_secret_matches
from gateway.datadir import DataDirectory
from gateway.plugins import load_plugins
from gateway.policy.load import load_bundle, read_directory
from gateway.store import bundles, credentials
from gateway.store.bundles import Activation, BundleRow
from gateway.store.credentials import CredentialRow
from gateway.store.unit import Unit
from tests.unit.cli.recorded import database_of

Run = Callable[..., Any]


def stored(data: DataDirectory, user: str) -> CredentialRow:
    with database_of(data) as store:
        row = store.reader.read_blocking(lambda connection: credentials.by_name(connection, "basic", user))
    assert row is not None
    return row


def test_added_machine_credential_verifies_with_the_secret_that_was_printed(
    on_data: Run, data: DataDirectory
) -> None:
    added = on_data("credential", "add", "--user", "dev-1", "--json")
    assert added.code == 0
    row = stored(data, "dev-1")
    assert machine_secret_matches(data.server_key(), row.verifier, added.document["secret"].encode())
    assert len(added.document["secret"]) >= 22
    assert (row.id, row.protocol, row.source) == (added.document["id"], "est", "cli")


def test_added_credential_keeps_its_bounds(on_data: Run, data: DataDirectory) -> None:
    ended = on_data(
        *("credential", "add", "est", "--user", "dev-1", "--endpoint", "lab", "--endpoint", "default"),
        *("--names", "*.Devices.Example,.test", "--names", "other.example", "--expires", "90d"),
    )
    assert ended.code == 0
    row = stored(data, "dev-1")
    assert row.endpoints == ("lab", "default")
    assert row.names == ("devices.example", "test", "other.example")
    assert row.expires_at is not None
    assert abs(row.expires_at - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=1)


def test_added_credential_shows_its_groups_and_labels(on_data: Run, data: DataDirectory) -> None:
    more = ("--group", "web-team", "--group", "ci", "--label", "site=brno", "--label", "rack=a=7")
    added = on_data("credential", "add", "est", "--user", "dev-1", *more, "--json")
    assert added.document["groups"] == ["web-team", "ci"]
    assert added.document["labels"] == {"site": "brno", "rack": "a=7"}
    row = stored(data, "dev-1")
    assert (row.groups, row.labels) == (("web-team", "ci"), (("rack", "a=7"), ("site", "brno")))
    shown = on_data("credential", "show", "dev-1").out
    assert "web-team, ci" in shown
    assert "rack=a=7, site=brno" in shown
    (listed,) = on_data("credential", "list", "--json").document["credentials"]
    assert listed["groups"] == ["web-team", "ci"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--group", "web team"), "is no group"),
        (("--label", "site"), "has no value"),
        (("--label", "site="), "1 to 255 printable characters"),
        (("--label", "a-b=x"), "is no label"),
        (("--label", "site=a", "--label", "site=b"), "is there twice"),
    ],
)
def test_group_or_label_that_none_can_have_is_refused(
    on_data: Run, more: tuple[str, ...], words: str
) -> None:
    ended = on_data("credential", "add", "--user", "dev-1", *more)
    assert ended.code == 2
    assert words in " ".join(ended.err.replace("│", " ").split())


def test_endpoint_that_the_active_bundle_does_not_have_is_a_warning(
    on_data: Run, data: DataDirectory
) -> None:
    bundle = load_bundle(read_directory(data.policies), load_plugins().registry(lab=False))
    now = datetime.now(UTC)
    unit = Unit()
    bundles.insert(unit, BundleRow(bundle.sha256, bundle.documents_json, "files", now))
    bundles.activate(unit, Activation(bundle.sha256, now))
    with database_of(data) as store:
        store.recorder.commit_blocking(unit)
    add = ("credential", "add", "--user")
    known = on_data(*add, "dev-1", "--endpoint", "default", "--json")
    assert (known.code, known.err) == (0, "")
    unknown = on_data(*add, "dev-2", "--endpoint", "lien1", "--endpoint", "default", "--json")
    assert unknown.code == 0
    assert unknown.document["endpoints"] == ["lien1", "default"]
    assert unknown.err == (
        "warning: the active policies have no est endpoint 'lien1' (known: default); the credential is of "
        "use once there is an Endpoint document of that name\n"
    )


def test_persons_password_is_read_from_standard_input_and_stored_as_argon2id(
    on_data: Run, data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
    added = on_data("credential", "add", "--user", "anna", "--password-stdin", "--json")
    assert added.code == 0
    assert "secret" not in added.document
    verifier = stored(data, "anna").verifier
    assert verifier is not None
    assert verifier.startswith("$argon2id$")
    assert PasswordMemory(lambda: 0.0).verify(verifier, b"correct horse battery")


def test_short_password_is_refused(on_data: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    ended = on_data("credential", "add", "--user", "anna", "--password-stdin")
    assert (ended.code, ended.err) == (
        1,
        "error: the password is shorter than 12 characters; choose a longer one\n",
    )


def test_second_credential_of_a_user_is_refused_until_the_first_is_revoked(on_data: Run) -> None:
    assert on_data("credential", "add", "--user", "dev-1").code == 0
    again = on_data("credential", "add", "--user", "dev-1")
    assert again.code == 1
    assert again.err == "error: a credential for 'dev-1' exists; revoke it first, or take another name\n"
    assert on_data("credential", "revoke", "dev-1").code == 0
    assert on_data("credential", "add", "--user", "dev-1").code == 0


def test_secret_is_shown_once_and_never_listed(on_data: Run) -> None:
    secret = on_data("credential", "add", "--user", "dev-1", "--json").document["secret"]
    listed = on_data("credential", "list", "--revoked")
    as_json = on_data("credential", "list", "--json")
    assert secret not in listed.out + as_json.out
    assert "verifier" not in as_json.out
    assert "dev-1" in listed.out


def test_revoked_credential_leaves_the_list_and_revoking_twice_is_refused(on_data: Run) -> None:
    added = on_data("credential", "add", "--user", "dev-1", "--json").document
    assert on_data("credential", "revoke", added["id"], "--json").document["revoked"] is True
    assert on_data("credential", "list", "--json").document["credentials"] == []
    (listed,) = on_data("credential", "list", "--revoked", "--json").document["credentials"]
    assert listed["state"] == "revoked"
    again = on_data("credential", "revoke", added["id"])
    assert (again.code, "is revoked already" in again.err) == (1, True)


def test_groups_and_labels_are_changed_and_the_change_is_in_the_audit(
    on_data: Run, data: DataDirectory
) -> None:
    on_data("credential", "add", "--user", "dev-1", "--group", "a", "--label", "site=brno", "--label", "x=1")
    more = ("--group", "b", "--group", "c", "--label", "site=graz", "--no-label", "x", "--label", "rack=7")
    changed = on_data("credential", "set", "dev-1", *more, "--json").document
    assert changed["groups"] == ["b", "c"]
    assert changed["labels"] == {"rack": "7", "site": "graz"}
    row = stored(data, "dev-1")
    assert (row.groups, row.labels) == (("b", "c"), (("rack", "7"), ("site", "graz")))
    on_data("credential", "set", "dev-1", "--no-groups")
    assert (stored(data, "dev-1").groups, stored(data, "dev-1").labels) == ((), row.labels)
    lines = on_data("audit", "export").out.splitlines()
    events = [json.loads(line) for line in lines if "credential.set" in line]
    assert [event["details"]["groups_before"] for event in events] == [["a"], ["b", "c"]]
    assert events[0]["details"]["labels_before"] == {"site": "brno", "x": "1"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "say what to change"),
        (("--group", "a", "--no-groups"), "cannot be together"),
        (("--no-label", "site"), "it has no label 'site'"),
        (("--group", "a b"), "is no group"),
        (("--label", "site"), "has no value"),
    ],
)
def test_change_that_means_nothing_is_refused(on_data: Run, more: tuple[str, ...], words: str) -> None:
    on_data("credential", "add", "--user", "dev-1")
    ended = on_data("credential", "set", "dev-1", *more)
    assert ended.code == 2
    assert words in " ".join(ended.err.replace("│", " ").split())


def test_revoked_credential_is_not_changed(on_data: Run) -> None:
    made = on_data("credential", "add", "--user", "dev-1", "--json").document
    on_data("credential", "revoke", "dev-1")
    ended = on_data("credential", "set", made["id"], "--group", "a")
    assert (ended.code, "is revoked" in ended.err) == (1, True)


def test_unknown_credential_ends_with_the_code_for_not_found(on_data: Run) -> None:
    ended = on_data("credential", "revoke", "nobody")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == "error: there is no credential 'nobody'; see `pkigate credential list`\n"


def test_page_of_credentials_continues_where_it_ended(on_data: Run) -> None:
    for number in range(3):
        on_data("credential", "add", "--user", f"dev-{number}")
    first = on_data("credential", "list", "--limit", 2, "--json").document
    rest = on_data("credential", "list", "--limit", 2, "--before", first["next_before"], "--json").document
    users = [row["user"] for page in (first, rest) for row in page["credentials"]]
    assert users == ["dev-2", "dev-1", "dev-0"]
    assert rest["next_before"] is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--user", "a:b"), "no colon"),
        (("--user", "a\x1bb"), "printable"),
        (("--user", ""), "1 to 128"),
        (("--user", "a", "--expires", "soon"), "is no time; write 90d"),
        (("--user", "a", "--expires", "2001-01-01"), "is not in the future"),
        (("--user", "a", "--endpoint", "No Such"), "is no endpoint"),
        (("--user", "a", "--names", "exa mple"), "holds white space"),
        (("telnet", "--user", "a"), "no front end for"),
        (("scep", "--user", "a"), "SCEP knows no user names; write scep-challenge"),
        (("cmp", "--user", "a"), "CMP knows no user names; write cmp-secret"),
        ((), "say the user name"),
    ],
)
def test_wrong_argument_ends_with_the_usage_code_and_says_what_is_right(
    on_data: Run, arguments: tuple[str, ...], complaint: str
) -> None:
    ended = on_data("credential", "add", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err


def test_every_change_of_a_credential_is_in_the_audit_with_its_actor_and_without_secret(on_data: Run) -> None:
    added = on_data("credential", "add", "--user", "dev-1", "--json").document
    on_data("credential", "revoke", "dev-1")
    exported = on_data("audit", "export")
    lines = exported.out.splitlines()
    assert [('"credential.add"' in line, '"credential.revoke"' in line) for line in lines] == [
        (True, False),
        (False, True),
    ]
    assert all('"actor":"cli:' in line for line in lines)
    assert added["secret"] not in exported.out


def test_password_of_a_real_pipe_reaches_the_database(data: DataDirectory) -> None:
    command = "credential add --user anna --password-stdin --data-dir"
    ended = subprocess.run(
        [sys.executable, "-m", "gateway.cli.main", *command.split(), str(data.path)],
        input="correct horse battery\r\n",
        text=True,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    verifier = stored(data, "anna").verifier
    assert verifier is not None
    assert PasswordMemory(lambda: 0.0).verify(verifier, b"correct horse battery")
