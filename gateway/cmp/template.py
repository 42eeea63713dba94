"""What a request asked to stand in its certificate, held against what was issued: grantedWithMods."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gateway.asn1 import der, typed
from gateway.model.enrolment import RequestedIdentity
from gateway.model.names import DistinguishedName
from gateway.pki.certificate import parse_certificate
from gateway.pki.crmf_request import CrmfRequest
from gateway.pki.names import decode_name, names_match, san_sets_match
from gateway.pki.oids import SUBJECT_ALT_NAME, oid_der

_SUBJECT = 5  # after version, serialNumber, signature, issuer and validity (RFC 5280 section 4.1)
_CRITICAL = der.tlv(der.BOOLEAN, b"\xff")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for; what is None or empty was left to the CA. ``subject_der`` is the subject as sent,
    where that is at hand."""

    identity: RequestedIdentity
    subject_der: bytes | None = None
    issuer: DistinguishedName | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None

    @classmethod
    def of_template(cls, request: CrmfRequest) -> Asked:
        """Raises MalformedMessage for an issuer that is no Name."""
        template = request.message.template
        issuer = decode_name(template.issuer_der) if template.issuer_der is not None else None
        return cls(request.identity, template.subject_der, issuer, template.not_before, template.not_after)

    def changes(self, certificate_der: bytes) -> tuple[str, ...]:
        """Fields of the certificate that are not as asked for, by the names of RFC 5280."""
        if self._stands_in(certificate_der):
            return ()
        issued = parse_certificate(certificate_der)
        asked = self.identity
        there = {extension.oid: extension.value_der for extension in issued.extensions}
        changed = {
            "subject": bool(asked.subject) and not names_match(asked.subject, issued.subject),
            "issuer": bool(self.issuer) and not names_match(self.issuer or issued.issuer, issued.issuer),
            "notBefore": self.not_before not in (None, issued.not_before),
            "notAfter": self.not_after not in (None, issued.not_after),
            "subjectAltName": bool(asked.sans) and not san_sets_match(asked.sans, issued.sans),
        }
        fields = [name for name, differs in changed.items() if differs]
        fields.extend(
            f"extension {one.oid}" for one in asked.extensions if there.get(one.oid) != one.value_der
        )
        return tuple(fields)

    def _stands_in(self, certificate_der: bytes) -> bool:
        """Whether all that was asked for stands there octet by octet, which is the rule and quickly seen."""
        if self.issuer is not None or self.not_before is not None or self.not_after is not None:
            return False
        tbs = typed.fields_of(certificate_der, "certificate")[0]
        fields = typed.parts(certificate_der, tbs[2], tbs[3], "certificate")
        subject, extensions = fields[_SUBJECT], fields[-1]
        if self.identity.subject and typed.element(certificate_der, subject) != self.subject_der:
            return False
        there = typed.content(certificate_der, extensions)
        asked = [(one.oid, one.value_der) for one in self.identity.extensions]
        if self.identity.sans:
            asked.append((SUBJECT_ALT_NAME, der.sequence(*(name.der for name in self.identity.sans))))
        return all(_holds(there, oid, value_der) for oid, value_der in asked)


def _holds(extensions: bytes, oid: str, value_der: bytes) -> bool:
    value = der.tlv(der.OCTET_STRING, value_der)
    return oid_der(oid) + value in extensions or oid_der(oid) + _CRITICAL + value in extensions
