"""GetCACert (RFC 8894 section 4.2): the certificates that clients encrypt to, verify with and trust."""

from __future__ import annotations

from gateway.errors import BackendUnavailable
from gateway.frontend import Services
from gateway.model.ids import EndpointName
from gateway.pki.cms import certs_only
from gateway.scep.options import SCEP, ScepSettings

ONE_CERTIFICATE = "application/x-x509-ca-cert"
SEVERAL_CERTIFICATES = "application/x-x509-ca-ra-cert"


async def ca_certificates(
    services: Services, endpoint: EndpointName, settings: ScepSettings
) -> tuple[bytes, ...]:
    """The DER certificates to answer with, each once: RA, issuing CA, further CAs, root.

    Clients that do not look at key usages take the first one as the one to encrypt to. Raises
    BackendUnavailable and StoreUnavailable.
    """
    chain = await services.ca_information.ca_certificates(SCEP, endpoint)
    if not chain:
        raise BackendUnavailable("the CA certificates of this endpoint are not known yet")
    if settings.ca_certificates == "ca":
        return chain[:1]
    identity, *_ = await services.ca_information.identities(SCEP, endpoint)
    wanted = chain if settings.ca_certificates == "chain" else chain[:1]
    # An administrator's identity may be the CA itself.
    return tuple(dict.fromkeys((identity.certificate_der, *wanted)))


def certificates_body(certificates: tuple[bytes, ...]) -> tuple[str, bytes]:
    """Content-Type and body: one certificate as it is (section 4.2.1.1), several as certs-only message
    (section 4.2.1.2) in the given order."""
    if len(certificates) == 1:
        return ONE_CERTIFICATE, certificates[0]
    return SEVERAL_CERTIFICATES, certs_only(certificates)
