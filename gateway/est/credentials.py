"""Credentials of an EST request as presented: Basic (RFC 7617) and the TLS client certificate.

RFC 7030 sections 3.2.3 and 3.3.2. Nothing is verified here.
"""

from __future__ import annotations

import binascii

from gateway.errors import GatewayError
from gateway.http.message import HttpRequest
from gateway.model.evidence import (
    MTLS,
    CredentialKind,
    PresentedCertificate,
    PresentedCredential,
    PresentedPassword,
    SecretBytes,
)
from gateway.model.names import CN_OID
from gateway.model.reasons import ReasonCode
from gateway.pki.csr import ParsedCsr

_MAX_USER_CHARACTERS = 256


def presented_credentials(
    request: HttpRequest, certificate_kind: CredentialKind = MTLS
) -> tuple[PresentedCredential, ...]:
    """Everything presented, the certificate first.

    A malformed Authorization header is a failed credential, never an absent one. Raises GatewayError with
    ``auth.failed`` or ``auth.kind``.
    """
    out: list[PresentedCredential] = []
    if request.tls is not None and request.tls.chain_der:
        out.append(PresentedCertificate(request.tls.chain_der, certificate_kind))
    password = presented_password(request)
    if password is not None:
        out.append(password)
    return tuple(out)


def presented_password(request: HttpRequest) -> PresentedPassword | None:
    """User and password of the Authorization header, None without one. The password may be empty."""
    values = request.header_values(b"authorization")
    if not values:
        return None
    if len(values) > 1:
        raise _failed("there is more than one Authorization header")
    scheme, _, parameter = values[0].partition(" ")
    if scheme.lower() != "basic":
        raise GatewayError(
            "of the HTTP authentication schemes only Basic is taken here", code=ReasonCode.AUTH_KIND
        )
    try:
        pair = binascii.a2b_base64(parameter.strip(" ").encode("latin-1"), strict_mode=True)
    except binascii.Error as error:
        raise _failed("the Basic credentials are not base64") from error
    user_octets, colon, password = pair.partition(b":")
    if not colon:
        raise _failed("the Basic credentials hold no colon between user and password")
    try:
        user = user_octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _failed("the user name is not UTF-8") from error
    if len(user) > _MAX_USER_CHARACTERS or not (user.isprintable() or user == ""):
        # RFC 7617 section 2: no control characters in user and password
        raise _failed("the user name is too long or holds control characters")
    return PresentedPassword(user, SecretBytes(password))


def challenge_credential(csr: ParsedCsr) -> tuple[PresentedPassword, ...]:
    """The challengePassword as the secret of the user named by the CSR's only CN; nothing without both."""
    names = csr.subject.values(CN_OID)
    if csr.challenge_password is None or len(names) != 1 or len(names[0]) > _MAX_USER_CHARACTERS:
        return ()
    return (PresentedPassword(names[0], SecretBytes(csr.challenge_password)),)


def _failed(text: str) -> GatewayError:
    return GatewayError(text, code=ReasonCode.AUTH_FAILED)
