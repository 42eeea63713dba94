"""What `pkigate serve` prints once it is ready: addresses, and for each protocol a client command to paste.

No secret stands in it, since standard output often ends in a journal: the commands read quickstart.json.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from gateway.quickstart import QuickStart

STANDARD_HTTP_PORT = 80


def banner(quick_start: QuickStart, *, quickstart_file: Path, data_directory: Path, version: str) -> str:
    """The whole text; a protocol that does not work here has no command in it."""
    lines = ["", f"pkigate {version} is ready.", ""]
    for name, value in (("https", quick_start.https), ("http", quick_start.http)):
        if value is not None:
            lines.append(f"  {name:<9} {value}")
    lines.append(f"  {'data':<9} {data_directory}")
    lines.append(f"  {'root CA':<9} {quick_start.root_pem}")
    lines.append(f"  {'details':<9} {quickstart_file}")
    lines.append(f"  {'requests':<9} pkigate request list --data-dir {shlex.quote(str(data_directory))}")
    if quick_start.est is not None:
        allowed = (
            f"names under {', '.join(quick_start.names)}"
            if quick_start.names
            else "if your policies allow device-1.test"
        )
        lines += [
            "",
            f"  First certificate by EST, {allowed} (copy, paste, run):",
            "",
            est_command(quick_start, quickstart_file=quickstart_file),
        ]
    if quick_start.acme is not None and quick_start.acme.http01_port != STANDARD_HTTP_PORT:
        lines += [
            "",
            "  First certificate by ACME, with certbot where it is installed (needs no root):",
            "",
            acme_command(quick_start),
        ]
    if quick_start.scep is not None:
        lines += [
            "",
            "  First certificate by SCEP, with strongSwan's pki where it is installed (strongswan-pki):",
            "",
            scep_command(quick_start, quickstart_file=quickstart_file),
        ]
    if quick_start.cmp is not None:
        lines += [
            "",
            "  First certificate by CMP, with openssl 3.0 or newer:",
            "",
            cmp_command(quick_start, quickstart_file=quickstart_file),
        ]
    lines += ["", "  Stop with Ctrl-C. A second start keeps everything.", ""]
    return "\n".join(lines)


def acme_command(quick_start: QuickStart) -> str:
    """One shell command by which certbot gets a certificate for ``web-1.test``, in lab mode.

    It leaves everything in the directory ``certbot`` below the current one. Raises ValueError where ACME does
    not work.
    """
    if quick_start.acme is None:
        raise ValueError("ACME does not work on this gateway")
    return (
        f"REQUESTS_CA_BUNDLE={shlex.quote(str(quick_start.root_pem))} certbot certonly \\\n"
        f"--server {quick_start.acme.directory} \\\n"
        "--config-dir certbot --work-dir certbot --logs-dir certbot -n --agree-tos \\\n"
        "--register-unsafely-without-email "
        f"--standalone --http-01-port {quick_start.acme.http01_port} -d web-1.test"
    )


def est_command(quick_start: QuickStart, *, quickstart_file: Path) -> str:
    """One shell command that fetches the CA certificates and enrols ``device-1.test`` with curl and openssl.

    It leaves cacerts.pem, device-1.key and device-1.pem in the current directory. Raises ValueError where
    EST does not work.
    """
    if quick_start.est is None:
        raise ValueError("EST does not work on this gateway")
    root = shlex.quote(str(quick_start.root_pem))
    url = quick_start.est.url
    password = _read("password", quickstart_file)
    get_ca = (
        f"curl -sSf --cacert {root} {url}/cacerts | openssl base64 -d | "
        "openssl pkcs7 -inform DER -print_certs -out cacerts.pem"
    )
    make_csr = (
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout device-1.key "
        "-subj /CN=device-1.test -addext subjectAltName=DNS:device-1.test -outform DER 2>/dev/null | "
        "openssl base64 > device-1.p10"
    )
    enroll = (
        f'curl -sS --fail-with-body --cacert {root} -u "{quick_start.est.user}:$({password})" '
        "-H 'Content-Type: application/pkcs10' --data-binary @device-1.p10 "
        f"-o device-1.p7 {url}/simpleenroll || {{ cat device-1.p7; false; }}"
    )
    unpack = "openssl base64 -d -in device-1.p7 | openssl pkcs7 -inform DER -print_certs -out device-1.pem"
    show = "openssl x509 -in device-1.pem -noout -subject -issuer -dates -ext subjectAltName"
    return " && \\\n".join([get_ca, make_csr, f"{{ {enroll}; }}", unpack, show])


def scep_command(quick_start: QuickStart, *, quickstart_file: Path) -> str:
    """One shell command by which strongSwan's ``pki`` enrols ``device-2.test``.

    It leaves scep-ca*.pem, scep-ra.pem, device-2.key and device-2.pem in the current directory. Raises
    ValueError where SCEP does not work.
    """
    if quick_start.scep is None:
        raise ValueError("SCEP does not work on this gateway")
    url, root = quick_start.scep.url, shlex.quote(str(quick_start.root_pem))
    password = _read("challenge", quickstart_file)
    enroll = (
        f"pki --scep --url {url} --in device-2.key --dn CN=device-2.test --san device-2.test \\\n"
        f'--password "$({password})" --cacert-enc scep-ra.pem --cacert-sig scep-ra.pem \\\n'
        "--cacert scep-ca.pem --cacert scep-ca-1.pem --outform pem > device-2.pem"
    )
    # SCEP is plain HTTP: without the check against the root anybody on the way could have answered.
    steps = [
        f"pki --scepca --url {url} --caout scep-ca.pem --raout scep-ra.pem --outform pem --force 2>/dev/null",
        f"openssl verify -CAfile {root} -untrusted scep-ca-1.pem scep-ra.pem",
        "pki --gen --type rsa --size 2048 --outform pem > device-2.key",
        enroll,
        "openssl x509 -in device-2.pem -noout -subject -issuer -dates -ext subjectAltName",
    ]
    return " && \\\n".join(steps)


def cmp_command(quick_start: QuickStart, *, quickstart_file: Path) -> str:
    """One shell command by which ``openssl cmp`` enrols ``device-3.test``.

    It leaves device-3.key and device-3.pem in the current directory. Raises ValueError where CMP does not
    work.
    """
    if quick_start.cmp is None:
        raise ValueError("CMP does not work on this gateway")
    access = quick_start.cmp
    enroll = (
        f"{_read('secret', quickstart_file)} | \\\n"
        f"openssl cmp -cmd ir -server {access.url} -recipient {shlex.quote(access.recipient)} "
        f"-ref {shlex.quote(access.ref)} -secret file:/dev/stdin \\\n"
        "-newkey device-3.key -subject /CN=device-3.test -sans device-3.test -certout device-3.pem"
    )
    steps = [
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out device-3.key",
        enroll,
        "openssl x509 -in device-3.pem -noout -subject -issuer -dates -ext subjectAltName",
    ]
    return " && \\\n".join(steps)


def _read(key: str, quickstart_file: Path) -> str:
    """A shell command that prints the value of a key, which stands in quickstart.json once."""
    return f'sed -n \'s/.*"{key}": "\\([^"]*\\)".*/\\1/p\' {shlex.quote(str(quickstart_file))}'
