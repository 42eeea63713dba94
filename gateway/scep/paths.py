"""Paths of SCEP (RFC 8894 section 4.1): which endpoint a path names.

``/scep/E`` with any further suffix is the endpoint E; ``/scep`` and the fixed paths of older clients are the
endpoint ``default``. Letter case counts in the names of endpoints only.
"""

from __future__ import annotations

from gateway.scep.options import CGI_BIN, MSCEP, PKICLIENT

DEFAULT_ENDPOINT = "default"
PREFIX = "/scep"
# The path of RFC 8894 section 4.1, and that of Windows (NDES), where devices write CertSrv as well
_FIXED_PATHS = (f"/{CGI_BIN}/{PKICLIENT}", f"/certsrv/mscep/{MSCEP}")
_PREFIXES = (f"/{CGI_BIN}/", "/certsrv/", "/CertSrv/", "/CERTSRV/")
# Clients put these behind whatever URL they were given: Cisco IOS, Windows, some MDMs
KNOWN_SUFFIXES = frozenset(
    {
        PKICLIENT,
        MSCEP,
        f"{MSCEP}/{PKICLIENT}",
        f"{CGI_BIN}/{PKICLIENT}",
        f"certsrv/mscep/{MSCEP}",
        f"certsrv/mscep/{MSCEP}/{PKICLIENT}",
    }
)


def endpoint_of(path: str) -> str:
    """The name of the endpoint that a path below ``prefixes`` means, "" for a path that can mean none.

    Whether there is an endpoint of that name is not known here.
    No endpoint's name can be the first segment of a known suffix.
    """
    if not (path == PREFIX or path.startswith(f"{PREFIX}/")):
        lower = path.casefold()
        known = any(lower == fixed or lower.startswith(f"{fixed}/") for fixed in _FIXED_PATHS)
        return DEFAULT_ENDPOINT if known else ""
    rest = path[len(PREFIX) :].strip("/")
    if not rest or rest.casefold() in KNOWN_SUFFIXES:
        return DEFAULT_ENDPOINT
    return rest.partition("/")[0]


def prefixes() -> tuple[str, ...]:
    """What is served, each with whatever follows it."""
    return (PREFIX, f"{PREFIX}/", *_PREFIXES)
