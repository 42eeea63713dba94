"""ACME clients: every order is driven on until it is valid or invalid (RFC 8555)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from typing import Any

from bench.acme_stream import AcmeAccount, AcmeStream, Responder, base64url, header, leaf_der
from bench.est_stream import StreamAnswer
from tests.harness.fleet import HURRY_S, Client, EnrolmentEnded, Fleet
from tests.support import pki

LONGEST_PAUSE_S = 1.0
OPEN = frozenset({"pending", "processing"})


class AcmeFleet(Fleet):
    """Each client has an account of its own; all have one http-01 responder."""

    protocol = "ACME"

    async def open(self) -> None:
        facts = self.gateway.quickstart
        self._directory = facts["acme"]["directory"]
        self._context = ssl.create_default_context(cafile=facts["root_pem"])
        self.responder = Responder()
        await self.responder.start(int(facts["acme"]["http01_port"]))

    def client(self, number: int) -> Client:
        account = AcmeAccount(self._directory)
        return _AcmeClient(self, number, account, AcmeStream(account, self._context, self.responder))

    async def close(self) -> None:
        await self.responder.stop()


class _AcmeClient(Client):
    fleet: AcmeFleet

    def __init__(self, fleet: AcmeFleet, number: int, account: AcmeAccount, stream: AcmeStream) -> None:
        super().__init__(fleet, number)
        self._account = account
        self._stream = stream

    async def begin(self) -> None:
        while not self._account.kid:
            await self.attempt(self._stream.open_account())

    async def enrol(self, name: str) -> None:
        private_key = pki.key()
        self.spki = hashlib.sha256(pki.spki_der(private_key)).hexdigest()
        csr_der = pki.device_csr(private_key, name)
        made = await self._until(201, "newOrder", {"identifiers": [{"type": "dns", "value": name}]})
        url, order = header(made, b"location") or "", json.loads(made.body)
        for authorization_url in order["authorizations"]:
            await self._authorized(authorization_url)
        self.sent(self.spki)
        while (order := await self._state(url))["status"] != "valid":
            if order["status"] == "ready":
                # 403 where a finalization whose answer was lost has done its work
                await self._until((200, 403), order["finalize"], {"csr": base64url(csr_der)})
            elif order["status"] == "processing":
                self.fleet.count("processing")
                await asyncio.sleep(HURRY_S)
            else:
                raise EnrolmentEnded(f"order {url}: {json.dumps(order)[:300]}")
        await self._download(order["certificate"])
        if self.repeats():
            await self._download(order["certificate"])

    async def _authorized(self, url: str) -> None:
        pause_s = HURRY_S
        while (state := await self._state(url))["status"] != "valid":
            if state["status"] not in OPEN:
                raise EnrolmentEnded(f"authorization {url}: {json.dumps(state)[:300]}")
            challenge = next(one for one in state["challenges"] if one["type"] == "http-01")
            token = challenge["token"]
            self.fleet.responder.answers[token] = self._account.key_authorization(token)
            if challenge["status"] == "pending":
                await self._until(200, challenge["url"], {})
            else:
                # Where one worker after the other was killed at it, the validation waits ever longer.
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _download(self, url: str) -> None:
        self.got(leaf_der((await self._until(200, url)).body))

    async def _state(self, url: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((await self._until(200, url)).body)
        self.doing = f"{url}: {json.dumps(state)}"
        return state

    async def _until(self, statuses: int | tuple[int, ...], url: str, payload: object = None) -> StreamAnswer:
        """Repeat a request until it is answered in a way that lets the order go on."""
        wanted = statuses if isinstance(statuses, tuple) else (statuses,)
        while True:
            answer = await self.attempt(self._post(url, payload))
            if answer is None:
                continue
            self.fleet.count(str(answer.status))
            if answer.status in wanted:
                return answer
            if answer.status in (429, 503):
                await asyncio.sleep(HURRY_S)
                continue
            raise EnrolmentEnded(f"{url}: {answer.status} {answer.body[:300].decode('utf-8', 'replace')}")

    async def _post(self, url: str, payload: object) -> StreamAnswer:
        with self.fleet.counted_in_flight():
            return await self._stream.post(url, payload)

    def abort(self) -> None:
        self._stream.abort()

    async def close(self) -> None:
        await self._stream.close()
