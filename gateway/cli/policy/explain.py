"""``pkigate policy explain``: what policy says to a request, and why, as a tree."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.exit_codes import ExitCode
from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption
from gateway.cli.output import escaped, note, print_fields, print_json
from gateway.cli.policy.loading import load_policies, policy_files, policy_registry
from gateway.cli.policy.stored import BundleOption, bundle_for, certificate_finder
from gateway.cli.session import Session, open_session
from gateway.cli.trace import trace_lines
from gateway.errors import ConfigurationError, GatewayError, MalformedMessage, NotFound

if TYPE_CHECKING:
    from gateway.policy.complaints import Value
    from gateway.policy.explanation import Explanation
    from gateway.policy.rules import Bundle
    from gateway.policy.sample_documents import SampleRequest


@dataclass(frozen=True, slots=True)
class _Told:
    """What the command line says of a request; None: nothing."""

    place: str | None
    operation: str | None
    profile: str | None
    user: str | None
    source_ip: str | None


def explain(
    csr: Annotated[Path | None, typer.Option("--csr", metavar="FILE", help="CSR, PEM or DER.")] = None,
    place: Annotated[
        str | None, typer.Option("--as", metavar="PROTOCOL/ENDPOINT", help="Where it is sent: scep/network.")
    ] = None,
    operation: Annotated[
        str | None, typer.Option("--operation", metavar="WORD", help="enroll, renew, rekey or revoke.")
    ] = None,
    profile: Annotated[str | None, typer.Option("--profile", metavar="P", help="Profile asked for.")] = None,
    cert: Annotated[
        Path | None,
        typer.Option(
            "--cert",
            metavar="FILE",
            help="Certificate that authenticates, PEM or DER; at a renewal the one that is renewed.",
        ),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="User name (Basic).")] = None,
    source_ip: Annotated[
        str | None, typer.Option("--source-ip", metavar="ADDRESS", help="Where it comes from.")
    ] = None,
    facts: Annotated[
        Path | None,
        typer.Option("--facts", metavar="FILE", help="YAML: a request as in `tests:` of a Policy."),
    ] = None,
    request: Annotated[
        str | None,
        typer.Option("--request", metavar="REQUEST", help="A recorded request: its id, or PG-..."),
    ] = None,
    bundle: BundleOption = None,
    lab: Annotated[bool, typer.Option("--lab", help="Compile as lab mode does.")] = False,
    config_file: ConfigFileOption = None,
    data_dir: DataDirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide on a request and show every step, without doing anything.

    Credentials count as verified, unless the facts say otherwise; what is not said takes the value that fits
    the policy. A recorded request is decided with what was recorded. Ends with 0 if it is granted (perhaps
    after people have approved it), else with 1.
    """
    told = _Told(place, operation, profile, user, source_ip)
    if request is not None:
        if csr or cert or facts or told != _Told(None, None, None, None, None):
            raise typer.BadParameter(
                "a recorded request says all of this itself; leave the other options out",
                param_hint="--request",
            )
        with open_session(config_file, data_dir) as session:
            chosen = bundle_for(session, bundle, lab=lab)
            found = _recorded(session, request, chosen, lab=lab)
    else:
        path, lab = policy_files(bundle, config_file, data_dir, lab=lab)
        chosen = load_policies(path, lab=lab)
        found = _described(chosen, told, facts, csr, cert, lab=lab)
    _show(found, chosen, as_json=as_json)
    if _verdict(found) == "deny":
        raise typer.Exit(int(ExitCode.FAILED))


def _described(
    bundle: Bundle, told: _Told, facts: Path | None, csr: Path | None, cert: Path | None, *, lab: bool
) -> Explanation:
    from gateway.policy.explanation import explain as explain_sample

    sample = _sample(told, facts)
    if "now" not in sample.model_fields_set:
        sample = sample.model_copy(update={"now": datetime.now(UTC)})
    try:
        return explain_sample(
            bundle,
            policy_registry(lab=lab),
            sample,
            csr_der=None if csr is None else _der(csr, "CERTIFICATE REQUEST"),
            certificate_der=None if cert is None else _der(cert, "CERTIFICATE"),
        )
    except MalformedMessage as fault:
        raise GatewayError(f"refused before any policy is asked, with {fault.code}: {fault}") from fault


def _recorded(session: Session, identifier: str, bundle: Bundle, *, lab: bool) -> Explanation:
    from gateway.enrolment.active_lists import ActiveLists
    from gateway.enrolment.recorded import NotAgain, trial_of
    from gateway.policy.explanation import explained
    from gateway.store import requests

    key = identifier.upper() if identifier.upper().startswith("PG-") else identifier.lower()
    row = session.read(lambda connection: requests.get(connection, key))
    if row is None:
        raise NotFound(f"there is no request {identifier!r}; see `pkigate request list`")
    lists = ActiveLists(bundle.lists).at(bundle.lists, row.received_at)
    trial = trial_of(row, certificate_finder(session), lists)
    if isinstance(trial, NotAgain):
        raise GatewayError(f"{row.id} cannot be decided again: {trial.why}; see `pkigate request show`")
    if row.bundle_sha256 != bundle.sha256:
        note(f"It was decided by the bundle {row.bundle_sha256}; this is {bundle.sha256}.")
    return explained(bundle, policy_registry(lab=lab), trial)


