"""``pkigate cert``: look at issued certificates and revoke them."""

from __future__ import annotations

import base64
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import ConfigFileOption, DataDirectoryOption, JsonOption, LimitOption, actor
from gateway.cli.output import fail, note, print_fields, print_json, print_table
from gateway.cli.session import Session, open_session
from gateway.cli.times import moment
from gateway.errors import Conflict, NotFound
from gateway.model.certificate import CertificateRecord, CertificateStatus, RevocationReason

if TYPE_CHECKING:
    from sqlalchemy import Connection

app = typer.Typer(
    name="cert",
    help="Look at issued certificates and revoke them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

MIN_PREFIX_DIGITS = 6
_SHA256_DIGITS = 64
_PAGE = 500

CertificateArgument = Annotated[
    str,
    typer.Argument(
        metavar="CERTIFICATE",
        help="Serial number (hex, colons allowed) or SHA-256 fingerprint; the first six digits or more.",
    ),
]


@app.command("list")
def list_certificates(
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="Part of subject or names, or first digits.")
    ] = None,
    status: Annotated[
        CertificateStatus | None, typer.Option("--status", help="Only with this status.")
    ] = None,
    expires_before: Annotated[
        str | None, typer.Option("--expires-before", metavar="WHEN", help="30d, or 2030-01-31.")
    ] = None,
    limit: LimitOption = 50,
    cursor: Annotated[
        int | None, typer.Option("--cursor", metavar="N", help="Go on where the last page ended.")
    ] = None,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List issued certificates, newest first."""
    from gateway.store import certificates

    until = None if expires_before is None else moment(expires_before, datetime.now(UTC), "--expires-before")
    with open_session(config_file, data_dir) as session:
        page = session.read(
            lambda connection: certificates.search(
                connection, containing=text, status=status, expires_before=until, limit=limit, cursor=cursor
            )
        )
    if as_json:
        print_json(
            {"certificates": [_document(one) for one in page.records], "next_cursor": page.next_cursor}
        )
        return
    print_table(
        ("SERIAL", "SUBJECT", "NAMES", "NOT AFTER", "STATUS", "PROTOCOL", "ENDPOINT"),
        (
            (
                one.serial_hex,
                one.subject,
                one.sans,
                one.not_after,
                one.status,
                one.protocol,
                one.endpoint,
            )
            for one in page.records
        ),
        empty="No certificates.",
    )
    if page.next_cursor:
        note(f"More with --cursor {page.next_cursor}")


@app.command()
def show(
    certificate: CertificateArgument,
    pem: Annotated[bool, typer.Option("--pem", help="Print the certificate as PEM.")] = False,
    chain: Annotated[bool, typer.Option("--chain", help="With --pem: its issuers too, root last.")] = False,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one certificate."""
    from gateway.store import certificates

    with open_session(config_file, data_dir) as session:
        record = find(session, certificate)
        chain_der = session.read(lambda connection: certificates.chain(connection, record.chain_sha256))
    if as_json:
        print_json(
            {
                **_document(record),
                "pem": pem_text(record.certificate_der),
                "chain_pem": [pem_text(issuer_der) for issuer_der in chain_der],
            }
        )
    elif pem:
        for certificate_der in (record.certificate_der, *(chain_der if chain else ())):
            typer.echo(pem_text(certificate_der), nl=False)
    else:
        print_fields((name.replace("_", " "), value) for name, value in _document(record).items())


