"""CPU and memory of a process tree, read from /proc (proc(5))."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields 14 to 17 of /proc/PID/stat, counted from the one after the command's closing parenthesis.
_UTIME = 11


def cpu_s(pids: list[int]) -> float:
    """User and system seconds of these processes and of their children that have ended."""
    ticks = 0
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError:
            continue
        fields = stat.rpartition(")")[2].split()
        ticks += sum(int(value) for value in fields[_UTIME : _UTIME + 4])
    return ticks / _TICKS_PER_S


def pss_mib(pid: int) -> float:
    """Proportional set size: private memory plus this process's share of what it shares."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup has no Pss line")
