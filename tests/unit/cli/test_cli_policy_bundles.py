"""``pkigate policy activate|rollback|history|show|fmt`` on a real database and real files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.policy.format import format_text
from gateway.policy.sources import read_sources
from tests.unit.cli.conftest import Run

HOUSE = """\
# The house.
apiVersion: pkigate/v1
kind: Backend
metadata: {{name: embedded}}
type: embedded
---
apiVersion: pkigate/v1
kind: Endpoint
metadata: {{name: default}}
protocol: est
backend: embedded
---
apiVersion: pkigate/v1
kind: Policy
metadata: {{name: devices}}
priority: {priority}
match: {{protocol: est, operation: enroll}}
authenticate: {{basic: {{}}}}
keys: {{ec: [P-256]}}
names: {{subject: first-dns, dns: {{suffix: [test]}}}}
validity: {{default: 90d}}
issue: {{backend: embedded}}
"""
Write = Callable[[int], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a policy directory that differs by the number."""

    def written(priority: int) -> Path:
        directory = tmp_path / f"policies-{priority}"
        directory.mkdir()
        (directory / "house.yaml").write_text(HOUSE.format(priority=priority))
        return directory

    return written


def test_activated_bundle_is_in_the_history_with_who_and_why(
    on_data: Run, write: Write, tmp_path: Path
) -> None:
    first = on_data("policy", "activate", write(1), "--note", "the first", "--revision", "r1", "--json")
    assert first.code == 0, first.err
    assert first.document["changed"] is True
    assert first.document["previous"] is None
    again = on_data("policy", "activate", tmp_path / "policies-1", "--json")
    assert again.document == {
        "active": first.document["active"],
        "previous": first.document["active"],
        "changed": False,
    }
    (entry,) = on_data("policy", "history", "--json").document["activations"]
    assert (entry["sha256"], entry["active"]) == (first.document["active"], True)
    assert (entry["how"], entry["note"], entry["revision"]) == ("activate", "the first", "r1")
    assert entry["by"].startswith("cli:")


def test_rollback_goes_back_by_steps_and_by_name(on_data: Run, write: Write) -> None:
    names = [
        on_data("policy", "activate", write(number), "--json").document["active"] for number in (1, 2, 3)
    ]
    back = on_data("policy", "rollback", "--json")
    assert back.document == {"active": names[1], "previous": names[2], "changed": True}
    # The last activation was the rollback itself, so one step back is what it replaced.
    assert on_data("policy", "rollback", "--json").document["active"] == names[2]
    assert on_data("policy", "rollback", names[0][:8], "--json").document["active"] == names[0]
    assert on_data("policy", "rollback", "--steps", 5, "--json").document["active"] == names[0]
    listed = on_data("policy", "history")
    assert listed.out.count("rollback") == 3
    assert on_data("policy", "rollback", "--steps", 6).code == 3
    assert on_data("policy", "rollback", names[0], "--steps", 1).code == 2
    assert on_data("policy", "rollback", "0000").code == 3
    assert on_data("policy", "rollback", "%").code == 3


def test_bad_files_are_not_activated(on_data: Run, write: Write) -> None:
    good = on_data("policy", "activate", write(1), "--json").document["active"]
    directory = write(2)
    (directory / "house.yaml").write_text(HOUSE.format(priority="soon"))
    ended = on_data("policy", "activate", directory)
    assert ended.code == 1
    assert "house.yaml:16:11: priority:" in ended.err
    assert on_data("policy", "history", "--json").document["active"] == good


def test_stored_bundle_is_shown_as_written_and_as_documents_that_load(
    on_data: Run, write: Write, tmp_path: Path
) -> None:
    name = on_data("policy", "activate", write(7), "--json").document["active"]
    assert on_data("policy", "show").out == "# house.yaml\n" + HOUSE.format(priority=7)
    shown = on_data("policy", "show", name[:10], "--documents").out
    assert "priority: 7\n" in shown
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "all.yaml").write_text(shown)
    assert format_text("all.yaml", shown) == shown
    same = on_data("policy", "activate", tmp_path / "shown", "--json").document
    assert same == {"active": name, "previous": name, "changed": False}
    document = on_data("policy", "show", "active", "--json").document
    assert [one["kind"] for one in document["documents"]] == ["Backend", "Endpoint", "Policy"]


def test_show_without_any_bundle_says_what_to_do(on_data: Run) -> None:
    ended = on_data("policy", "show")
    assert (ended.code, "no bundle is active yet" in ended.err) == (3, True)


UNTIDY = "kind: Backend\napiVersion: 'pkigate/v1'  # it\nmetadata:   {name: \"embedded\"}\ntype: embedded\n"
TIDY = "apiVersion: pkigate/v1    # it\nkind: Backend\nmetadata: {name: embedded}\ntype: embedded\n"


def test_layout_is_shown_checked_and_written(pkigate: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(UNTIDY)
    file.chmod(0o640)
    shown = pkigate("policy", "fmt", file)
    assert (shown.code, "+metadata: {name: embedded}" in shown.out, file.read_text()) == (0, True, UNTIDY)
    assert (pkigate("policy", "fmt", file, "--check").code, file.read_text()) == (1, UNTIDY)
    assert (pkigate("policy", "fmt", tmp_path, "--write").out, file.read_text()) == ("a.yaml\n", TIDY)
    assert oct(file.stat().st_mode & 0o777) == "0o640"
    assert pkigate("policy", "fmt", tmp_path, "--check").code == 0
    assert pkigate("policy", "fmt", file, "--check", "--write").code == 2


def test_layout_of_a_text_that_cannot_be_read_is_refused_and_the_others_are_done(
    pkigate: Run, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text("kind: [\n")
    (tmp_path / "b.yaml").write_text(UNTIDY)
    ended = pkigate("policy", "fmt", tmp_path, "--write")
    assert (ended.code, "a.yaml:2:1: this is not YAML" in ended.err) == (1, True)
    assert (tmp_path / "a.yaml").read_text() == "kind: [\n"
    assert (tmp_path / "b.yaml").read_text() == TIDY


ROOT = Path(__file__).resolve().parents[3]
SHIPPED = [
    source
    for directory in sorted({file.parent for file in (ROOT / "policies").rglob("*.yaml")})
    for source in read_sources(directory)
]


@pytest.mark.parametrize("source", SHIPPED, ids=lambda source: str(source.name))
def test_shipped_policies_are_in_the_canonical_layout(source: object) -> None:
    assert format_text(source.name, source.text) == source.text  # type: ignore[attr-defined]  # a PolicySource


def test_difference_between_files_and_stored_bundles_is_told(
    on_data: Run, write: Write, tmp_path: Path
) -> None:
    one, two = write(1), write(2)
    name = on_data("policy", "activate", one, "--json").document["active"]
    same = on_data("policy", "diff", "active", one)
    assert (same.code, same.out) == (0, "Nothing changes.\n")
    other = on_data("policy", "diff", name[:9], two)
    assert (other.code, other.out) == (1, "~ Policy devices changed\n    priority: 1 -> 2\n")
    document = on_data("policy", "diff", one, two, "--json").document
    assert document["same"] is False
    assert document["documents"][0]["keys"] == [{"path": "priority", "before": 1, "after": 2}]
    assert on_data("policy", "diff", "fedcba", two).code == 3
    assert on_data("policy", "diff", tmp_path / "nothing", two).code == 3
