"""Mount namespaces for clients that trust nothing but the system's certificates."""

from __future__ import annotations

import os
from pathlib import Path

SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def trusting(root_pem: Path, *command: str) -> list[str]:
    """The command that runs ``command`` where the system's bundle of certificates is ``root_pem``.

    Nobody else sees it: the file is bound over the bundle in a mount namespace of this command's own. Without
    root that needs user namespaces.
    """
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    script = 'mount --bind "$0" "$1" && shift && exec "$@"'
    return [*unshare, "sh", "-c", script, str(root_pem), SYSTEM_BUNDLE, *command]
