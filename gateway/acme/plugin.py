"""The ACME front end (RFC 8555), named by the entry point ``acme``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel

from gateway.acme import limits
from gateway.acme.challenges import Challenges
from gateway.acme.errors import refusal_words
from gateway.acme.exchange import ACME
from gateway.acme.finalize import Recheck
from gateway.acme.jwk import spki_thumbprint
from gateway.acme.options import RESERVED_ENDPOINT_NAMES, AcmeOptions
from gateway.acme.paths import PREFIX
from gateway.acme.routes import AcmeRoutes
from gateway.acme.tables import accounts
from gateway.acme.tables.retention import Retention
from gateway.acme.validation import VALIDATE_JOB
from gateway.frontend import Mounted, Services
from gateway.http.message import PathRoute
from gateway.model.ids import ProtocolName


class AcmeFrontEnd:
    """Serves ``/acme/RESOURCE`` and ``/acme/E/RESOURCE``."""

    name: ClassVar[ProtocolName] = ACME
    options_model: ClassVar[type[BaseModel]] = AcmeOptions
    reserved_endpoint_names: ClassVar[frozenset[str]] = RESERVED_ENDPOINT_NAMES

    refusal_words = staticmethod(refusal_words)

    def mount(self, services: Services) -> Mounted:
        challenges, retention = Challenges(services), Retention(services.records)
        answer = AcmeRoutes(services, challenges).answer
        return Mounted(
            routes=(PathRoute(f"{PREFIX}/", ACME, answer), PathRoute(PREFIX, ACME, answer)),
            jobs={VALIDATE_JOB: challenges.job},
            recheck=Recheck(services),
            account_keys=account_keys,
            start=challenges.resume,
            housekeeping=partial(_keep_house, services, challenges, retention),
            aclose=challenges.aclose,
        )


def account_keys(spki_der: bytes) -> Callable[[Any], bool] | None:
    """See ``frontend.AccountKeys``: the key of an account at whatever endpoint (RFC 8555 section 11.1)."""
    thumbprint = spki_thumbprint(spki_der)
    return None if thumbprint is None else partial(accounts.key_in_use, thumbprint=thumbprint)


async def _keep_house(services: Services, challenges: Challenges, retention: Retention) -> None:
    await challenges.keep_house()
    await limits.prune(services)
    await retention.prune(services.clock.now())
