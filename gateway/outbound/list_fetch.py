"""Fetches a list from where the administrator keeps it.

The URL is his own word, so that no address is refused; whatever stands there must not lead to other hosts, be
larger than a list may be, or take for ever. httpx is loaded with the first fetch.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from gateway.outbound.faults import ConnectFault, HttpFault

if TYPE_CHECKING:
    import httpx

MAX_BYTES = 64 << 20
MAX_REDIRECTS = 3
TOTAL_S = 60.0
SILENT_S = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """``content`` None: nothing is new since the answer that ``etag`` and ``last_modified`` are of."""

    content: bytes | None
    etag: str | None
    last_modified: str | None


async def fetch_list(
    url: str, headers: Mapping[str, str], *, etag: str | None = None, last_modified: str | None = None
) -> ListAnswer:
    """GET it, unless it is as it was (RFC 9110 section 13.1). Raises ConnectFault and HttpFault."""
    import httpx

    asked = {**headers, "Accept": "text/csv, text/plain, */*;q=0.1"}
    if etag is not None:
        asked["If-None-Match"] = etag
    elif last_modified is not None:
        asked["If-Modified-Since"] = last_modified
    try:
        async with (
            asyncio.timeout(TOTAL_S),
            httpx.AsyncClient(verify=ssl.create_default_context(), timeout=SILENT_S) as client,
        ):
            for _ in range(MAX_REDIRECTS + 1):
                async with client.stream("GET", url, headers=asked) as response:
                    if response.status_code not in _REDIRECTS:
                        return await _answer(response, etag, last_modified)
                    url = _same_host(url, response.headers.get("Location", ""))
    except TimeoutError as error:
        raise ConnectFault(f"there was no whole answer within {TOTAL_S:.0f} s", passing=True) from error
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
        raise ConnectFault(f"{type(error).__name__}: {error}", passing=True) from error
    raise HttpFault(f"it leads on more than {MAX_REDIRECTS} times", passing=False)


async def _answer(response: httpx.Response, etag: str | None, last_modified: str | None) -> ListAnswer:
    if response.status_code == 304 and (etag is not None or last_modified is not None):
        return ListAnswer(None, etag, last_modified)
    if response.status_code != 200:
        raise HttpFault(f"the answer is HTTP {response.status_code}", passing=True)
    found = bytearray()
    async for part in response.aiter_bytes():
        found += part
        if len(found) > MAX_BYTES:
            raise HttpFault(f"the list is over {MAX_BYTES >> 20} MiB", passing=False)
    return ListAnswer(bytes(found), response.headers.get("ETag"), response.headers.get("Last-Modified"))


def _same_host(url: str, location: str) -> str:
    """Where a redirect leads, which must be the same host and port by the same scheme: the headers may hold a
    secret, and the administrator named this host."""
    target = urljoin(url, location)
    before, after = urlsplit(url), urlsplit(target)
    if (before.scheme, before.netloc.lower()) != (after.scheme, after.netloc.lower()):
        raise HttpFault("it leads to another host; write that URL, if it is the right one", passing=False)
    return target
