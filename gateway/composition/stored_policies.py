"""The bundle that the database names: how one becomes active, and which one a gateway starts with.

Every replica follows the stored id. Files that changed since they were activated here replace it at the next
start or SIGHUP, unless ``policy_activation: explicit`` leaves that to ``pkigate policy activate``.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import datetime

from gateway.composition.policies import Policies, PolicyFiles
from gateway.errors import ConfigurationError
from gateway.store import bundles, settings
from gateway.store.bundles import Activation, BundleRow
from gateway.store.store import Store
from gateway.store.unit import AuditEvent, Unit

LOG = logging.getLogger(__name__)
MAX_PROBLEM_CHARACTERS = 2000
_MENDED = "none"


def activation(previous: str | None, policies: Policies, activated: Activation) -> Unit:
    """What is written down when a bundle becomes active; nothing if ``previous`` names it already."""
    unit = Unit()
    bundle = policies.bundle
    if previous == bundle.sha256:
        return unit
    texts = policies.kept.decode()
    bundles.insert(unit, BundleRow(bundle.sha256, bundle.documents_json, activated.how, activated.at, texts))
    _activate(unit, previous, activated)
    return unit


def reactivation(previous: str | None, activated: Activation) -> Unit:
    """What is written down when a bundle becomes active that the database has already."""
    unit = Unit()
    if previous != activated.sha256:
        _activate(unit, previous, activated)
    return unit


def _activate(unit: Unit, previous: str | None, activated: Activation) -> None:
    bundles.activate(unit, activated)
    details = {"previous": previous, "how": activated.how}
    details |= {
        key: value for key, value in (("note", activated.note), ("revision", activated.revision)) if value
    }
    unit.audit(AuditEvent(activated.actor, "policy.activate", activated.sha256, details=details))


def chosen_at_start(files: PolicyFiles, store: Store, drafts: Policies) -> Policies:
    """The policies that a gateway starts with: its files if they changed here, else what the database names.

    Raises ConfigurationError where the stored bundle cannot be compiled here and no other was active here.
    """
    stored = store.reader.read_blocking(bundles.active)
    if stored is None or stored == drafts.bundle.sha256 or (files.automatic and files.changed(drafts)):
        return drafts
    try:
        return stored_policies(files, store.reader.read_blocking(lambda c: bundles.get(c, stored)), stored)
    except ConfigurationError as error:
        known = files.active(drafts)
        if known is drafts:
            raise ConfigurationError(
                f"the active bundle {stored} of the database cannot be used here: {error}"
            ) from error
        LOG.error("policy.stored-unusable %s: %s", stored, error)
        return known


def record_start(files: PolicyFiles, store: Store, drafts: Policies, chosen: Policies, now: datetime) -> None:
    """Make the files active that the gateway starts with. Nothing is written if it follows the database."""
    if chosen is not drafts:
        return
    stored = store.reader.read_blocking(bundles.active)
    store.recorder.commit_blocking(activation(stored, drafts, Activation(drafts.bundle.sha256, now)))
    files.note_files(drafts)


def stored_policies(files: PolicyFiles, row: BundleRow | None, sha256: str) -> Policies:
    """Compile the bundle of this name. Raises ConfigurationError if it is not there or not good here."""
    if row is None:
        raise ConfigurationError(f"the database has no bundle {sha256}; activate one that is there")
    policies = files.stored(row)
    # Another version of the program may write the documents out otherwise; the name stays the stored one.
    return Policies(replace(policies.bundle, sha256=sha256), policies.kept)


def failure_setting(instance: str) -> str:
    """Where the workers of one gateway note which failure is in the audit log already."""
    return f"policy.reload-failed:{instance}"


def reload_failed(before: str | None, instance: str, problem: str, at: datetime) -> Unit | None:
    """What tells the audit log of a failure; None if it has been told. Conflict: another worker tells it.

    ``before`` is the value of ``failure_setting``.
    """
    digest = hashlib.sha256(problem.encode()).hexdigest()
    if before == digest:
        return None
    unit = Unit()
    settings.replace(unit, failure_setting(instance), before, digest, at)
    details = {"problem": problem[:MAX_PROBLEM_CHARACTERS], "instance": instance}
    unit.audit(AuditEvent("system", "policy.reload-failed", digest, outcome="failed", details=details))
    return unit


def reload_mended(before: str | None, instance: str, at: datetime) -> Unit | None:
    """What is written once other policies were taken after a failure, so that the next one is told again."""
    if before is None or before == _MENDED:
        return None
    unit = Unit()
    settings.replace(unit, failure_setting(instance), before, _MENDED, at)
    return unit