@app.command()
def revoke(
    certificate: CertificateArgument,
    reason: Annotated[
        RevocationReason, typer.Option("--reason", help="Reason on the CRL (RFC 5280 section 5.3.1).")
    ] = RevocationReason.UNSPECIFIED,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a certificate; the next CRL that is fetched names it."""
    from gateway.enrolment.revocation import revoke as revoke_certificate

    with open_session(config_file, data_dir) as session:
        record = find(session, certificate)
        held = record.status is CertificateStatus.ON_HOLD
        if held and reason is RevocationReason.CERTIFICATE_HOLD:
            raise Conflict(f"the certificate {record.serial_hex} is on hold already")
        revoke_certificate(session.store, record, reason, actor())
        record = find(session, record.sha256)
    if as_json:
        print_json(_document(record))
    else:
        typer.echo(f"Revoked {record.serial_hex} ({record.subject or ', '.join(record.sans)}): {reason}.")


@app.command()
def release(
    certificate: CertificateArgument,
    data_dir: DataDirectoryOption = None,
    config_file: ConfigFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a certificate good again that was revoked with reason certificateHold."""
    from gateway.store import certificates
    from gateway.store.unit import AuditEvent, Unit

    with open_session(config_file, data_dir) as session:
        record = find(session, certificate)
        if record.status is not CertificateStatus.ON_HOLD:
            raise Conflict(f"the certificate {record.serial_hex} is {record.status}, not on hold")
        unit = Unit()
        certificates.release_hold(unit, record)
        details = {"serial": record.serial_hex, "sha256": record.sha256, "subject": record.subject}
        unit.audit(AuditEvent(actor(), "certificate.release", record.request_id, details=details))
        session.store.recorder.commit_blocking(unit)
        record = find(session, record.sha256)
    if as_json:
        print_json(_document(record))
    else:
        typer.echo(f"Released {record.serial_hex} ({record.subject or ', '.join(record.sans)}).")


def find(session: Session, identifier: str) -> CertificateRecord:
    """The one certificate that a serial number or fingerprint, whole or its first digits, names.

    Raises NotFound, and Exit after listing the candidates where there are several.
    """
    from gateway.store import certificates

    digits = identifier.lower().removeprefix("0x").replace(":", "").replace(" ", "")
    if len(digits) < MIN_PREFIX_DIGITS or any(digit not in "0123456789abcdef" for digit in digits):
        raise typer.BadParameter(
            f"{identifier!r} names no certificate; write {MIN_PREFIX_DIGITS} or more hex digits of the "
            "serial number or of the SHA-256 fingerprint",
            param_hint="CERTIFICATE",
        )
    if len(digits) == _SHA256_DIGITS:
        exact = session.read(lambda connection: certificates.by_sha256(connection, digits))
        found = [] if exact is None else [exact]
    else:
        found = session.read(lambda connection: _starting_with(connection, digits))
    if not found:
        raise NotFound(f"there is no certificate {identifier}; see `pkigate cert list`")
    if len(found) > 1:
        for one in found:
            note(f"  serial {one.serial_hex}  sha256 {one.sha256}  {one.subject}")
        raise fail(f"{identifier} names {len(found)} certificates; write more digits")
    return found[0]


def pem_text(certificate_der: bytes) -> str:
    """The textual encoding of a certificate (RFC 7468 section 5)."""
    body = "\n".join(textwrap.wrap(base64.b64encode(certificate_der).decode(), 64))
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def _starting_with(connection: Connection, digits: str) -> list[CertificateRecord]:
    from gateway.store import certificates

    serial = digits.lstrip("0")  # serial numbers are stored without leading zeros
    found: dict[str, CertificateRecord] = {}
    for prefix in {digits, serial} - {""}:
        cursor: int | None = None
        while True:
            page = certificates.search(connection, containing=prefix, limit=_PAGE, cursor=cursor)
            for one in page.records:
                # The search also looks into subjects, which their requesters chose.
                if one.sha256.startswith(digits) or one.serial_hex.startswith(serial):
                    found[one.sha256] = one
            cursor = page.next_cursor
            if cursor is None:
                break
    whole = [one for one in found.values() if one.serial_hex == serial]
    return whole or list(found.values())


def _document(record: CertificateRecord) -> dict[str, object]:
    from gateway.pki.certificate import parse_certificate

    return {
        "serial": record.serial_hex,
        "sha256": record.sha256,
        "subject": record.subject,
        "names": record.sans,
        "issuer": str(parse_certificate(record.certificate_der).issuer),
        "not_before": record.not_before,
        "not_after": record.not_after,
        "status": record.status,
        "revoked_at": record.revoked_at,
        "revocation_reason": record.revocation_reason,
        "protocol": record.protocol,
        "endpoint": record.endpoint,
        "identity": record.identity,
        "policy": record.policy,
        "bundle_sha256": record.bundle_sha256,
        "backend": record.backend,
        "request_id": record.request_id,
        "spki_sha256": record.spki_sha256,
        "predecessor_sha256": record.predecessor_sha256,
    }
