"""Namespaces of Linux: mounts for clients that trust nothing but the system's certificates, networks for
tests that need an address which this host may not have."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_CLONE_NEWNET = 0x4000_0000
# linux/sockios.h; each takes an ifreq: the interface's name and 24 bytes that depend on the request.
_SIOCSIFFLAGS, _SIOCSIFADDR = 0x8914, 0x8916
_IFF_UP = 0x1


def trusting(root_pem: Path, *command: str) -> list[str]:
    """The command that runs ``command`` where the system's bundle of certificates is ``root_pem``.

    Nobody else sees it: the file is bound over the bundle in a mount namespace of this command's own. Without
    root that needs user namespaces.
    """
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    script = 'mount --bind "$0" "$1" && shift && exec "$@"'
    return [*unshare, "sh", "-c", script, str(root_pem), SYSTEM_BUNDLE, *command]


@contextlib.contextmanager
def network_of_its_own(address: str) -> Iterator[None]:
    """Put this thread, and those that it starts, into a new network: loopback and this IPv4 address, no more.

    Sockets that were opened before stay where they are. Raises PermissionError where this process may not
    (that takes root, with the right to make namespaces).
    """
    # Python 3.11 has neither unshare nor setns.
    libc = ctypes.CDLL(None, use_errno=True)

    def checked(result: int) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    with Path("/proc/thread-self/ns/net").open("rb") as before:
        checked(libc.unshare(_CLONE_NEWNET))
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))
                named = struct.pack("16sH2x4s16x", b"lo:0", socket.AF_INET, socket.inet_aton(address))
                fcntl.ioctl(control, _SIOCSIFADDR, named)
            yield
        finally:
            checked(libc.setns(before.fileno(), _CLONE_NEWNET))
