"""What must be there before workers start, done in a child process so that the supervisor stays without
threads, event loop and database (decisions: "Processes")."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca_backend.api import CanSignCrl
from gateway.clock import SystemClock
from gateway.composition.addresses import Addresses
from gateway.composition.demo import DemoCredentials
from gateway.composition.message_identities import MessageIdentities
from gateway.composition.parts import BackendOpener, root_pem_path, signing_backend
from gateway.composition.policies import Policies, PolicyFiles
from gateway.composition.readiness import warn_at_start
from gateway.composition.stored_policies import chosen_at_start, record_start
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
from gateway.quickstart import openssl_name
from gateway.store.migrate import migrate
from gateway.store.store import Store

EXIT_REFUSED = 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the supervisor tells people. ``issuing`` describes the issuing CA; ``crl`` is its CRL's URL.

    ``protocols`` are those with an endpoint ``default``, ``demo`` says whether they have demo credentials;
    ``cmp_recipient`` is the name of the CA behind CMP's, as openssl takes it.
    """

    issuing: Mapping[str, str]
    crl: str | None
    protocols: Sequence[str] = ()
    demo: bool = False
    cmp_recipient: str = ""


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
    clock = SystemClock()
    wanted = config.demo_credentials != "off"
    logging.getLogger("alembic").setLevel(logging.WARNING)  # its steps say nothing to who starts a gateway
    migrate(config.database_url)
    opener = BackendOpener(config, data, addresses, plugins)
    files = PolicyFiles(config, data, plugins)
    with Store(config.database_url, clock=clock) as store:
        chosen = chosen_at_start(files, store, policies)
        bundle = chosen.bundle
        opener.initialise(bundle)
        backends = opener.open(bundle)
        record_start(files, store, policies, chosen, clock.now())
        protocols = sorted(protocol for protocol, name in bundle.endpoints if name == "default")
        demo = DemoCredentials(store, data.server_key(), clock)
        demo.settle_est(wanted=wanted and "est" in protocols)
        demo.settle_acme(wanted=wanted and "acme" in protocols)
        demo.settle_scep(wanted=wanted and "scep" in protocols)
        demo.settle_cmp(wanted=wanted and "cmp" in protocols)
        identities = MessageIdentities(
            plugins.identity_kinds(), ActiveBundle(bundle), backends, store, clock, data
        )
        recipient = asyncio.run(_certificates(TlsIdentity(config, data), identities, bundle, backends, store))
    files.activate(chosen)
    issuing, crl = _publish(data, backends, addresses)
    return Prepared(issuing, crl, protocols, wanted, recipient)


async def _certificates(
    tls: TlsIdentity, identities: MessageIdentities, bundle: Bundle, backends: BackendSet, store: Store
) -> str:
    """Have issued what the gateway needs for itself. Gives the name of the CA behind CMP's default."""
    clock = SystemClock()
    if tls.wanted and tls.due(clock):
        await tls.issue(signing_backend(backends), backends, store, clock)
    await identities.prepare()
    await warn_at_start(identities.components(), backends)
    recipient = await _recipient(bundle, backends)
    await backends.aclose()
    return recipient


async def _recipient(bundle: Bundle, backends: BackendSet) -> str:
    endpoint = bundle.endpoints.get(("cmp", "default"))
    if endpoint is None:
        return ""
    issuer = await backends.issuer(endpoint.backend, endpoint.ca)
    return openssl_name(issuer.certificate.subject)


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
