"""tls-alpn-01: a TLS server shows a certificate made for the challenge (RFC 8737, RFC 8738 section 6)."""

from __future__ import annotations

import hashlib
import hmac
from ipaddress import ip_address

from gateway.acme.proof import Evidence, Networks, ValidationFault, from_outbound, incorrect
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.errors import MalformedMessage
from gateway.outbound.faults import OutboundFault, shown
from gateway.outbound.network import Network
from gateway.pki.certificate import ParsedCertificate, parse_certificate

PROTOCOL = "acme-tls/1"
ACME_IDENTIFIER = "1.3.6.1.5.5.7.1.31"  # id-pe-acmeIdentifier (RFC 8737 section 3)
_OCTETS_32 = b"\x04\x20"  # Authorization ::= OCTET STRING (SIZE (32))
_MAX_SHOWN = 3


async def look(network: Network, row: AuthorizationRow, allowed: Networks, timeout_s: float) -> Evidence:
    """Shake hands and judge the certificate. Raises ValidationFault."""
    try:
        probed = await network.probe_tls(
            row.name,
            server_name=server_name(row),
            protocol=PROTOCOL,
            allowed=allowed,
            timeout_s=timeout_s,
        )
    except OutboundFault as fault:
        raise from_outbound(fault, f"asking {row.name} by TLS for {PROTOCOL}") from fault
    where = f"{row.name} at {probed.peer}"
    if probed.protocol != PROTOCOL:
        # RFC 8737 3: the server verifies that acme-tls/1 was negotiated
        raise ValidationFault(
            "tls",
            f"{where} did not agree to ALPN {PROTOCOL}, so it is no server that answers tls-alpn-01",
            passing=False,
        )
    try:
        certificate = parse_certificate(probed.leaf_der)
    except MalformedMessage as fault:
        raise incorrect(f"{where} has a certificate that cannot be read: {fault}") from fault
    _judge(row, certificate, where)
    return {
        "addresses": [probed.peer],
        "tls": probed.tls_version,
        "resolver": probed.server,
        "certificate_sha256": certificate.sha256,
    }


def server_name(row: AuthorizationRow) -> str:
    """The SNI: the name itself, or of an address its name under in-addr.arpa or ip6.arpa (RFC 8738 6)."""
    return ip_address(row.name).reverse_pointer if row.kind == "ip" else row.name


def _judge(row: AuthorizationRow, certificate: ParsedCertificate, where: str) -> None:
    names = [f"{name.kind}:{name.value}" for name in certificate.sans]
    if names != [f"{row.kind}:{row.name}"]:
        # RFC 8737 3: the name being validated and no other entries
        told = ", ".join(shown(name, 80) for name in names[:_MAX_SHOWN]) or "no names"
        raise incorrect(
            f"{where} has a certificate for [{told}]{' and more' if len(names) > _MAX_SHOWN else ''}; "
            f"it must be for {row.kind}:{row.name} alone"
        )
    found = next((one for one in certificate.extensions if one.oid == ACME_IDENTIFIER), None)
    if found is None or not found.critical:
        raise incorrect(f"{where} has a certificate without a critical acmeIdentifier extension")
    digest = hashlib.sha256((row.key_authorization or "").encode("ascii")).digest()
    if not hmac.compare_digest(found.value_der, _OCTETS_32 + digest):
        raise incorrect(
            f"{where} has a certificate with the digest of another key authorization; make it for this token "
            "and account key"
        )
