"""`pkigate credential add scep-challenge` and `cmp-secret` on a real database."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.authn.sealing import unseal
from gateway.authn.secrets import challenge_verifier
from gateway.datadir import DataDirectory
from gateway.model.evidence import CMP_SECRET, SCEP_CHALLENGE
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from tests.unit.cli.recorded import database_of

Run = Callable[..., Any]
CHALLENGE = ("credential", "add", "scep-challenge")
SECRET = ("credential", "add", "cmp-secret")
GIVEN = "planted secret of people"


def found(data: DataDirectory, challenge: str) -> CredentialRow | None:
    """The credential as a request with this challenge finds it."""
    verifier = challenge_verifier(data.server_key(), challenge.encode())
    with database_of(data) as store:
        return store.reader.read_blocking(
            lambda connection: credentials.by_verifier(connection, SCEP_CHALLENGE, verifier)
        )


def secret_of(data: DataDirectory, reference: str) -> str:
    with database_of(data) as store:
        row = store.reader.read_blocking(
            lambda connection: credentials.by_name(connection, CMP_SECRET, reference)
        )
    assert row is not None
    assert (row.verifier, row.protocol) == (None, "cmp")
    return unseal(data.server_key(), row.id, row.sealed or b"").reveal().decode()


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the next command read this from standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_challenge_is_a_one_time_one_of_an_hour_that_a_request_finds(
    on_data: Run, data: DataDirectory
) -> None:
    added = on_data(*CHALLENGE, "--json")
    assert added.code == 0
    row = found(data, added.document["challenge"])
    assert row is not None
    assert (row.id, row.kind, row.protocol, row.uses_left) == (
        added.document["id"],
        "scep-challenge",
        "scep",
        1,
    )
    assert row.expires_at is not None
    assert abs(row.expires_at - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
    assert row.name.startswith("challenge-")
    assert len(added.document["challenge"]) == 32
    assert found(data, added.document["challenge"].upper()) is None


@pytest.mark.parametrize(
    ("arguments", "uses", "life"),
    [
        (("--uses", "5"), 5, timedelta(hours=1)),
        (("--expires", "30d"), 1, timedelta(days=30)),
        (("--static",), None, None),
        (("--static", "--expires", "90d"), None, timedelta(days=90)),
    ],
)
def test_challenge_is_counted_and_ends_as_it_is_said(
    on_data: Run, arguments: tuple[str, ...], uses: int | None, life: timedelta | None
) -> None:
    document = on_data(*CHALLENGE, *arguments, "--json").document
    assert document["uses_left"] == uses
    if life is None:
        assert document["expires_at"] is None
    else:
        expires_at = datetime.fromisoformat(document["expires_at"])
        assert abs(expires_at - datetime.now(UTC) - life) < timedelta(minutes=1)


def test_challenge_and_secret_keep_their_bounds(on_data: Run) -> None:
    bounds = ("--endpoint", "lab", "--names", "*.Devices.Example", "--profiles", "short,long", "--json")
    for document in (
        on_data(*CHALLENGE, "--name", "line 4", *bounds).document,
        on_data(*SECRET, "--ref", "line 4", *bounds).document,
    ):
        assert (document["user"], document["endpoints"]) == ("line 4", ["lab"])
        assert (document["names"], document["profiles"]) == (["devices.example"], ["short", "long"])


def test_generated_secret_of_a_reference_is_sealed_and_shown_once(on_data: Run, data: DataDirectory) -> None:
    added = on_data(*SECRET, "--ref", "device-1", "--uses", 3, "--json").document
    assert (added["ref"], added["uses_left"], added["expires_at"]) == ("device-1", 3, None)
    assert len(added["secret"]) >= 22
    assert secret_of(data, "device-1") == added["secret"]


@pytest.mark.parametrize(
    "arguments", [(*CHALLENGE, "--static"), (*SECRET, "--ref", "device-1")], ids=["challenge", "secret"]
)
def test_secret_that_people_give_is_stored_and_not_printed(
    on_data: Run, data: DataDirectory, given: Callable[[str], None], arguments: tuple[str, ...]
) -> None:
    given(GIVEN + "\r\n")
    added = on_data(*arguments, "--secret-stdin")
    assert added.code == 0
    assert GIVEN not in added.out + added.err
    if arguments[2] == "scep-challenge":
        row = found(data, GIVEN)
        assert row is not None
        assert row.uses_left is None
    else:
        assert secret_of(data, "device-1") == GIVEN


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("short\n", "the challenge is shorter than 12 characters; choose a longer one"),
        ("", "the challenge is shorter than 12 characters; choose a longer one"),
        ("x" * 256, "the challenge must be printable and at most 255 characters long"),
        ("bell \x07 in the middle", "the challenge must be printable and at most 255 characters long"),
    ],
)
def test_given_challenge_that_clients_could_not_send_is_refused(
    on_data: Run, given: Callable[[str], None], text: str, complaint: str
) -> None:
    given(text)
    ended = on_data(*CHALLENGE, "--static", "--secret-stdin")
    assert (ended.code, ended.out, ended.err) == (1, "", f"error: {complaint}\n")


def test_same_challenge_twice_is_refused_until_the_first_is_revoked(
    on_data: Run, data: DataDirectory, given: Callable[[str], None]
) -> None:
    """Which of the two a request meant could not be told."""
    add = (*CHALLENGE, "--static", "--secret-stdin", "--json")
    given(GIVEN)
    first = on_data(*add, "--name", "old").document
    given(GIVEN)
    again = on_data(*add, "--name", "new")
    assert again.code == 1
    assert f"the credential {first['id']} of 'old' has this very challenge" in again.err
    assert on_data("credential", "revoke", "old").code == 0
    given(GIVEN)
    second = on_data(*add, "--name", "new").document
    row = found(data, GIVEN)
    assert row is not None
    assert row.id == second["id"]


def test_reference_is_unique_until_it_is_revoked(on_data: Run) -> None:
    assert on_data(*SECRET, "--ref", "device-1").code == 0
    again = on_data(*SECRET, "--ref", "device-1")
    assert (again.code, "a credential for 'device-1' exists" in again.err) == (1, True)
    assert on_data("credential", "revoke", "device-1").code == 0
    assert on_data(*SECRET, "--ref", "device-1").code == 0


def test_both_are_listed_shown_and_revoked_by_name_or_id(on_data: Run) -> None:
    challenge = on_data(*CHALLENGE, "--name", "line 4", "--json").document
    secret = on_data(*SECRET, "--ref", "device-1", "--json").document
    listed = on_data("credential", "list", "--json").document["credentials"]
    assert [(row["kind"], row["state"]) for row in listed] == [
        ("cmp-secret", "active"),
        ("scep-challenge", "active"),
    ]
    assert on_data("credential", "show", "line 4", "--json").document["id"] == challenge["id"]
    assert on_data("credential", "show", secret["id"], "--json").document["user"] == "device-1"
    assert on_data("credential", "revoke", "line 4", "--json").document["id"] == challenge["id"]
    assert on_data("credential", "revoke", "device-1", "--json").document["id"] == secret["id"]
    assert on_data("credential", "list", "--json").document["credentials"] == []


def test_secrets_are_in_no_list_and_in_no_audit_event(on_data: Run, given: Callable[[str], None]) -> None:
    challenge = on_data(*CHALLENGE, "--json").document
    secret = on_data(*SECRET, "--ref", "device-1", "--json").document
    given(GIVEN)
    on_data(*SECRET, "--ref", "device-2", "--secret-stdin")
    exported = on_data("audit", "export").out
    assert [json.loads(line)["action"] for line in exported.splitlines()] == ["credential.add"] * 3
    said = exported + on_data("credential", "list", "--json").out + on_data("credential", "list").out
    said += on_data("credential", "show", "device-1").out + on_data("credential", "show", challenge["id"]).out
    for planted in (challenge["challenge"], secret["secret"], GIVEN):
        assert planted not in said


def test_people_are_told_how_clients_take_it_without_the_secret_on_a_command_line(on_data: Run) -> None:
    added = on_data(*SECRET, "--ref", "line 4")
    assert "-ref 'line 4' -secret file:/dev/stdin" in added.out
    assert "Keep the secret now" in added.err
    challenge = on_data(*CHALLENGE)
    assert "challenge" in challenge.out
    assert "Keep the secret now" in challenge.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((*CHALLENGE, "--user", "anna"), "is not for scep-challenge"),
        ((*CHALLENGE, "--ref", "x"), "is not for scep-challenge"),
        ((*CHALLENGE, "--password-stdin"), "is not for scep-challenge"),
        ((*CHALLENGE, "--prevalidated", "a.test"), "is not for scep-challenge"),
        ((*CHALLENGE, "--secret-stdin"), "add --static to give one yourself"),
        ((*CHALLENGE, "--static", "--uses", "3"), "a static challenge has no count of uses"),
        ((*CHALLENGE, "--name", " "), "no blank at its ends"),
        (SECRET, "say the reference"),
        ((*SECRET, "--ref", ""), "1 to 128 printable"),
        ((*SECRET, "--ref", "a\x1bb"), "1 to 128 printable"),
        ((*SECRET, "--ref", "x" * 129), "1 to 128 printable"),
        ((*SECRET, "--ref", "x", "--name", "y"), "is not for cmp-secret"),
        ((*SECRET, "--ref", "x", "--static"), "is not for cmp-secret"),
        (("credential", "add", "--user", "a", "--ref", "x"), "is for cmp-secret only"),
        (("credential", "add", "--user", "a", "--static"), "is for scep-challenge only"),
    ],
)
def test_wrong_argument_of_a_challenge_or_secret_is_told(
    on_data: Run, arguments: tuple[str, ...], complaint: str
) -> None:
    ended = on_data(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in " ".join(ended.err.replace("│", " ").split())
