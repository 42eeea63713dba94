"""The backends that ``issue`` of a policy names, each with its place in the document."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.policy.complaints import Path
from gateway.policy.document import Policy
from gateway.policy.yaml_marks import Document


def issuing(policy: Policy, document: Document) -> Iterator[tuple[Path, str, str | None]]:
    """Path, backend and profile of all that may come to issue."""
    written = document.value.get("issue") if isinstance(document.value, dict) else None
    for index, rule in enumerate(policy.issue):
        path: Path = ("issue",) if isinstance(written, dict) else ("issue", index)
        yield (*path, "backend"), rule.backend, rule.profile
        for place, other in enumerate(rule.fallback):
            yield (
                _fallback_path(document, (*path, "fallback"), place),
                other.backend,
                other.profile or rule.profile,
            )


def _fallback_path(document: Document, path: Path, place: int) -> Path:
    """A backend may stand there by its name alone, and one of them without a list."""
    for one in ((*path, place, "backend"), (*path, place)):
        if one in document.marks:
            return one
    return path


def profile_path(path: Path) -> Path:
    """Where the profile of the backend at this path stands."""
    return (*path[:-1], "profile") if path[-1] == "backend" else path
