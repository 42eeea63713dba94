"""What a request asked to stand in its certificate, held against what was issued: grantedWithMods."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gateway.model.enrolment import RequestedIdentity
from gateway.model.names import DistinguishedName
from gateway.pki.certificate import parse_certificate
from gateway.pki.crmf_request import CrmfRequest
from gateway.pki.names import decode_name, names_match, san_sets_match


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for; what is None or empty was left to the CA."""

    identity: RequestedIdentity
    issuer: DistinguishedName | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None

    @classmethod
    def of_template(cls, request: CrmfRequest) -> Asked:
        """Raises MalformedMessage for an issuer that is no Name."""
        template = request.message.template
        issuer = decode_name(template.issuer_der) if template.issuer_der is not None else None
        return cls(request.identity, issuer, template.not_before, template.not_after)

    def changes(self, certificate_der: bytes) -> tuple[str, ...]:
        """Fields of the certificate that are not as asked for, by the names of RFC 5280."""
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
