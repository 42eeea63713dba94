"""PKCSReq at a fixed concurrency: RSA-2048 on both sides, AES-128, SHA-256, every key and name different."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from bench.load import Load, Shot, fire
from bench.rsa_keys import RsaKeys
from bench.scep_stream import ScepServer, begin, find_server, open_reply
from gateway.errors import MalformedMessage
from gateway.pki.keyfile import FileSigner
from gateway.scep.client_message import ClientIdentity, SentMessage
from gateway.scep.message import PkiStatus
from tests.support.gateway import Gateway


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A PKCSReq that is ready to be sent, and what opens its answer."""

    key_number: int
    signer_der: bytes
    spki_der: bytes
    message: SentMessage


class ScepLoad:
    """``keep``: on kept connections, else on a new TCP connection each. ``most`` certificates are asked for
    in all runs together."""

    def __init__(self, gateway: Gateway, *, keep: bool, most: int) -> None:
        self._gateway = gateway
        self._keep = keep
        self._most = most
        self._begun = 0

    async def start(self) -> None:
        self._server = await find_server(self._gateway.quickstart["scep"])
        self._keys = RsaKeys(self._most)

    def prepare(self, name: str, count: int) -> Sequence[PreparedRequest]:
        wanted = [(self._begun + number, f"{name}-{number}.test") for number in range(count)]
        self._begun += count
        with self._pool() as pool:
            return list(pool.map(_prepare, wanted, chunksize=50))

    async def fire(self, prepared: Sequence[PreparedRequest], concurrency: int) -> Load:
        shots = [Shot(self._server.post(request.message.octets)) for request in prepared]
        return await fire(shots, port=self._server.port, concurrency=concurrency, keep=self._keep)

    def check(self, prepared: Sequence[PreparedRequest], load: Load, /) -> None:
        good = [
            (number, prepared[number], answer.body)
            for number, answer in zip(load.numbers, load.answers, strict=True)
            if answer.status == 200
        ]
        with self._pool() as pool:
            for number, found in pool.map(_open, good, chunksize=50):
                if isinstance(found, bytes):
                    load.certificates.append((number, found))
                else:
                    load.errors[found] += 1

    async def stop(self) -> None:
        """Nothing is open."""

    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(os.cpu_count(), initializer=_settle, initargs=(self._keys, self._server))


_SETTLED: list[tuple[RsaKeys, ScepServer]] = []  # in each process of a pool


def _settle(keys: RsaKeys, server: ScepServer) -> None:
    _SETTLED[:] = [(keys, server)]


def _prepare(wanted: tuple[int, str]) -> PreparedRequest:
    key_number, cn = wanted
    keys, server = _SETTLED[0]
    begun = begin(keys[key_number], cn, server)
    return PreparedRequest(key_number, begun.identity.certificate_der, begun.spki_der, begun.message)


def _open(answered: tuple[int, PreparedRequest, bytes]) -> tuple[int, bytes | str]:
    """The number with the certificate, or with what is wrong."""
    number, request, body = answered
    keys, server = _SETTLED[0]
    identity = ClientIdentity(request.signer_der, FileSigner(keys[request.key_number], "load"))
    try:
        reply = open_reply(body, request.message, identity, server.ra)
    except MalformedMessage as error:
        return number, f"CertRep: {error}"
    if reply.status is not PkiStatus.SUCCESS:
        return number, f"CertRep {reply.status.name} {reply.fail_info_text}"
    return number, reply.certificates_der[0]
