"""Who holds a lease: one worker process, which knows those of its predecessors that are dead."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

_SEPARATOR = "/"
_TOKEN_BYTES = 8


def new_token() -> str:
    """A name that nobody else has."""
    return secrets.token_hex(_TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class Holder:
    """``place`` belongs to one run of the gateway as long as any process of it lives
    (``datadir.supervisor_lock``), ``run`` names that run, and a ``slot`` is filled anew only when the
    supervisor has reaped who had it. ``worker`` is made in the process itself. None of them is a process id,
    which may come again, nor stands in a file that could be copied.
    """

    place: str = field(default_factory=new_token)
    run: str = field(default_factory=new_token)
    slot: int = 0
    worker: str = field(default_factory=new_token)

    @property
    def name(self) -> str:
        """What stands in the database as the owner of a lease."""
        return _SEPARATOR.join((self.place, self.run, str(self.slot), self.worker))

    def outlived(self, owner: str) -> bool:
        """Whether the process of this name is dead for certain, since this one lives in its place."""
        parts = owner.split(_SEPARATOR)
        if len(parts) != 4:
            return False
        place, run, slot, worker = parts
        if place != self.place:
            return False
        return run != self.run or (slot == str(self.slot) and worker != self.worker)
