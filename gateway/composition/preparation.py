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
from gateway.clock import Clock, SystemClock
from gateway.composition.addresses import Addresses
from gateway.composition.demo import DemoCredentials
from gateway.composition.message_identities import MessageIdentities
from gateway.composition.parts import BackendOpener, root_pem_path, signing_backend
from gateway.composition.policies import Policies, PolicyFiles, activation
from gateway.composition.tls_identity import TlsIdentity
from gateway.config import Config
from gateway.datadir import DataDirectory
from gateway.durable_file import write_durably
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.errors import ConfigurationError, GatewayError
from gateway.pki.certificate import parse_certificate
from gateway.plugins import Plugins
from gateway.policy.rules import Bundle
from gateway.store import bundles
from gateway.store.migrate import migrate
from gateway.store.store import Store

EXIT_REFUSED = 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the supervisor tells people. ``issuing`` describes the issuing CA; ``crl`` is its CRL's URL."""

    issuing: Mapping[str, str]
    crl: str | None
    est_demo: bool
    acme: bool = False  # whether the endpoint ``default`` of ACME is there, and its demo external account
    acme_demo: bool = False


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
    wanted = config.demo_credentials != "off"
    with_est, with_acme = (("est", "default") in bundle.endpoints, ("acme", "default") in bundle.endpoints)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # its steps say nothing to who starts a gateway
    migrate(config.database_url)
    opener = BackendOpener(config, data, addresses, plugins)
    opener.initialise(bundle)
    backends = opener.open(bundle)
    with Store(config.database_url, clock=clock) as store:
        _record_activation(store, bundle, clock)
        demo = DemoCredentials(store, data.server_key(), clock)
        demo.settle_est(wanted=wanted and with_est)
        demo.settle_acme(wanted=wanted and with_acme)
        identities = MessageIdentities(
            plugins.identity_kinds(), ActiveBundle(bundle), backends, store, clock, data
        )
        asyncio.run(_certificates(config, data, backends, store, clock, identities))
    PolicyFiles(config, data, plugins).activate(policies)
    issuing, crl = _publish(data, backends, addresses)
    return Prepared(issuing, crl, wanted and with_est, with_acme, wanted and with_acme)


async def _certificates(
    config: Config,
    data: DataDirectory,
    backends: BackendSet,
    store: Store,
    clock: Clock,
    identities: MessageIdentities,
) -> None:
    identity = TlsIdentity(config, data)
    if any(listener.tls == "auto" for listener in config.listeners) and identity.due(clock):
        await identity.issue(signing_backend(backends), backends, store, clock)
    await identities.prepare()
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
