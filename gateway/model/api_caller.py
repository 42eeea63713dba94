"""Who calls the REST API, and what that token is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.model.permissions import Permission


@dataclass(frozen=True, slots=True)
class ApiCaller:
    """A token that stood up to verification. Made only in ``gateway.authn``.

    ``endpoints`` None: all. ``groups``: those of the credentials that it makes; empty: any. ``name`` is what
    people call the token.
    """

    token_id: str
    name: str
    permissions: frozenset[Permission]
    endpoints: tuple[str, ...] | None
    groups: tuple[str, ...] = ()

    @property
    def actor(self) -> str:
        """Who it is in the audit."""
        return f"api-token:{self.token_id}"

    def reaches(self, endpoints: Sequence[str] | None) -> bool:
        """Whether a credential for these endpoints, None for all, is the token's business."""
        if self.endpoints is None:
            return True
        return endpoints is not None and set(endpoints) <= set(self.endpoints)
