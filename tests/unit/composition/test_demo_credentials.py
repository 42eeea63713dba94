"""Demo credentials: there while wanted, the same at every start, never in place of a person's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.authn.sealing import seal, unseal
from gateway.authn.secrets import machine_verifier
from gateway.clock import SystemClock
from gateway.composition.demo import DemoCredentials
from gateway.model.evidence import CMP_SECRET, SCEP_CHALLENGE, CredentialKind
from gateway.quickstart import CMP_DEMO_REFERENCE, SCEP_DEMO_NAME, demo_secret
from gateway.store import credentials
from gateway.store.credentials import CredentialRow
from gateway.store.migrate import migrate
from gateway.store.store import Store
from gateway.store.unit import Unit
from tests.support.database import rows

KEY, OTHER_KEY = b"k" * 64, b"o" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'test.sqlite3'}"
    migrate(url)
    with Store(url) as opened:
        yield opened


def _row(store: Store, kind: CredentialKind, name: str) -> CredentialRow | None:
    return store.reader.read_blocking(lambda connection: credentials.by_name(connection, kind, name))


def test_challenge_of_scep_is_static_and_found_by_what_clients_send(store: Store) -> None:
    """RFC 8894 section 7.3; decisions: demo credentials are derived, so every start writes the same ones"""
    DemoCredentials(store, KEY, SystemClock()).settle_scep(wanted=True)
    row = _row(store, SCEP_CHALLENGE, SCEP_DEMO_NAME)
    assert row is not None
    assert row.verifier == machine_verifier(KEY, demo_secret(KEY, "scep"))
    assert (row.uses_left, row.expires_at, row.protocol, row.source) == (None, None, "scep", "demo")


def test_secret_of_cmp_opens_to_what_quickstart_names(store: Store) -> None:
    DemoCredentials(store, KEY, SystemClock()).settle_cmp(wanted=True)
    row = _row(store, CMP_SECRET, CMP_DEMO_REFERENCE)
    assert row is not None
    assert row.sealed is not None
    assert unseal(KEY, row.id, row.sealed).reveal() == demo_secret(KEY, "cmp").encode()
    assert (row.protocol, row.source) == ("cmp", "demo")


@pytest.mark.parametrize("protocol", ["scep", "cmp", "est", "acme"])
def test_demo_credential_is_kept_while_wanted_replaced_with_the_server_key_and_revoked_when_not(
    protocol: str, store: Store, tmp_path: Path
) -> None:
    def states() -> list[bool]:
        query = "SELECT revoked_at FROM credential ORDER BY revoked_at IS NULL"
        found = rows(f"sqlite:///{tmp_path / 'test.sqlite3'}", query)
        return [row[0] is None for row in found]

    def settle(key: bytes, *, wanted: bool) -> None:
        getattr(DemoCredentials(store, key, SystemClock()), f"settle_{protocol}")(wanted=wanted)

    settle(KEY, wanted=False)
    assert states() == []
    settle(KEY, wanted=True)
    settle(KEY, wanted=True)
    assert states() == [True]
    settle(OTHER_KEY, wanted=True)
    assert states() == [False, True]
    settle(OTHER_KEY, wanted=False)
    assert states() == [False, False]


def test_secret_that_a_person_made_under_the_same_reference_is_left_alone(store: Store) -> None:
    unit = Unit()
    theirs = CredentialRow(
        id="theirs",
        kind=CMP_SECRET,
        name=CMP_DEMO_REFERENCE,
        created_at=SystemClock().now(),
        sealed=seal(KEY, "theirs", b"their secret"),
    )
    credentials.insert(unit, theirs)
    store.recorder.commit_blocking(unit)
    demo = DemoCredentials(store, KEY, SystemClock())
    demo.settle_cmp(wanted=True)
    demo.settle_cmp(wanted=False)
    row = _row(store, CMP_SECRET, CMP_DEMO_REFERENCE)
    assert row is not None
    assert (row.id, row.revoked_at) == ("theirs", None)
