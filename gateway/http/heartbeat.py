"""Signs of life: memory that supervisor and workers share, in which each worker notes when it last turned."""

from __future__ import annotations

import faulthandler
import mmap
import struct
import time

BEAT_S = 1.0
_MOMENT = struct.Struct("d")


class Heartbeats:
    """One place per slot. Made before the fork; times are those of the machine's monotonic clock."""

    def __init__(self, slots: int) -> None:
        self._shared = mmap.mmap(-1, slots * _MOMENT.size)

    def beat(self, slot: int) -> None:
        _MOMENT.pack_into(self._shared, slot * _MOMENT.size, time.monotonic())

    def last(self, slot: int) -> float:
        """When this slot last beat, 0.0 if it never did."""
        moment: float = _MOMENT.unpack_from(self._shared, slot * _MOMENT.size)[0]
        return moment

    def close(self) -> None:
        self._shared.close()


def show_threads_after(silence_s: float) -> None:
    """Unless called again before, write every thread's stack to standard error: what hangs, and where."""
    faulthandler.cancel_dump_traceback_later()
    faulthandler.dump_traceback_later(silence_s)
