"""The message identities of every endpoint whose front end needs one: made, renewed, shared, handed out.

Made ones stand in the database, so that all gateways on it have the same; an administrator's own come from
files and go before them. One that was replaced goes on opening messages until its certificate ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.clock import Clock
from gateway.composition import identity_record
from gateway.composition.identity_files import read_identity, require_in_time, unfit
from gateway.composition.identity_record import KeptIdentity
from gateway.composition.own_certificate import BACKDATE, OwnCertificate, issue_own
from gateway.datadir import DataDirectory
from gateway.enrolment.backends import BackendSet
from gateway.enrolment.bundle import ActiveBundle
from gateway.errors import BackendUnavailable, ConfigurationError, Conflict, GatewayError, SecretUnavailable
from gateway.message_identity import IdentityKind, MessageIdentity, OwnIdentity
from gateway.model.enrolment import CertificatePlan
from gateway.model.keys import PublicKey
from gateway.model.names import CN_OID, AttributeTypeAndValue, DistinguishedName
from gateway.pki.certificate import parse_certificate
from gateway.pki.keyfile import new_key, signer_of
from gateway.policy.rules import Bundle, CompiledEndpoint
from gateway.store import settings
from gateway.store.store import Store

LOG = logging.getLogger(__name__)
LIFETIME = timedelta(days=365)
# A renewed identity is handed out only once every gateway has read it (they look every FOLLOW_S).
FOLLOW_S = 5.0
HANDED_OUT_AFTER = timedelta(minutes=1)
MOST_KEPT = 8
ENDS_SOON = timedelta(days=30)
_LONGEST_CN = 64  # ub-common-name (RFC 5280 appendix A)

Key = tuple[str, str]  # protocol and endpoint
MayMake = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A setting as it was read, and the identities in it, newest first."""

    value: str | None
    kept: tuple[KeptIdentity, ...]
    identities: tuple[MessageIdentity, ...]


