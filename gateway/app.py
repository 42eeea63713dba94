"""``pkigate serve``: lock, bind, prepare, fork, tell people, restart what dies, drain."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import uvloop

from gateway import __version__, quickstart
from gateway.banner import banner
from gateway.composition.addresses import (
    Addresses,
    listener_specs,
    network_settings,
    service_url,
    settle_addresses,
)
from gateway.composition.policies import PolicyFiles, are_packaged
from gateway.composition.preparation import Preparation, Prepared
from gateway.composition.tls_identity import TlsIdentity
from gateway.config import Config
from gateway.datadir import DataDirectory, prepare, supervisor_lock
from gateway.http.listener import ListenerSpec
from gateway.http.listeners import bind
from gateway.http.log import configure_logging
from gateway.http.metrics import clear_metrics_directory
from gateway.http.supervisor import Supervisor
from gateway.jobs.holder import Holder, new_token
from gateway.plugins import load_plugins

if TYPE_CHECKING:
    from gateway.composition.worker import Worker


def run(config: Config) -> int:
    """Serve until SIGTERM; gives the exit code. Raises ConfigurationError and SecretUnavailable."""
    configure_logging(level=config.logging.level, style=config.logging.format, threaded=False)
    data = prepare(config.data_directory)
    with supervisor_lock(data) as place:
        quickstart.remove(data.quickstart_file)
        quickstart.demo_wanted(config.demo_credentials, config.addresses)  # refused before anything is made
        plugins = load_plugins()
        policies = PolicyFiles(config, data, plugins).drafts_or_active()
        addresses = settle_addresses(config, data)
        identity = TlsIdentity(config, data)
        specs = listener_specs(config, addresses, identity.load)
        listening = _bind_all(specs)
        preparation = Preparation(config, data, addresses, plugins, policies)
        worker_class = _import_worker()  # while the child prepares
        prepared = preparation.result()
        clear_metrics_directory(data.metrics)
        run_name = new_token()

        def work(slot: int, ready: Callable[[], None]) -> int:
            worker = worker_class(Holder(place, run_name, slot), config, data, addresses, plugins, policies)
            uvloop.run(worker.run(listening, ready))
            return 0

        supervisor = Supervisor(
            config.worker_count,
            work,
            sockets=[sock for _, sock in listening],
            on_all_ready=lambda: _announce(config, data, addresses, prepared),
        )
        try:
            return supervisor.run()
        finally:
            quickstart.remove(data.quickstart_file)


def _import_worker() -> type[Worker]:
    """What only workers need: imported once, before they are forked, and then left alone by the collector."""
    gc.disable()  # imports leave no garbage; looking for it takes a tenth of a second
    from gateway.composition.worker import Worker

    gc.enable()
    gc.collect()
    gc.freeze()  # so that the supervisor's own visit before each fork has little to look at
    return Worker


def _bind_all(specs: Sequence[ListenerSpec]) -> list[tuple[ListenerSpec, socket.socket]]:
    return [(spec, bind(spec)) for spec in specs]


def _announce(config: Config, data: DataDirectory, addresses: Addresses, prepared: Prepared) -> None:
    est = None
    if prepared.demo and "est" in prepared.protocols and addresses.https is not None:
        est = quickstart.EstAccess(
            url=f"{addresses.https}/.well-known/est",
            user=quickstart.EST_DEMO_USER,
            password=quickstart.demo_secret(data.server_key(), "est"),
        )
    told = quickstart.QuickStart(
        https=addresses.https,
        http=addresses.http,
        root_pem=data.path / "root.pem",
        issuing=prepared.issuing,
        crl=prepared.crl,
        names=quickstart.DEMO_NAMES if are_packaged(config.policies) else (),
        database=config.database_kind,
        est=est,
        acme=_acme_access(config, data, addresses, prepared),
        scep=_scep_access(config, data, addresses, prepared),
        cmp=_cmp_access(config, data, addresses, prepared),
    )
    quickstart.write(data.quickstart_file, told)
    text = banner(
        told, quickstart_file=data.quickstart_file, data_directory=config.data_directory, version=__version__
    )
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _acme_access(
    config: Config, data: DataDirectory, addresses: Addresses, prepared: Prepared
) -> quickstart.AcmeAccess | None:
    if "acme" not in prepared.protocols or addresses.https is None:
        return None
    eab = None
    if prepared.demo:
        key = quickstart.demo_hmac_key(data.server_key(), "acme-eab")
        eab = (quickstart.EAB_DEMO_KEY_IDENTIFIER, quickstart.base64url(key))
    settings = network_settings(config, addresses)
    return quickstart.AcmeAccess(
        directory=f"{addresses.https}/acme/directory",
        http01_port=settings.http_port,
        tls_alpn01_port=settings.tls_port,
        eab=eab,
    )


def _scep_access(
    config: Config, data: DataDirectory, addresses: Addresses, prepared: Prepared
) -> quickstart.ScepAccess | None:
    base = service_url(config, addresses, "scep")
    if not prepared.demo or "scep" not in prepared.protocols or base is None:
        return None
    return quickstart.ScepAccess(f"{base}/scep", quickstart.demo_secret(data.server_key(), "scep"))


def _cmp_access(
    config: Config, data: DataDirectory, addresses: Addresses, prepared: Prepared
) -> quickstart.CmpAccess | None:
    base = service_url(config, addresses, "cmp")
    if not prepared.demo or "cmp" not in prepared.protocols or base is None:
        return None
    return quickstart.CmpAccess(
        url=f"{base}/.well-known/cmp",
        recipient=prepared.cmp_recipient,
        ref=quickstart.CMP_DEMO_REFERENCE,
        secret=quickstart.demo_secret(data.server_key(), "cmp"),
    )
