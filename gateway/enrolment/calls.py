"""One way to call a CA: with an end to waiting, and with every fault of a plug-in turned into one of two."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TypeVar

from ca_backend.api import CaBackend
from gateway.errors import BackendInDoubt, BackendUnavailable

LOG = logging.getLogger(__name__)
CALL_TIMEOUT_S = 30
FAULT_RETRY_S = 60
T = TypeVar("T")


async def call(backend: CaBackend, what: str, answer: Awaitable[T]) -> T:
    """Wait for the answer of one call.

    Raises BackendUnavailable where the CA is known not to have acted, BackendInDoubt in every other case.
    """
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            return await answer
    except BackendUnavailable as error:
        LOG.warning("backend.unavailable %s %s: %s", backend.name, what, error.detail or error)
        raise
    except BackendInDoubt as error:
        LOG.warning("backend.in-doubt %s %s: %s", backend.name, what, error.detail or error)
        raise
    except TimeoutError as error:
        LOG.warning("backend.in-doubt %s %s: no answer in time", backend.name, what)
        raise BackendInDoubt("the CA did not answer in time", detail=str(error)) from error
    except Exception as error:
        # A plug-in may fail with anything; whether the CA acted is then not known.
        LOG.exception("backend.fault %s %s", backend.name, what)
        raise BackendInDoubt(
            "the CA could not be asked",
            retry_after_s=FAULT_RETRY_S,
            detail=f"{type(error).__name__}: {error}",
        ) from error
