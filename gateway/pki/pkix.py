"""The second opinion on a certification path: the complete algorithm of RFC 5280 section 6.1.

It is slower (some ms) than ``cryptography``'s verifier but takes what that refuses without need. Nothing is
fetched and revocation is not looked at. Importing this module pulls in pyhanko-certvalidator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from asn1crypto.x509 import Certificate
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from pyhanko_certvalidator.authority import CertTrustAnchor, derive_quals_from_cert
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import PathError, ValidationError
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import (
    NO_REVOCATION,
    CertRevTrustPolicy,
    DisallowWeakAlgorithmsPolicy,
    PKIXValidationParams,
)
from pyhanko_certvalidator.validate import async_validate_path

from gateway.errors import MalformedMessage
from gateway.model.keys import KeyType
from gateway.pki.certificate import parse_certificate
from gateway.pki.chain import UntrustedCertificate
from gateway.pki.keys import public_key

_MIN_RSA_BITS = 2048


def validate_path(path_der: Sequence[bytes], at: datetime) -> None:
    """Validate one path, given as DER with the leaf first and the trust anchor last.

    Dates, signatures, basic constraints, key usage, name constraints, policies and critical extensions count,
    and so do the path length and the name constraints of the anchor (RFC 5937 section 3). Raises
    UntrustedCertificate.
    """
    try:
        leaf, *issuers = map(_asn1_certificate, path_der)
        context = ValidationContext(
            trust_roots=[issuers[-1]],
            moment=at,
            allow_fetching=False,
            revinfo_policy=CertRevTrustPolicy(NO_REVOCATION),
            time_tolerance=timedelta(0),
            algorithm_usage_policy=DisallowWeakAlgorithmsPolicy(  # type: ignore[no-untyped-call]  # untyped there
                rsa_key_size_threshold=_rsa_threshold(path_der[-1])
            ),
        )
        path = ValidationPath(_anchor(issuers[-1]), reversed(issuers[:-1]), leaf)
        # Without fetching nothing in it ever waits, so one step carries it through, inside a running loop too
        validation = async_validate_path(context, path, PKIXValidationParams())
        try:
            validation.send(None)
        except StopIteration:
            return
        finally:
            validation.close()
    except (PathError, ValidationError, InvalidSignature, UnsupportedAlgorithm, MalformedMessage) as exc:
        raise UntrustedCertificate(f"the path to its CA breaks a rule of RFC 5280: {exc}") from exc
    except (ValueError, TypeError, KeyError, NotImplementedError) as exc:
        raise UntrustedCertificate("a certificate of its path cannot be read", detail=str(exc)) from exc
    raise UntrustedCertificate("its path could not be validated without waiting for somebody")


def _anchor(certificate: Certificate) -> CertTrustAnchor:
    """The anchor with the limits that it sets itself, but without its policies: nobody here asks for any.

    The default parameters must be passed beside them, else a limit on one kind of name forbids the others.
    """
    qualifiers = derive_quals_from_cert(certificate)
    parameters = qualifiers.standard_parameters
    if parameters is not None:
        parameters = replace(
            parameters, user_initial_policy_set=frozenset({"any_policy"}), initial_explicit_policy=False
        )
    return CertTrustAnchor(certificate, replace(qualifiers, standard_parameters=parameters))


def _asn1_certificate(certificate_der: bytes) -> Certificate:
    # asn1crypto has no types
    certificate: Certificate = Certificate.load(certificate_der, strict=True)  # type: ignore[no-untyped-call]
    return certificate


def _rsa_threshold(anchor_der: bytes) -> int:
    """An anchor with a short RSA key was believed by whoever configured it; its path needs no better keys."""
    anchor_key = public_key(parse_certificate(anchor_der).spki_der)
    return min(_MIN_RSA_BITS, anchor_key.size_bits) if anchor_key.type is KeyType.RSA else _MIN_RSA_BITS
