"""Asynchronous ACME clients that never give up: every order is driven on until it is valid or invalid."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import ssl
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.acme_stream import AcmeAccount, AcmeStream, Responder, base64url, header, leaf_der
from bench.est_stream import StreamAnswer
from tests.harness.journal import Journal
from tests.support import pki
from tests.support.gateway import Gateway

REPEAT_SHARE = 0.1  # of the downloads are done once more
HURRY_S = 0.1  # a client of the harness waits no longer than this, whatever Retry-After says
OPEN = frozenset({"pending", "processing"})


class OrderEnded(Exception):
    """The order cannot become a certificate any more; the text is what the gateway said."""


@dataclass(slots=True)
class AcmeFleet:
    """``size`` clients, each with an account and connection of its own. ``counts`` says how things ended."""

    gateway: Gateway
    journal: Journal
    size: int = 8
    counts: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    responder: Responder = field(default_factory=Responder)
    _stopping: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _clients: list[_Client] = field(default_factory=list)

    async def start(self) -> None:
        facts = self.gateway.quickstart
        context = ssl.create_default_context(cafile=facts["root_pem"])
        await self.responder.start(int(facts["acme"]["http01_port"]))
        for number in range(self.size):
            account = AcmeAccount(facts["acme"]["directory"])
            client = _Client(self, number, account, AcmeStream(account, context, self.responder))
            self._clients.append(client)
            self._tasks.append(asyncio.create_task(client.run()))

    async def stop(self, patience_s: float = 90.0) -> None:
        """No new orders; waits until every open one has come to its end. Raises what a client raised.

        A client that is still at its order after ``patience_s`` is trouble for the judge: it is stuck.
        """
        self._stopping = True
        try:
            _, stuck = await asyncio.wait(self._tasks, timeout=patience_s)
            for client, task in zip(self._clients, self._tasks, strict=True):
                if task in stuck:
                    said = f"stuck for {patience_s:.0f} s: {client.doing}"
                    self.journal.trouble(client.spki, 0, said.encode())
                    task.cancel()
            await asyncio.gather(*(task for task in self._tasks if task not in stuck))
            await asyncio.gather(*stuck, return_exceptions=True)
        finally:
            for client in self._clients:
                await client.stream.close()
            await self.responder.stop()

    def failed(self) -> BaseException | None:
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

    @property
    def answers(self) -> int:
        """Certificates downloaded so far."""
        return self.counts["downloaded"]

    @property
    def stopping(self) -> bool:
        return self._stopping


@dataclass(slots=True)
class _Client:
    fleet: AcmeFleet
    number: int
    account: AcmeAccount
    stream: AcmeStream
    spki: str = ""  # the order that it is at
    doing: str = ""  # the last state that it was told

    async def run(self) -> None:
        while not self.account.kid:
            await self._attempt(self.stream.open_account())
        serial = 0
        while not self.fleet.stopping:
            serial += 1
            private_key = pki.key()
            spki = self.spki = hashlib.sha256(pki.spki_der(private_key)).hexdigest()
            name = f"acme-kill-{self.number}-{serial}.test"
            try:
                await self._ordered(name, pki.device_csr(private_key, name), spki)
            except OrderEnded as ended:
                self.fleet.journal.trouble(spki, 0, str(ended).encode())

    async def _ordered(self, name: str, csr_der: bytes, spki: str) -> None:
        made = await self._until(201, "newOrder", {"identifiers": [{"type": "dns", "value": name}]})
        url, order = header(made, b"location") or "", json.loads(made.body)
        for authorization_url in order["authorizations"]:
            await self._authorized(authorization_url)
        self.fleet.journal.sent(spki)
        while (order := await self._state(url))["status"] != "valid":
            if order["status"] == "ready":
                # 403 where a finalization whose answer was lost has done its work
                await self._until((200, 403), order["finalize"], {"csr": base64url(csr_der)})
            elif order["status"] == "processing":
                self.fleet.counts["processing"] += 1
                await asyncio.sleep(HURRY_S)
            else:
                raise OrderEnded(f"order {url}: {json.dumps(order)[:300]}")
        await self._downloaded(order["certificate"], spki)
        if random.random() < REPEAT_SHARE:
            self.fleet.counts["downloaded again"] += 1
            await self._downloaded(order["certificate"], spki)

    async def _authorized(self, url: str) -> None:
        while (state := await self._state(url))["status"] != "valid":
            if state["status"] not in OPEN:
                raise OrderEnded(f"authorization {url}: {json.dumps(state)[:300]}")
            challenge = next(one for one in state["challenges"] if one["type"] == "http-01")
            token = challenge["token"]
            self.fleet.responder.answers[token] = self.account.key_authorization(token)
            if challenge["status"] == "pending":
                await self._until(200, challenge["url"], {})
            else:
                await asyncio.sleep(HURRY_S)

    async def _downloaded(self, url: str, spki: str) -> None:
        answer = await self._until(200, url)
        self.fleet.counts["downloaded"] += 1
        self.fleet.journal.got(spki, leaf_der(answer.body))

    async def _state(self, url: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((await self._until(200, url)).body)
        self.doing = f"{url}: {json.dumps(state)}"
        return state

    async def _until(self, statuses: int | tuple[int, ...], url: str, payload: object = None) -> StreamAnswer:
        """Repeat a request until it is answered in a way that lets the order go on."""
        wanted = statuses if isinstance(statuses, tuple) else (statuses,)
        while True:
            answer: StreamAnswer | None = await self._attempt(self.stream.post(url, payload))
            if answer is None:
                continue
            self.fleet.counts[f"ACME {answer.status}"] += 1
            if answer.status in wanted:
                return answer
            if answer.status in (429, 503):
                await asyncio.sleep(HURRY_S)
                continue
            raise OrderEnded(f"{url}: {answer.status} {answer.body[:300].decode('utf-8', 'replace')}")

    async def _attempt(self, exchange: Any) -> Any:
        """One try; None if the connection broke or nobody listened."""
        try:
            async with asyncio.timeout(30):
                self.fleet.in_flight += 1
                try:
                    return await exchange
                finally:
                    self.fleet.in_flight -= 1
        except (OSError, EOFError, ssl.SSLError):
            self.fleet.counts["ACME connection broken"] += 1
        except TimeoutError:
            self.fleet.counts["ACME no answer in 30 s"] += 1
        self.stream.abort()
        await asyncio.sleep(random.uniform(0.002, 0.02))
        return None
