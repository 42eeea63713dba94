"""What policy would say of names before there is a key (RFC 8555 section 7.4: newOrder)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.names import GeneralName
from gateway.model.reasons import Reason


@dataclass(frozen=True, slots=True)
class Preview:
    """``reasons`` empty: the names would pass. A reason's ``path`` ``identity.sans[2]`` names the third one.

    ``challenges``: types by which names may be proven here, in order of the policy; ``reuse_s``: how old an
    authorization of the same account may be to count again, 0 for never. ``prevalidated``: those of the
    asked names that need no challenge, since the requester's credential stands in for it.
    """

    reasons: tuple[Reason, ...] = ()
    policy: str | None = None
    challenges: tuple[str, ...] = ()
    reuse_s: int = 0
    prevalidated: tuple[GeneralName, ...] = ()