def _sample(told: _Told, facts: Path | None) -> SampleRequest:
    from gateway.policy.sample_documents import SampleRequest
    from gateway.policy.yaml_marks import Document, Mark, read_documents, validate

    said = _of_command_line(told)
    if facts is None:
        start = Mark(1, 1)
        return validate(SampleRequest, Document("command line", said, {(): start}, {}))
    documents = read_documents(facts.name, facts.read_text())
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        text = "this is no request; write one as in `tests:` of a Policy"
        raise ConfigurationError(f"{facts.name}:1:1: {text}")
    (document,) = documents
    value = document.value
    assert isinstance(value, dict)
    at = ("request",) if set(value) == {"request"} else ()
    inner = value["request"] if at else value
    if not isinstance(inner, dict):
        raise ConfigurationError(f"{document.where(at)}: this is no request; write `key: value` lines")
    inner.update(said)
    return validate(SampleRequest, document, at=at)


def _of_command_line(told: _Told) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if told.place is not None:
        protocol, _, endpoint = told.place.partition("/")
        found |= {"protocol": protocol, "endpoint": endpoint or "default"}
    for key, value in (
        ("operation", told.operation),
        ("profile", told.profile),
        ("source_ip", told.source_ip),
    ):
        if value is not None:
            found[key] = value
    if told.user is not None:
        found["user"] = {"name": told.user}
    return found


def _der(path: Path, what: str) -> bytes:
    """The octets of a file, out of their PEM armour if they are in one. Raises ConfigurationError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: it cannot be read: {error.strerror}") from error
    found = re.search(rb"-----BEGIN (?:NEW )?" + what.encode() + rb"-----(.*?)-----END", content, re.DOTALL)
    if found is None:
        if content.lstrip().startswith(b"-----"):
            raise ConfigurationError(f"{path}: there is no {what} in it; give one as PEM or DER")
        return content
    try:
        return base64.b64decode(found[1])
    except binascii.Error as error:
        raise ConfigurationError(f"{path}: its base64 is damaged: {error}") from error


def _verdict(found: Explanation) -> str:
    from gateway.policy.embedded_tests import verdict_of

    return verdict_of(found.tried.decision)


def _show(found: Explanation, bundle: Bundle, *, as_json: bool) -> None:
    from gateway.policy.render import decision_json

    decision = decision_json(found.tried.decision, found.trial.evidence)
    verdict, asked, granted = _verdict(found), _asked(found), _granted(found)
    if as_json:
        print_json(
            {
                "verdict": verdict,
                "bundle_sha256": bundle.sha256,
                "request": asked,
                "certificate": granted or None,
                "on_the_wire": dict(found.on_the_wire) or None,
                "decision": decision,
            }
        )
        return
    print_fields((name.replace("_", " "), value) for name, value in asked.items())
    for line in trace_lines(decision):
        typer.echo(line)
    typer.echo("")
    print_fields((name.replace("_", " "), value) for name, value in granted.items())
    wire = ", ".join(f"{name} {value}" for name, value in found.on_the_wire.items())
    colour = {"allow": "green", "pend": "yellow"}.get(verdict, "red")
    typer.echo(
        typer.style(verdict.upper(), fg=colour, bold=True)
        + (f" by {found.tried.decision.policy}" if found.tried.decision.policy else "")
        + (f"; the client is told: {escaped(wire)}" if wire else "")
    )


def _asked(found: Explanation) -> dict[str, object]:
    request, evidence = found.trial.request, found.trial.evidence
    public_key = getattr(request.key, "public_key", None)
    return {
        "protocol": request.protocol,
        "endpoint": request.endpoint,
        "operation": str(request.operation),
        "profile": request.profile,
        "presented": [str(one.kind) for one in request.presented],
        "verified": [f"{one.kind} {one.label}" for one in evidence.credentials],
        "source_ip": request.remote.address,
        "subject": str(request.identity.subject),
        "names": [str(name) for name in request.identity.sans],
        "key": None if public_key is None else str(public_key),
        "renews": None if found.trial.facts.previous is None else str(found.trial.facts.previous.subject),
        "now": found.trial.facts.now,
    }


def _granted(found: Explanation) -> dict[str, object]:
    from gateway.model.decision import Allow
    from gateway.policy.terms import EXTENDED_KEY_USAGE_NAMES

    decision = found.tried.decision
    if not isinstance(decision, Allow) or decision.plan is None:
        return {}
    plan = decision.plan
    return {
        "subject": str(plan.subject),
        "names": [str(name) for name in plan.sans],
        "not_before": plan.not_before,
        "not_after": plan.not_after,
        "key_usage": list(plan.key_usage),
        "extended_key_usage": [EXTENDED_KEY_USAGE_NAMES.get(oid, oid) for oid in plan.extended_key_usage],
        "extensions": [extension.oid for extension in plan.extensions],
        "backend": decision.route.backend,
        "ca_profile": decision.route.profile,
    }