class MessageIdentities:
    """Those of one process. ``kinds`` is by protocol, for the front ends that need identities."""

    def __init__(
        self,
        kinds: Mapping[str, IdentityKind],
        bundle: ActiveBundle,
        backends: BackendSet,
        store: Store,
        clock: Clock,
        data: DataDirectory,
    ) -> None:
        self._kinds = kinds
        self._bundle = bundle
        self._backends = backends
        self._store = store
        self._clock = clock
        self._data = data
        self._server_key = data.server_key()
        self._made: dict[Key, _Opened] = {}
        self._own: dict[Key, tuple[MessageIdentity, ...]] = {}
        self._unreadable: dict[Key, str] = {}
        self._locks: dict[Key, asyncio.Lock] = {}

    # -- what front ends ask for --

    async def of(self, protocol: str, endpoint: str) -> tuple[MessageIdentity, ...]:
        """The one in use first, then what else opens messages. Made at once where there is none yet.

        Raises BackendUnavailable and StoreUnavailable.
        """
        key = (protocol, endpoint)
        compiled = self._bundle.current.endpoints.get(key)
        if compiled is None or protocol not in self._kinds:
            raise BackendUnavailable("this endpoint is gone")
        if problem := self._unreadable.get(key):
            raise _missing(compiled, problem)
        found = self._in_order(compiled)
        if not found:
            try:
                await self._settle(compiled, _at_once)
            except (ConfigurationError, SecretUnavailable) as error:
                raise _missing(compiled, str(error)) from error
            found = self._in_order(compiled)
        if not found:
            raise _missing(compiled, "it is not there")
        return found

    def components(self) -> dict[str, str]:
        """The state of each endpoint's identity, as readiness tells it."""
        return {
            f"identity {compiled.protocol}/{compiled.name}": self._state(compiled)
            for compiled in self._endpoints(self._bundle.current)
        }

    # -- what keeps them --

    async def prepare(self) -> None:
        """Make and check everything before the first start. Raises ConfigurationError with what is wrong."""
        take = await self.check(self._bundle.current, self._backends)
        take()
        for compiled in self._endpoints(self._bundle.current):
            await self._settle(compiled, _at_once)

    async def open(self) -> None:
        """Read what is there. An administrator's that cannot be read is told by ``components`` until other
        policies are taken; the others are tried again when they are needed."""
        for compiled in self._endpoints(self._bundle.current):
            key = (compiled.protocol, compiled.name)
            try:
                self._own[key] = await self._read_own(compiled, self._backends)
            except ConfigurationError as error:
                self._unreadable[key] = str(error)
                LOG.error("message-identity.unreadable %s/%s: %s (%s)", *key, error, error.detail)
            with suppress(GatewayError):
                await self._settle(compiled, _never)

    async def check(self, bundle: Bundle, backends: BackendSet) -> Callable[[], None]:
        """Read and check what administrators bring to a bundle that is not active yet, and that the gateway
        can make the rest. Gives what takes it into use. Raises ConfigurationError."""
        found = {}
        for compiled in self._endpoints(bundle):
            try:
                own, named = await self._read_own(compiled, backends), _named(compiled)
                if named is not None:
                    require_in_time(named, own[0], self._clock.now())
                else:
                    _require_signing(compiled, backends, self._kinds[compiled.protocol])
            except ConfigurationError as error:
                raise ConfigurationError(
                    f"endpoint {compiled.protocol}/{compiled.name}: {error}", detail=error.detail
                ) from error
            found[compiled.protocol, compiled.name] = own
        return lambda: self._take(found)

    async def follow(self, may_make: MayMake) -> None:
        """Take what another process has made, and make what is due if ``may_make`` says so.

        Raises the first trouble, after all endpoints had their turn.
        """
        troubles = []
        for compiled in self._endpoints(self._bundle.current):
            try:
                await self._settle(compiled, may_make)
            except GatewayError as error:
                troubles.append(error)
        if troubles:
            raise troubles[0]

    # -- inside --

    def _take(self, own: dict[Key, tuple[MessageIdentity, ...]]) -> None:
        self._own = own
        self._unreadable.clear()

    def _endpoints(self, bundle: Bundle) -> Sequence[CompiledEndpoint]:
        return [one for one in bundle.endpoints.values() if one.protocol in self._kinds]

    def _in_order(self, compiled: CompiledEndpoint) -> tuple[MessageIdentity, ...]:
        key = (compiled.protocol, compiled.name)
        own, opened = self._own.get(key, ()), self._made.get(key)
        if opened is None:
            return own
        now = self._clock.now()
        pairs = [
            (kept, identity)
            for kept, identity in zip(opened.kept, opened.identities, strict=True)
            if now <= kept.certificate.not_after
        ]
        if len(pairs) > 1:
            # Under the CA that the endpoint hands out before all, then what every gateway knows.
            issuer_der = self._issuer_der(compiled)
            pairs.sort(key=lambda one: (one[0].chain_der[:1] != issuer_der, one[0].in_use_from > now))
        return (*own, *(identity for _, identity in pairs))

    def _issuer_der(self, compiled: CompiledEndpoint) -> tuple[bytes, ...]:
        try:
            return (self._backends.authority(compiled.backend, compiled.ca).certificate_der,)
        except BackendUnavailable:
            return ()

    def _state(self, compiled: CompiledEndpoint) -> str:
        key = (compiled.protocol, compiled.name)
        if problem := self._unreadable.get(key):
            return f"degraded: {problem}"
        found, own = self._in_order(compiled), _named(compiled) is not None
        if not found:
            return "degraded: there is none yet; one is made within seconds, or the log says why not"
        end = parse_certificate(found[0].certificate_der).not_after
        if end - self._clock.now() >= ENDS_SOON:
            return "ok"
        what = "name a new one under `identity` of the endpoint" if own else "it could not be renewed"
        return f"degraded: it ends on {end:%Y-%m-%d %H:%M} UTC; {what}"

    async def _read_own(
        self, compiled: CompiledEndpoint, backends: BackendSet
    ) -> tuple[MessageIdentity, ...]:
        named = _named(compiled)
        if named is None:
            return ()
        try:
            chain_der = await backends.chain(compiled.backend, compiled.ca)
        except BackendUnavailable:
            chain_der = ()
        kind = self._kinds[compiled.protocol]
        return tuple(
            [
                await asyncio.to_thread(read_identity, files, kind, self._data.path, chain_der)
                for files in (named, *named.previous)
            ]
        )

    async def _settle(self, compiled: CompiledEndpoint, may_make: MayMake) -> None:
        """Read the setting of one endpoint; make an identity where one is due."""
        key = (compiled.protocol, compiled.name)
        async with self._locks.setdefault(key, asyncio.Lock()):
            opened = await self._read(key)
            if _named(compiled) is not None or not self._due(compiled, opened.kept):
                return
            if not await may_make():
                return
            try:
                await self._make(compiled, opened)
            except Conflict:
                LOG.info("message-identity.made-elsewhere %s/%s", *key)
            await self._read(key)

    async def _read(self, key: Key) -> _Opened:
        name = identity_record.setting_name(*key)
        value = await self._store.reader.read(lambda connection: settings.get(connection, name))
        opened = self._made.get(key)
        if opened is None or opened.value != value:
            kept = identity_record.read(value)
            identities = [identity_record.open_identity(one, self._server_key, name) for one in kept]
            opened = self._made[key] = _Opened(value, kept, tuple(identities))
        return opened

    def _due(self, compiled: CompiledEndpoint, kept: Sequence[KeptIdentity]) -> bool:
        """None yet, under a third of its life left, of another kind, or under a CA that is not the endpoint's
        any more."""
        if not kept:
            return True
        newest = kept[0].certificate
        if newest.not_after - self._clock.now() < (newest.not_after - newest.not_before) / 3:
            return True
        issuer_der = self._issuer_der(compiled)
        if issuer_der and kept[0].chain_der[:1] != issuer_der:
            return True
        return bool(unfit(newest, self._kinds[compiled.protocol]))

    async def _make(self, compiled: CompiledEndpoint, opened: _Opened) -> None:
        """Make a key, have it certified, and record both in one unit. Raises Conflict if another process was
        first; ConfigurationError, BackendUnavailable, StoreUnavailable."""
        kind, now = self._kinds[compiled.protocol], self._clock.now()
        _require_signing(compiled, self._backends, kind)
        key = await asyncio.to_thread(new_key, kind.key)
        name = identity_record.setting_name(compiled.protocol, compiled.name)
        own = await self._certified(compiled, kind, signer_of(key, name).public_key, now)
        earlier = tuple(one for one in opened.kept if now <= one.certificate.not_after)
        made = KeptIdentity(
            own.issued,
            own.chain_der,
            identity_record.seal_key(self._server_key, name, key),
            now + HANDED_OUT_AFTER if earlier else now,
        )
        value = identity_record.written((made, *earlier)[:MOST_KEPT])
        settings.replace(own.unit, name, opened.value, value, now)
        await self._store.recorder.commit(own.unit)
        LOG.info(
            "message-identity.made %s/%s until %s", compiled.protocol, compiled.name, own.issued.not_after
        )

    async def _certified(
        self, compiled: CompiledEndpoint, kind: IdentityKind, key: PublicKey, now: datetime
    ) -> OwnCertificate:
        issuer = await self._backends.issuer(compiled.backend, compiled.ca)
        above = [rdn for rdn in issuer.certificate.subject.rdns if all(one.oid != CN_OID for one in rdn)]
        common_name = AttributeTypeAndValue(CN_OID, f"{kind.label} {compiled.name}"[:_LONGEST_CN])
        plan = CertificatePlan(
            subject=DistinguishedName((*above, (common_name,))),
            sans=(),
            spki_der=key.spki_der,
            not_before=now - BACKDATE,
            not_after=min(now + LIFETIME, issuer.not_after),
            key_usage=kind.key_usage,
            extended_key_usage=kind.extended_key_usage,
        )
        purpose = f"{compiled.protocol}/{compiled.name}"
        return await issue_own(plan, purpose, self._backends, compiled.backend, compiled.ca, now)


def _named(compiled: CompiledEndpoint) -> OwnIdentity | None:
    """What an administrator brings to this endpoint."""
    named: OwnIdentity | None = getattr(compiled.options, "identity", None)
    return named


async def _at_once() -> bool:
    return True


async def _never() -> bool:
    return False


def _missing(compiled: CompiledEndpoint, why: str) -> BackendUnavailable:
    return BackendUnavailable(
        "this endpoint has no certificate of its own yet",
        detail=f"message identity of {compiled.protocol}/{compiled.name}: {why}",
    )


def _require_signing(compiled: CompiledEndpoint, backends: BackendSet, kind: IdentityKind) -> None:
    """Raises ConfigurationError where the gateway cannot have the identity made by itself."""
    try:
        backends.authority(compiled.backend, compiled.ca)
    except BackendUnavailable as error:
        raise ConfigurationError(
            f"the CA {compiled.backend!r} cannot make its {kind.label} certificate in this process"
            + (f" (no CA {compiled.ca!r})" if compiled.ca else "")
            + "; name a CA of the embedded backend under `ca`, or bring certificate and key by "
            "`options: {identity: {certificate: file:..., key: file:...}}`",
            detail=error.detail,
        ) from error
