"""The one place for path validation (RFC 5280 section 6): is a client certificate issued below these anchors?

``cryptography``'s verifier answers first. What it refuses is looked at again: only if we find a path of true
signatures to an anchor is a second, complete validation asked (``pkix``), as the first one has limits that no
RFC demands (Ed25519 CAs, CAs without key identifiers, small roots). Revocation is not judged here.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from gateway.errors import GatewayError, MalformedMessage
from gateway.model.reasons import ReasonCode
from gateway.pki import oids
from gateway.pki.certificate import ParsedCertificate
from gateway.pki.path_search import MAX_DEPTH, Candidate, PathSearch, read_candidate, shown_name

CLIENT_USAGES = frozenset({oids.CLIENT_AUTH, oids.ANY_EXTENDED_KEY_USAGE})
MAX_CERTIFICATES = 16  # sent by the client, leaf included
_MAX_PATHS = 4
MAX_VERDICTS = 4096
_FOREVER = datetime.max.replace(tzinfo=UTC)


class UntrustedCertificate(GatewayError):
    """A client certificate that proves nothing here; the text names subject, issuer and dates."""

    default_code = ReasonCode.AUTH_CERTIFICATE_UNTRUSTED


@dataclass(frozen=True, slots=True)
class ProvenChain:
    """A client certificate with a proven path; only ``verify_client_chain`` makes one.

    ``path_der`` is leaf first, anchor last (the leaf alone where it is itself an anchor). ``valid_until`` is
    the first expiry in the path.
    """

    leaf: ParsedCertificate
    path_der: tuple[bytes, ...] = field(repr=False)
    anchor_sha256: str
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """A proven chain and the time in which that stands without another look."""

    proven: ProvenChain
    usable_from: datetime
    usable_until: datetime


class VerdictCache:
    """Good verdicts by the digest of what was asked, the last used ones; safe to share between threads."""

    def __init__(self, max_verdicts: int) -> None:
        self._verdicts: OrderedDict[bytes, Verdict] = OrderedDict()
        self._max_verdicts = max_verdicts
        self._lock = threading.Lock()

    def recall(self, key: bytes, at: datetime) -> ProvenChain | None:
        """What was proven before, if it still stands at this time."""
        with self._lock:
            verdict = self._verdicts.get(key)
            if verdict is None or not verdict.usable_from <= at <= verdict.usable_until:
                return None
            self._verdicts.move_to_end(key)
            return verdict.proven

    def remember(self, key: bytes, verdict: Verdict) -> None:
        """Keep a verdict, and drop the one that was not asked for longest."""
        with self._lock:
            self._verdicts[key] = verdict
            while len(self._verdicts) > self._max_verdicts:
                self._verdicts.popitem(last=False)


class TrustAnchors:
    """CA certificates that are believed, compiled once: roots, or issuing CAs themselves.

    ``identity`` is the SHA-256 over the anchors, hex. The verdicts on chains below these are kept with them.
    Raises MalformedMessage for a certificate that cannot be read.
    """

    def __init__(self, certificates_der: Iterable[bytes], *, max_verdicts: int = MAX_VERDICTS) -> None:
        by_sha256 = {anchor.parsed.sha256: anchor for anchor in map(read_candidate, certificates_der)}
        self.candidates = tuple(by_sha256.values())
        self.sha256s = frozenset(by_sha256)
        self.identity = hashlib.sha256("".join(sorted(by_sha256)).encode("ascii")).hexdigest()
        self.store = Store([anchor.loaded for anchor in self.candidates]) if self.candidates else None
        self.verdicts = VerdictCache(max_verdicts)

    @property
    def certificates_der(self) -> tuple[bytes, ...]:
        """The anchors as DER, each once, in the order given."""
        return tuple(anchor.parsed.certificate_der for anchor in self.candidates)


def verify_client_chain(
    chain_der: tuple[bytes, ...],
    anchors: TrustAnchors,
    at: datetime,
    *,
    intermediates: tuple[bytes, ...] = (),
    ignore_expiry_s: int = 0,
    ignore_not_after: bool = False,
    extended_key_usages: frozenset[str] | None = CLIENT_USAGES,
) -> ProvenChain:
    """Prove that the first certificate of ``chain_der`` (leaf first, as sent) stands below an anchor.

    ``intermediates`` are further CA certificates that we hold ourselves. ``ignore_expiry_s`` is a grace after
    the leaf's notAfter; notBefore and the CAs' dates always count. ``ignore_not_after``: no end counts, of
    the leaf nor of its CAs, as long as there was a time at which all of them were valid: devices outlive the
    certificates that their makers gave them (IEEE 802.1AR). ``extended_key_usages``: an extendedKeyUsage,
    where present, must hold one of these OIDs (RFC 5280 section 4.2.1.12); None asks nothing.

    A good verdict is kept in ``anchors`` until the first expiry in the path. Raises UntrustedCertificate.
    """
    grace = None if ignore_not_after else timedelta(seconds=ignore_expiry_s)
    key = _verdict_key(chain_der, intermediates, grace, extended_key_usages)
    known = anchors.verdicts.recall(key, at)
    if known is not None:
        return known
    leaf, given = _read_chain(chain_der, intermediates)
    _check_leaf(leaf.parsed, anchors, at, grace, extended_key_usages)
    path = _find_path(leaf, given, anchors, at, forgiving=ignore_not_after)
    for issuer in path[1:]:
        _check_dates(issuer.parsed, at, leaf.parsed, None if ignore_not_after else timedelta())
        if issuer is not path[-1]:
            _check_usage(issuer.parsed, extended_key_usages, leaf.parsed)
    proven = ProvenChain(
        leaf.parsed,
        tuple(step.parsed.certificate_der for step in path),
        path[-1].parsed.sha256,
        min(step.parsed.not_after for step in path),
    )
    ends = [_end(leaf.parsed, grace), *(step.parsed.not_after for step in path[1:])]
    until = _FOREVER if ignore_not_after else min(ends)
    verdict = Verdict(proven, max(step.parsed.not_before for step in path), until)
    anchors.verdicts.remember(key, verdict)
    return proven


def _verdict_key(
    chain_der: tuple[bytes, ...],
    intermediates: tuple[bytes, ...],
    grace: timedelta | None,
    extended_key_usages: frozenset[str] | None,
) -> bytes:
    usages = "any" if extended_key_usages is None else ",".join(sorted(extended_key_usages))
    digest = hashlib.sha256(f"{len(chain_der)}:{grace}:{usages};".encode("ascii"))
    for certificate_der in (*chain_der, *intermediates):
        digest.update(len(certificate_der).to_bytes(4, "big"))
        digest.update(certificate_der)
    return digest.digest()


def _read_chain(
    chain_der: tuple[bytes, ...], intermediates: tuple[bytes, ...]
) -> tuple[Candidate, list[Candidate]]:
    if not 1 <= len(chain_der) <= MAX_CERTIFICATES:
        raise UntrustedCertificate(
            f"the client sent {len(chain_der)} certificates; 1 to {MAX_CERTIFICATES} are looked at"
        )
    try:
        leaf = read_candidate(chain_der[0])
    except MalformedMessage as exc:
        raise UntrustedCertificate(f"the client certificate cannot be read: {exc}") from exc
    given = []
    for certificate_der in (*chain_der[1:], *intermediates):
        try:
            given.append(read_candidate(certificate_der))
        except MalformedMessage:
            continue  # a certificate that cannot be read is only a path that cannot be taken
    return leaf, given


def _check_leaf(
    leaf: ParsedCertificate,
    anchors: TrustAnchors,
    at: datetime,
    grace: timedelta | None,
    extended_key_usages: frozenset[str] | None,
) -> None:
    _check_dates(leaf, at, leaf, grace)
    _check_usage(leaf, extended_key_usages, leaf)
    if leaf.is_ca and leaf.sha256 not in anchors.sha256s:
        raise UntrustedCertificate(
            f"{_described(leaf)} is a CA certificate; a client needs one of its own",
            code=ReasonCode.AUTH_CERTIFICATE_USAGE,
        )


def _end(certificate: ParsedCertificate, grace: timedelta | None) -> datetime:
    """Until when it is taken. 99991231235959Z (RFC 5280 section 4.1.2.5) leaves no room for a grace."""
    if grace is None or certificate.not_after > _FOREVER - grace:
        return _FOREVER
    return certificate.not_after + grace


def _check_dates(
    certificate: ParsedCertificate,
    at: datetime,
    leaf: ParsedCertificate,
    grace: timedelta | None = timedelta(),
) -> None:
    """``grace`` None: its end does not count."""
    who = _described(certificate)
    if certificate is not leaf:
        who = f"{_described(leaf)} has the issuer {who}, which"
    if at < certificate.not_before:
        raise UntrustedCertificate(
            f"{who} is valid only from {certificate.not_before:%Y-%m-%d %H:%M:%S} UTC on; it is now"
            f" {at:%Y-%m-%d %H:%M:%S}",
            code=ReasonCode.AUTH_CERTIFICATE_NOT_YET_VALID,
        )
    if at > _end(certificate, grace):
        raise UntrustedCertificate(
            f"{who} expired at {certificate.not_after:%Y-%m-%d %H:%M:%S} UTC; it is now"
            f" {at:%Y-%m-%d %H:%M:%S}",
            code=ReasonCode.AUTH_CERTIFICATE_EXPIRED,
        )


def _check_usage(
    certificate: ParsedCertificate, extended_key_usages: frozenset[str] | None, leaf: ParsedCertificate
) -> None:
    present = certificate.extended_key_usage
    if extended_key_usages is None or not present or extended_key_usages.intersection(present):
        return
    where = "it" if certificate is leaf else f"its issuer {shown_name(str(certificate.subject))}"
    raise UntrustedCertificate(
        f"{_described(leaf)} is not for this use: {where} has the extended key usages {', '.join(present)};"
        f" needed is one of {', '.join(sorted(extended_key_usages))}",
        code=ReasonCode.AUTH_CERTIFICATE_USAGE,
    )


def _find_path(
    leaf: Candidate, given: list[Candidate], anchors: TrustAnchors, now: datetime, *, forgiving: bool
) -> Sequence[Candidate]:
    """A valid path, leaf first, anchor last. ``forgiving``: it may be one of former times."""
    at = min(now, leaf.parsed.not_after)
    if leaf.parsed.sha256 in anchors.sha256s:
        return (leaf,)
    quick = _quick_path(leaf, given, anchors, at)
    if quick is not None:
        return quick
    search = PathSearch(given, anchors.candidates)
    refusal: UntrustedCertificate | None = None
    for path in islice(search.paths((leaf,)), _MAX_PATHS):
        # Imported here: it pulls in a large library, and most gateways never need it
        from gateway.pki.pkix import validate_path

        try:
            if forgiving:
                at = min(now, *(step.parsed.not_after for step in path))
            for issuer in path[1:]:
                _check_dates(issuer.parsed, at, leaf.parsed)
            validate_path([step.parsed.certificate_der for step in path], at)
        except UntrustedCertificate as exc:
            refusal = exc
        else:
            return path
    if refusal is None:
        raise UntrustedCertificate(f"{_described(leaf.parsed)} is not trusted: {search.obstacle()}")
    if refusal.code is ReasonCode.AUTH_CERTIFICATE_UNTRUSTED:
        raise UntrustedCertificate(
            f"{_described(leaf.parsed)} is not trusted: {refusal}", detail=refusal.detail
        ) from refusal
    raise refusal


def _quick_path(
    leaf: Candidate, given: list[Candidate], anchors: TrustAnchors, at: datetime
) -> Sequence[Candidate] | None:
    if anchors.store is None:
        return None
    verifier = (
        PolicyBuilder()
        .store(anchors.store)
        .time(at)
        .max_chain_depth(MAX_DEPTH)
        .extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
        )
        .build_client_verifier()
    )
    try:
        verified = verifier.verify(leaf.loaded, [candidate.loaded for candidate in given])
    except (VerificationError, ValueError):
        return None
    known = {candidate.loaded: candidate for candidate in (leaf, *given, *anchors.candidates)}
    return [known[loaded] for loaded in verified.chain]


def _described(certificate: ParsedCertificate) -> str:
    subject, issuer = shown_name(str(certificate.subject)), shown_name(str(certificate.issuer))
    dates = f"{certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}"
    return f"the certificate {subject} (issued by {issuer}, valid {dates})"
