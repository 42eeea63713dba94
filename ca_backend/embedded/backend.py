"""The embedded CA as a CA backend: signs in this process, answers at once (RFC 5280)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import timedelta

from ca_backend.api import (
    BackendContext,
    CaAnswer,
    CaIssued,
    CaRefused,
    CertificateAuthority,
    CrlRequest,
    IssuanceOrder,
    RetryClass,
)
from ca_backend.embedded import extensions as ext
from ca_backend.embedded.crl import certificate_list
from ca_backend.embedded.cross_certificates import CrossChains
from ca_backend.embedded.hierarchy import (
    ROOT,
    CaCertificate,
    Hierarchy,
    IssuingCa,
    open_root_signer,
    published_name,
)
from ca_backend.embedded.options import EmbeddedOptions
from ca_backend.embedded.template import (
    OWN_EXTENSIONS,
    IssuerFields,
    ProfileShape,
    TbsTemplate,
    tbs_certificate,
)
from gateway.errors import ConfigurationError, MalformedMessage
from gateway.model.certificate import RevocationReason
from gateway.model.enrolment import CertificatePlan
from gateway.model.keys import KeyType

_MAX_TEMPLATES = 256  # shapes come from policies; the bound is for policies that copy client extensions
_SOON = timedelta(days=90)


class _Issuer:
    """One issuing CA with its compiled templates."""

    __slots__ = ("_fields", "_serial_key", "_templates", "ca", "chain_der")

    def __init__(self, ca: IssuingCa, root: CaCertificate, fields: IssuerFields) -> None:
        self.ca = ca
        self.chain_der = (ca.certificate.certificate_der, root.certificate_der)
        self._fields = fields
        self._serial_key = _serial_key(ca)
        self._templates: dict[ProfileShape, TbsTemplate] = {}

    def body(self, plan: CertificatePlan) -> bytes:
        """What follows the serial number in the TBSCertificate. Raises like ``TbsTemplate``."""
        shape = ProfileShape(plan.key_usage, plan.extended_key_usage, plan.extensions, plan.without)
        template = self._templates.get(shape)
        if template is None:
            template = TbsTemplate(self._fields, shape)
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            self._templates[shape] = template
        return template.body(plan)

    def sign(self, order_id: str, body: bytes) -> bytes:
        """The certificate with its serial number: 159 bits that nobody can foretell without the CA's key.

        They come from a keyed hash of the order and of all that is signed, so that the same order gives the
        same certificate in every worker and after a restart, and another plan never the same serial number.
        """
        digest = hmac.digest(self._serial_key, order_id.encode() + b"\0" + body, "sha256")
        tbs = tbs_certificate(int.from_bytes(digest[:20], "big") >> 1, body)
        signer = self.ca.signer
        return ext.signed(tbs, signer.algorithm_der, signer.sign(tbs))


def _serial_key(ca: IssuingCa) -> bytes:
    """A secret for serial numbers. Deterministic signatures give one that every worker shares."""
    if ca.signer.public_key.type in (KeyType.RSA, KeyType.EC, KeyType.ED25519):
        return hashlib.sha256(ca.signer.sign(b"pkigate serial number key, version 1")).digest()
    return secrets.token_bytes(32)


class EmbeddedBackend:
    """Signs by template: inline with a fast key, in a thread with a slow one.

    ``retry`` is idempotent: an order that is sent again gives the same bytes (with an ML-DSA key: the same
    serial number, while the process lives). Abilities: ``CanSignCrl``, ``CanHealth``, ``CanRevoke``.
    """

    retry = RetryClass.IDEMPOTENT
    needs_csr = False
    signs_in_process = True

    def __init__(
        self, options: EmbeddedOptions, context: BackendContext, hierarchy: Hierarchy, cross: CrossChains
    ) -> None:
        self.name = context.name
        self._options = options
        self._context = context
        self._hierarchy = hierarchy
        self._cross = cross
        self._issuers = {
            name: _Issuer(
                ca,
                hierarchy.root,
                IssuerFields(
                    ca.certificate.subject_der,
                    ca.certificate.key_identifier,
                    ca.signer.algorithm_der,
                    context.urls(published_name(context.name, name)),
                ),
            )
            for name, ca in hierarchy.issuing.items()
        }
        self._default = self._issuers[options.default_issuing_name]
        self._ca_keys = frozenset(
            [hierarchy.root.spki_der, *(ca.certificate.spki_der for ca in hierarchy.issuing.values())]
        )

    async def issue(self, order: IssuanceOrder) -> CaAnswer:
        """Sign what the plan says, by the issuing CA that ``profile`` names."""
        issuer = self._default if order.profile is None else self._issuers.get(order.profile)
        if issuer is None:
            return CaRefused(
                "profile",
                f"there is no issuing CA {order.profile!r}; known are {', '.join(sorted(self._issuers))}",
            )
        refused = self._refusal(order.plan, issuer)
        if refused is not None:
            return refused
        try:
            body = issuer.body(order.plan)
        except KeyError as error:
            return CaRefused("key-usage", f"{error.args[0]!r} is no key usage of RFC 5280 section 4.2.1.3")
        except (ValueError, MalformedMessage) as error:
            return CaRefused("plan", f"the certificate cannot be encoded: {error}")
        if issuer.ca.signer.slow:
            certificate_der = await asyncio.to_thread(issuer.sign, order.order_id, body)
        else:
            certificate_der = issuer.sign(order.order_id, body)
        return CaIssued(certificate_der, issuer.chain_der)

    async def chain(self) -> tuple[bytes, ...]:
        """Default issuing CA and root."""
        return self._default.chain_der

    def alternate_chains(self, chain_der: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], ...]:
        """One for each cross-certificate of a CA in ``chain_der``."""
        return self._cross.alternates(chain_der, self._context.clock.now())

    def authorities(self) -> tuple[CertificateAuthority, ...]:
        """Default issuing CA first, root last."""
        default = self._options.default_issuing_name
        names = [default, *(name for name in self._issuers if name != default)]
        return (
            *(self._authority(name, self._issuers[name].ca.certificate) for name in names),
            self._authority(ROOT, self._hierarchy.root),
        )

    async def sign_crl(self, request: CrlRequest) -> bytes:
        """The CRL of one of our CAs, built and signed in a thread. Raises ConfigurationError."""
        return await asyncio.to_thread(self._sign_crl, request)

    async def revoke(self, serial: int, reason: RevocationReason) -> None:
        """Nothing to tell: the gateway's record is the truth that the next CRL is made from."""

    async def health(self) -> Mapping[str, str]:
        """Each CA and cross-certificate with "ok" or until when it is valid, from 90 days before its end."""
        now = self._context.clock.now()
        ends = {name: issuer.ca.certificate.not_after for name, issuer in self._issuers.items()}
        ends[ROOT] = self._hierarchy.root.not_after
        ends |= {f"cross-certificate {chain.file.name}": chain.not_after for chain in self._cross.chains}
        return {name: _lifetime(end - now, f"{end:%Y-%m-%d}") for name, end in ends.items()}

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _refusal(self, plan: CertificatePlan, issuer: _Issuer) -> CaRefused | None:
        """What no certificate of this CA may be, whatever policy said."""
        end = issuer.ca.certificate.not_after
        if plan.not_after > end:
            return CaRefused(
                "validity",
                f"the certificate would be valid until {plan.not_after:%Y-%m-%d}, longer than its issuer "
                f"(until {end:%Y-%m-%d}); shorten the policy's validity or renew the issuing CA",
            )
        if plan.not_after <= plan.not_before:
            return CaRefused("validity", "the certificate would end before it begins")
        if plan.spki_der in self._ca_keys:
            return CaRefused("key", "the public key is that of a CA of this gateway")
        if not plan.subject and not plan.sans:
            return CaRefused("names", "the certificate would name nobody")  # RFC 5280 section 4.1.2.6
        if "keyCertSign" in plan.key_usage or "cRLSign" in plan.key_usage:
            # RFC 5280 section 4.2.1.3: keyCertSign only together with CA:TRUE
            return CaRefused("key-usage", "an end entity's key may sign neither certificates nor CRLs")
        oids = [extension.oid for extension in plan.extensions]
        if len(set(oids)) != len(oids) or not OWN_EXTENSIONS.isdisjoint(oids):
            return CaRefused("extensions", "an extension would stand twice in the certificate")
        return None

    def _authority(self, name: str, certificate: CaCertificate) -> CertificateAuthority:
        return CertificateAuthority(
            published_name(self.name, name),
            certificate.certificate_der,
            hashlib.sha256(certificate.spki_der).hexdigest(),
            name if name in self._issuers else None,
        )

    def _sign_crl(self, request: CrlRequest) -> bytes:
        wanted = request.ca_name or published_name(self.name, self._options.default_issuing_name)
        if wanted == published_name(self.name, ROOT):
            root = self._hierarchy.root
            signer = open_root_signer(self._hierarchy, self._options, self._context)
            return certificate_list(request, root.subject_der, root.key_identifier, signer)
        for name, issuer in self._issuers.items():
            if wanted == published_name(self.name, name):
                ca = issuer.ca.certificate
                return certificate_list(request, ca.subject_der, ca.key_identifier, issuer.ca.signer)
        raise ConfigurationError(f"the backend {self.name} has no CA that is published as {wanted!r}")


def _lifetime(left: timedelta, end: str) -> str:
    if left <= timedelta():
        return f"expired on {end}"
    return f"expires on {end}" if left < _SOON else "ok"
