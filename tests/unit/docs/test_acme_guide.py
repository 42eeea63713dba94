"""docs/acme.md names every option and every type of problem that a client may be told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.acme.options import AcmeOptions

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs/acme.md").read_text()


@pytest.mark.parametrize("option", AcmeOptions.model_fields)
def test_every_option_of_acme_stands_in_its_guide(option: str) -> None:
    assert f"`{option}`" in GUIDE


@pytest.mark.parametrize("name", ["acme.md", "est.md", "scep.md", "cmp.md"])
def test_each_protocols_guide_tells_how_to_get_renew_and_revoke(name: str) -> None:
    text = (ROOT / "docs" / name).read_text().lower()
    assert all(word in text for word in ("## clients", "renew", "revoke", "## when something is refused"))


@pytest.mark.parametrize("name", ["acme.md", "est.md", "scep.md", "cmp.md"])
def test_readme_leads_to_each_protocols_guide(name: str) -> None:
    assert f"[docs/{name}](docs/{name})" in (ROOT / "README.md").read_text()


def test_links_between_the_guides_lead_to_files_and_headings() -> None:
    for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/policies").glob("*.md")]:
        for target, heading in re.findall(r"\]\(([^)#\s]+\.md)?(?:#([^)\s]+))?\)", file.read_text()):
            found = file if not target else (file.parent / target)
            assert found.is_file(), f"{file.name}: {target}"
            if heading:
                titles = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
                assert heading in {_slug(title) for title in titles}, f"{file.name}: {target}#{heading}"


def _slug(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
