"""What must be there before workers start, done in a child process so that the supervisor stays without
threads, event loop and database (decisions: "Processes")."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca_backend.api import CanSignCrl
from gateway.authn.secrets import machine_verifier
from gateway.clock import Clock, SystemClock
from gateway.composition.addresses import Addresses
from gateway.composition.parts import BackendOpener, root_pem_path, signing_backend
from gateway.composition.policies import Policies, PolicyFiles, activation
from gateway.composition.tls_identity import TlsIdentity
from gateway.config import Config
from gateway.datadir import DataDirectory
from gateway.durable_file import write_durably
from gateway.enrolment.backends import BackendSet
from gateway.errors import ConfigurationError, Conflict, GatewayError
from gateway.model.evidence import BASIC
from gateway.model.ids import new_id
from gateway.pki.certificate import parse_certificate
from gateway.plugins import Plugins
from gateway.policy.rules import Bundle
from gateway.quickstart import EST_DEMO_USER, demo_secret
from gateway.store import bundles, credentials
from gateway.store.credentials import CredentialRow
from gateway.store.migrate import migrate
from gateway.store.store import Store
from gateway.store.unit import AuditEvent, Unit

EXIT_REFUSED = 1
DEMO_SOURCE = "demo"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the supervisor tells people. ``issuing`` describes the issuing CA; ``crl`` is its CRL's URL."""

    issuing: Mapping[str, str]
    crl: str | None
    est_demo: bool


class Preparation:
    """Prepares in a child process, which begins with this object; meanwhile the supervisor can do its own."""

    def __init__(
        self,
        config: Config,
        data: DataDirectory,
        addresses: Addresses,
        plugins: Plugins,
        policies: Policies,
    ) -> None:
        self._read_fd, write_fd = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._read_fd)
            _tell(write_fd, lambda: _prepare(config, data, addresses, plugins, policies))
        os.close(write_fd)

    def result(self) -> Prepared:
        """Wait for the child's. Raises ConfigurationError with its words."""
        with os.fdopen(self._read_fd, "rb") as stream:
            text = stream.read()
        os.waitpid(self._pid, 0)
        result = json.loads(text or b'{"error": "the preparation was ended by a signal"}')
        if "error" in result:
            raise ConfigurationError(result["error"])
        return Prepared(**result["prepared"])


def _tell(write_fd: int, prepare: Callable[[], Prepared]) -> NoReturn:
    """In the child: work, say what came of it, end."""
    code = EXIT_REFUSED
    try:
        said: dict[str, object] = {"prepared": asdict(prepare())}
        code = 0
    except GatewayError as error:
        detail = f" ({error.detail})" if error.detail else ""
        said = {"error": f"{error}{detail}"}
    except BaseException as error:  # noqa: BLE001 - the last place of this process
        import traceback

        traceback.print_exc()
        said = {"error": f"{type(error).__name__}: {error}"}
    os.write(write_fd, json.dumps(said).encode())
    os._exit(code)


def _prepare(
    config: Config, data: DataDirectory, addresses: Addresses, plugins: Plugins, policies: Policies
) -> Prepared:
    clock, bundle = SystemClock(), policies.bundle
    with_demo = config.demo_credentials != "off" and ("est", "default") in bundle.endpoints
    logging.getLogger("alembic").setLevel(logging.WARNING)  # its steps say nothing to who starts a gateway
    migrate(config.database_url)
    opener = BackendOpener(config, data, addresses, plugins)
    opener.initialise(bundle)
    backends = opener.open(bundle)
    with Store(config.database_url, clock=clock) as store:
        _record_activation(store, bundle, clock)
        _settle_demo(store, data, clock, wanted=with_demo)
        asyncio.run(_certificates(config, data, backends, store, clock))
    PolicyFiles(config, data, plugins).activate(policies)
    issuing, crl = _publish(data, backends, addresses)
    return Prepared(issuing, crl, with_demo)


async def _certificates(
    config: Config, data: DataDirectory, backends: BackendSet, store: Store, clock: Clock
) -> None:
    identity = TlsIdentity(config, data)
    if any(listener.tls == "auto" for listener in config.listeners) and identity.due(clock):
        await identity.issue(signing_backend(backends), backends, store, clock)
    await backends.aclose()


def _publish(
    data: DataDirectory, backends: BackendSet, addresses: Addresses
) -> tuple[dict[str, str], str | None]:
    """Put the root certificate where people find it; describe the issuing CA."""
    for name in backends.names():
        backend = backends.get(name)
        if isinstance(backend, CanSignCrl):
            authorities = backend.authorities()
            issuing, root = authorities[0], authorities[-1]
            parsed = parse_certificate(issuing.certificate_der)
            pem_path = data.path / f"{issuing.name}.pem"
            for path, certificate_der in (
                (root_pem_path(data), root.certificate_der),
                (pem_path, issuing.certificate_der),
            ):
                pem = x509.load_der_x509_certificate(certificate_der).public_bytes(Encoding.PEM)
                if not path.exists() or path.read_bytes() != pem:
                    write_durably(path, pem, mode=0o644)
            described = {
                "name": issuing.name,
                "subject": str(parsed.subject),
                "sha256": parsed.sha256,
                "pem": str(pem_path),
            }
            return described, addresses.urls(issuing.name).crl
    return {}, None


def _record_activation(store: Store, bundle: Bundle, clock: Clock) -> None:
    active = store.reader.read_blocking(bundles.active)
    store.recorder.commit_blocking(activation(active, bundle, clock.now()))


def _settle_demo(store: Store, data: DataDirectory, clock: Clock, *, wanted: bool) -> None:
    """Make the demo credential if it is wanted, revoke it if it is not. It is the same at every start."""
    verifier = machine_verifier(data.server_key(), demo_secret(data.server_key(), "est"))
    known = store.reader.read_blocking(
        lambda connection: credentials.by_name(connection, BASIC, EST_DEMO_USER)
    )
    unit, now = Unit(), clock.now()
    fits = known is not None and known.source == DEMO_SOURCE and known.verifier == verifier
    if known is not None and known.source == DEMO_SOURCE and not (wanted and fits):
        credentials.revoke(unit, known.id, now)
        unit.audit(AuditEvent("system", "credential.revoke", known.id, details={"name": known.name}))
        known = None
    if wanted and known is None:
        row = CredentialRow(
            id=new_id(),
            kind=BASIC,
            name=EST_DEMO_USER,
            created_at=now,
            protocol="est",
            verifier=verifier,
            source=DEMO_SOURCE,
        )
        credentials.insert(unit, row)
        unit.audit(AuditEvent("system", "credential.add", row.id, details={"name": row.name}))
    try:
        store.recorder.commit_blocking(unit)
    except Conflict:
        return  # another gateway on the same database did the same at this moment
