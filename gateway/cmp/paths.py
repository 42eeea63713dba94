"""Paths of CMP over HTTP (RFC 9811 section 3.4): which endpoint and which operation a path names."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.asn1.cmp import BodyType
from gateway.asn1.cmp_support import CA_CERTS, CERT_REQ_TEMPLATE, CRL_STATUS_LIST, ROOT_CA_CERT

PREFIX = "/.well-known/cmp"
DEFAULT_ENDPOINT = "default"
_ENDPOINT_SEGMENT = "p"

# The body that begins a transaction at a path, and what a genm there asks for.
OPERATION_BODIES: dict[str, BodyType] = {
    "initialization": BodyType.IR,
    "certification": BodyType.CR,
    "keyupdate": BodyType.KUR,
    "pkcs10": BodyType.P10CR,
    "revocation": BodyType.RR,
    "getcacerts": BodyType.GENM,
    "getrootupdate": BodyType.GENM,
    "getcertreqtemplate": BodyType.GENM,
    "getcrls": BodyType.GENM,
    "nested": BodyType.NESTED,
}
OPERATION_INFOS = {
    "getcacerts": CA_CERTS,
    "getrootupdate": ROOT_CA_CERT,
    "getcertreqtemplate": CERT_REQ_TEMPLATE,
    "getcrls": CRL_STATUS_LIST,
}
# What goes on with a transaction is sent to the path where it began.
GOING_ON = frozenset({BodyType.CERTCONF, BodyType.POLLREQ, BodyType.ERROR})


@dataclass(frozen=True, slots=True)
class CmpPath:
    """``operation`` is "" for the path without one, which takes every body."""

    endpoint: str
    operation: str = ""


def read_path(path: str) -> CmpPath | None:
    """The meaning of a path at or below ``PREFIX``; None for one that has none.

    Whether there is an endpoint of that name is not known here.
    """
    match path.removeprefix(PREFIX).strip("/").split("/"):
        case [""]:
            return CmpPath(DEFAULT_ENDPOINT)
        case [operation] if operation in OPERATION_BODIES:
            return CmpPath(DEFAULT_ENDPOINT, operation)
        case [segment, endpoint] if segment == _ENDPOINT_SEGMENT and endpoint:
            return CmpPath(endpoint)
        case [segment, endpoint, operation] if (
            segment == _ENDPOINT_SEGMENT and endpoint and operation in OPERATION_BODIES
        ):
            return CmpPath(endpoint, operation)
        case _:
            return None
