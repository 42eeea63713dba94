"""The bundle that decides now. Swapped as a whole; a request keeps the one that it began with."""

from __future__ import annotations

from gateway.enrolment.active_lists import ActiveLists
from gateway.policy.rules import Bundle

DEFAULT_GRACE_S = 600


class ActiveBundle:
    """Holds the active bundle and the content of its lists; ``problem`` says why a newer one could not be
    taken, or is empty."""

    def __init__(self, bundle: Bundle) -> None:
        self.current = bundle
        self.lists = ActiveLists(bundle.lists)
        self.problem = ""

    def activate(self, bundle: Bundle) -> None:
        self.current = bundle
        self.lists.take(bundle.lists)
        self.problem = ""

    def grace_s(self, protocol: str, endpoint: str) -> int:
        """How long a closed request of this endpoint answers repeats, in seconds."""
        compiled = self.current.endpoints.get((protocol, endpoint))
        return DEFAULT_GRACE_S if compiled is None else compiled.grace_s
