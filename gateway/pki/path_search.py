"""The search for certification paths by name and signature (RFC 5280 section 6.1.2 leaves it open).

It gives candidates in the order of their likelihood, bounded in depth and work; dates, constraints and usages
are checked elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from gateway.errors import MalformedMessage
from gateway.model.names import DistinguishedName
from gateway.pki import oids
from gateway.pki.certificate import ParsedCertificate, parse_certificate
from gateway.pki.names import comparable_name

MAX_DEPTH = 8  # certificates between leaf and anchor
_MAX_SIGNATURE_CHECKS = 64
_SHOWN_NAME = 200
_NAME = "{}"  # where the name of a CA stands in an obstacle


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate that a path may go through, as we read it and as ``cryptography`` does."""

    parsed: ParsedCertificate
    loaded: x509.Certificate


def read_candidate(certificate_der: bytes) -> Candidate:
    """Read a certificate in both ways. Raises MalformedMessage."""
    parsed = parse_certificate(certificate_der)
    try:
        return Candidate(parsed, x509.load_der_x509_certificate(certificate_der))
    except ValueError as exc:
        raise MalformedMessage("the certificate cannot be read", detail=str(exc)) from exc


class PathSearch:
    """Paths of matching names and true signatures from a leaf up to an anchor, and what stood in the way."""

    def __init__(self, given: Sequence[Candidate], anchors: Sequence[Candidate]) -> None:
        self._anchor_sha256s = {anchor.parsed.sha256 for anchor in anchors}
        # Made once: whoever sends long names and many certificates would have them compared over and over
        self._named = tuple((one, comparable_name(one.parsed.subject)) for one in (*anchors, *given))
        self._issuers: dict[str, tuple[object, ...]] = {}
        self._checks_left = _MAX_SIGNATURE_CHECKS
        self._obstacle = ("no path leads to a trusted CA", DistinguishedName())

    def paths(self, path: tuple[Candidate, ...]) -> Iterator[tuple[Candidate, ...]]:
        """Every path that goes on from this one, leaf first, within the bounds of depth and work."""
        child = path[-1].parsed
        if len(path) > 1 and child.sha256 in self._anchor_sha256s:
            yield path
            return
        if len(path) > MAX_DEPTH + 1:
            self._obstacle = (f"its path is longer than {MAX_DEPTH} CAs", DistinguishedName())
            return
        taken = {step.parsed.sha256 for step in path}
        wanted = self._issuers.get(child.sha256)
        if wanted is None:
            wanted = self._issuers[child.sha256] = comparable_name(child.issuer)
        named = [one for one, name in self._named if name == wanted and one.parsed.sha256 not in taken]
        if not named:
            self._obstacle = (f"no CA of the name {_NAME} is trusted here or was sent along", child.issuer)
        for issuer in named:
            obstacle = self._obstacle_between(path[-1], issuer)
            if obstacle:
                self._obstacle = (obstacle, issuer.parsed.subject)
            else:
                yield from self.paths((*path, issuer))

    def obstacle(self) -> str:
        """What stood in the way last, for people. Names are written only here: long ones take their time."""
        text, name = self._obstacle
        return text.replace(_NAME, shown_name(str(name)))

    def _obstacle_between(self, child: Candidate, issuer: Candidate) -> str:
        if not issuer.parsed.is_ca:
            return f"the issuer {_NAME} is no CA certificate"
        if oids.KEY_USAGE in issuer.parsed.extension_oids and "keyCertSign" not in issuer.parsed.key_usage:
            return f"the issuer {_NAME} may not sign certificates (key usage)"
        if not self._checks_left:
            return "too many certificates of the same name were sent"
        self._checks_left -= 1
        try:
            child.loaded.verify_directly_issued_by(issuer.loaded)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            return f"it was not signed by the CA {_NAME} that is known here, although it names that CA"
        return ""


def shown_name(name: str) -> str:
    """A distinguished name as it may stand in a message: cut, and never nothing."""
    return (name if len(name) <= _SHOWN_NAME else name[:_SHOWN_NAME] + "...") or "(empty name)"
