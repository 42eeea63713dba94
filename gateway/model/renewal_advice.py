"""When somebody who asks is told to renew a certificate (RFC 9773)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RenewalAdvice:
    """``opens_at``: from then on its policy wants it renewed; None: the policy does not say.
    ``offered``: whether it wants that told."""

    opens_at: datetime | None = None
    offered: bool = True
