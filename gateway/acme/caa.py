"""Whether CAA records let this CA issue (RFC 8659), to this account and by this method (RFC 8657)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.acme.errors import AcmeError, Subproblem
from gateway.acme.options import AcmeOptions
from gateway.acme.paths import Links, endpoint_path
from gateway.acme.proof import Evidence, ValidationFault
from gateway.acme.tables.authorizations import AuthorizationRow
from gateway.clock import to_epoch_s
from gateway.errors import RetryLater
from gateway.frontend import Services
from gateway.model.reasons import ReasonCode
from gateway.outbound.faults import OutboundFault, TargetBusy, shown
from gateway.outbound.network import Network
from gateway.outbound.resolver import CaaRecord, CaaSet

TIMEOUT_S = 10.0
# A client waits for it at finalize, and a job must end within its lease (80 s), the CA's answer included.
RECHECK_S = 20.0
_RETRY_AFTER_S = 10
_AT_ONCE = 8
# Others that are critical forbid to issue (RFC 8659 section 4.1); these have no say in server certificates.
_UNDERSTOOD = frozenset({"issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone"})
_LABEL = r"[A-Za-z0-9](?:-*[A-Za-z0-9])*"
_PARAMETER = rf"[ \t]*(?P<tag>{_LABEL})[ \t]*=[ \t]*(?P<value>[!-:<-~]*)[ \t]*"
_ISSUER = rf"[ \t]*(?P<issuer>{_LABEL}(?:\.{_LABEL})*)?[ \t]*"
_ISSUE_VALUE = re.compile(rf"{_ISSUER}(?:;(?P<parameters>.*))?", re.DOTALL)
_PARAMETER_RE = re.compile(_PARAMETER)
_METHODS = re.compile(r"(?:[A-Za-z0-9-]+(?:,[A-Za-z0-9-]+)*)?")


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks for what: the URLs that the account is known by, and the challenge type that proved it.

    ``account_id`` is whom the look-ups are counted for.
    """

    name: str
    wildcard: bool
    account_urls: frozenset[str]
    method: str
    account_id: str = ""


def account_urls(services: Services, endpoint: str, account_id: str) -> frozenset[str]:
    """Every URL that names an account, one for each of our base URLs."""
    path = endpoint_path(endpoint)
    return frozenset(Links(base + path).account(account_id) for base in services.base_urls.known)


async def check(
    network: Network, options: AcmeOptions, subject: Subject, now: datetime, deadline: float
) -> Evidence:
    """Look up the relevant records and judge them; what was seen, for the record.

    ``deadline`` is in the loop's time. Raises ValidationFault: ``caa`` if they forbid it or, as one that may
    pass, if they could not be read (RFC 8659 section 6.2: who cannot ask must not issue). TargetBusy.
    """
    try:
        found = await network.resolver.caa(subject.name, deadline, subject.account_id)
    except OutboundFault as fault:
        raise _caa(f"CAA of {subject.name} could not be looked up: {fault}", passing=True) from fault
    judge(found, options.caa_identities, subject)
    return {"checked_at": to_epoch_s(now), "owner": found.owner, "resolver": found.server}


def judge(found: CaaSet, identities: Sequence[str], subject: Subject) -> None:
    """Raises ValidationFault unless these records let one of ``identities`` issue."""
    where = f"the CAA records of {shown(found.owner, 260)}"
    for record in found.records:
        if record.critical and record.tag not in _UNDERSTOOD:
            raise _caa(f"{where} have the critical property {shown(record.tag, 40)}, which is not known here")
    properties = _relevant(found.records, wildcard=subject.wildcard)
    if not properties:
        return  # RFC 8659 4.2, 4.3: no property that restricts this kind of name
    ours = frozenset(identity.lower().rstrip(".") for identity in identities)
    complaints = []
    for record in properties:
        complaint = _complaint(record, ours, subject)
        if complaint is None:
            return
        complaints.append(complaint)
    most_telling = max(complaints, key=lambda one: one[0])[1]
    raise _caa(f"{where} do not let this CA ({', '.join(sorted(ours))}) issue: {most_telling}")


async def recheck(
    services: Services,
    options: AcmeOptions,
    endpoint: str,
    account_id: str,
    rows: Sequence[AuthorizationRow],
) -> bool:
    """Before a certificate is issued: look again for each name whose last look is too old to be used.

    Gives whether there was anything to look up: that may have taken its time. Raises AcmeError ``caa`` (403)
    with one subproblem for each name that must not be issued for; RetryLater if none is forbidden, but some
    records could not be read within RECHECK_S.
    """
    now = services.clock.now()
    stale = [row for row in rows if row.kind == "dns" and not fresh(row.evidence, now, options.caa_reuse)]
    if not options.caa_identities or not stale:
        return False
    urls = account_urls(services, endpoint, account_id)
    # One order with many names leaves room for others (see Resolver.caa).
    room = asyncio.Semaphore(_AT_ONCE)
    deadline = asyncio.get_running_loop().time() + RECHECK_S

    async def one(row: AuthorizationRow) -> tuple[AuthorizationRow, ValidationFault] | None:
        subject = Subject(row.name, row.wildcard, urls, row.method or "", account_id)
        async with room:
            try:
                await check(services.network, options, subject, now, deadline)
            except ValidationFault as fault:
                return row, fault
            except TargetBusy as busy:
                return row, _caa(str(busy), passing=True)
        return None

    found = [one_found for one_found in await asyncio.gather(*map(one, stale)) if one_found is not None]
    forbidden = tuple(
        Subproblem(fault.type, str(fault), row.kind, row.identifier.partition(":")[2])
        for row, fault in found
        if not fault.passing
    )
    if forbidden:
        detail = forbidden[0].detail if len(forbidden) == 1 else f"CAA forbids {len(forbidden)} of the names"
        raise AcmeError("caa", detail, status=403, code=ReasonCode.NAME_CAA, subproblems=forbidden)
    if found:
        raise RetryLater(str(found[0][1]), retry_after_s=_RETRY_AFTER_S, code=ReasonCode.NAME_CAA)
    return True


def fresh(evidence: Mapping[str, object] | None, now: datetime, span: timedelta) -> bool:
    """Whether CAA was looked at for this authorization within this span of time."""
    seen = (evidence or {}).get("caa")
    at = seen.get("checked_at") if isinstance(seen, Mapping) else None
    return isinstance(at, int) and 0 <= to_epoch_s(now) - at < span.total_seconds()


def _relevant(records: Sequence[CaaRecord], *, wildcard: bool) -> list[CaaRecord]:
    """RFC 8659 4.3: issuewild stands in for issue where a wildcard is asked for, and is ignored else."""
    issuewild = [record for record in records if record.tag == "issuewild"]
    if wildcard and issuewild:
        return issuewild
    return [record for record in records if record.tag == "issue"]


def _complaint(record: CaaRecord, ours: frozenset[str], subject: Subject) -> tuple[int, str] | None:
    """What this property has against the subject, with how near it came; None if it lets it pass."""
    parsed = parse_issue_value(record.value)
    if parsed is None:
        return 0, f"an {record.tag} property is malformed"
    issuer, parameters = parsed
    if issuer not in ours:
        return 1, f"{record.tag} names {shown(issuer, 100) or 'nobody'}"
    for tag, what in (("accounturi", "accounts"), ("validationmethods", "methods")):
        if sum(1 for name, _ in parameters if name == tag) > 1:
            return 2, f"{record.tag} restricts {what} twice, which nobody can meet (RFC 8657)"
    values = dict(parameters)
    uri = values.get("accounturi")
    if uri is not None and uri not in subject.account_urls:
        return 3, f"accounturi is {shown(uri)}, which is another account"
    methods = values.get("validationmethods")
    if methods is not None and (not _METHODS.fullmatch(methods) or subject.method not in methods.split(",")):
        return 4, f"validationmethods is {shown(methods)}, which leaves out {subject.method}"
    return None


def parse_issue_value(value: bytes) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    """Issuer (lower case, empty for nobody) and parameters by RFC 8659 section 4.2; None if malformed."""
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        return None
    parts = _ISSUE_VALUE.fullmatch(text)
    if parts is None:
        return None
    parameters: list[tuple[str, str]] = []
    if parts["parameters"] is not None and parts["parameters"].strip(" \t"):
        for piece in parts["parameters"].split(";"):
            found = _PARAMETER_RE.fullmatch(piece)
            if found is None:
                return None
            parameters.append((found["tag"].lower(), found["value"]))
    return (parts["issuer"] or "").lower(), tuple(parameters)


def _caa(detail: str, *, passing: bool = False) -> ValidationFault:
    return ValidationFault("caa", detail, passing=passing, code=ReasonCode.NAME_CAA)
