"""What the clients saw, on disk, and the verdict on it.

The journal knows only what went over the wire. The judge reads the gateway's database behind its back and
asks: is every certificate that a client received there byte for byte, did each request end with exactly one
certificate, is every certificate in the database one that was asked for? Of protocols where the client has to
accept what it got: is every request confirmed in the end, and every certificate good that was accepted?
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self


class Journal:
    """JSON lines, one per event, written before (``sent``) and after (``got``) each exchange."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", buffering=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, event: str, **facts: Any) -> None:
        self._file.write(json.dumps({"event": event, **facts}) + "\n")

    def sent(self, spki_sha256: str) -> None:
        """A new request; its repeats are not written."""
        self.write("sent", spki=spki_sha256)

    def got(self, spki_sha256: str, certificate_der: bytes) -> None:
        digest = hashlib.sha256(certificate_der).hexdigest()
        self.write("got", spki=spki_sha256, sha256=digest, der=certificate_der.hex())

    def confirmed(self, spki_sha256: str, certificate_der: bytes) -> None:
        """The client accepted this certificate, and the gateway answered that it knows."""
        self.write("confirmed", spki=spki_sha256, sha256=hashlib.sha256(certificate_der).hexdigest())

    def trouble(self, spki_sha256: str, status: int, body: bytes) -> None:
        """An answer that no client should ever get."""
        self.write("trouble", spki=spki_sha256, status=status, body=body[:300].decode("utf-8", "replace"))

    def events(self) -> Iterator[dict[str, Any]]:
        with self.path.open() as lines:
            for line in lines:
                yield json.loads(line)


@dataclass(slots=True)
class Verdict:
    """Counts and the first few of each kind of finding."""

    requests: int = 0
    answered: int = 0
    rows: int = 0
    unanswered: int = 0
    confirmed: int = 0  # answers to confirmations, repeats counted
    lost: list[str] = field(default_factory=list)  # received, but not in the database byte for byte
    duplicated: list[str] = field(default_factory=list)  # a key with more than one certificate
    differing: list[str] = field(default_factory=list)  # a repeat was answered with another certificate
    foreign: list[str] = field(default_factory=list)  # a certificate that no client asked for
    withdrawn: list[str] = field(default_factory=list)  # accepted by its client, but not good any more
    unconfirmed: list[str] = field(default_factory=list)  # requests that still wait for their client's word
    trouble: list[str] = field(default_factory=list)  # 500s and refusals
    audit: str = ""  # empty if the chain verifies

    @property
    def clean(self) -> bool:
        found = (
            self.lost,
            self.duplicated,
            self.differing,
            self.foreign,
            self.withdrawn,
            self.unconfirmed,
            self.trouble,
            self.audit,
        )
        return not any(found) and self.answered > 0 and self.unanswered == 0

    def as_json(self) -> dict[str, Any]:
        shown = {
            name: value[:5] if isinstance(value, list) else value for name, value in asdict(self).items()
        }
        counts = {f"{n}_count": len(v) for n, v in asdict(self).items() if isinstance(v, list)}
        return {"clean": self.clean, **counts, **shown}


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds after a run. ``certificates``: SHA-256 of the DER to SPKI hash and DER."""

    certificates: dict[str, tuple[str, bytes]]
    already_there: frozenset[str] = frozenset()  # SHA-256 of those from before the run
    revoked: frozenset[str] = frozenset()  # SHA-256 of those that are not good
    unconfirmed: tuple[str, ...] = ()  # ids of requests


def judge(journal: Journal, stored: Stored) -> Verdict:
    """Compare the journal with the database."""
    verdict = Verdict(unconfirmed=list(stored.unconfirmed))
    sent: set[str] = set()
    got: dict[str, str] = {}
    for event in journal.events():
        spki = event["spki"]
        match event["event"]:
            case "sent":
                sent.add(spki)
            case "trouble":
                verdict.trouble.append(f"{spki[:12]}: {event['status']} {event['body']}")
            case "got":
                row = stored.certificates.get(event["sha256"])
                if row is None or row[1] != bytes.fromhex(event["der"]):
                    verdict.lost.append(event["sha256"])
                if got.setdefault(spki, event["sha256"]) != event["sha256"]:
                    verdict.differing.append(spki)
            case "confirmed":
                verdict.confirmed += 1
                if event["sha256"] in stored.revoked:
                    verdict.withdrawn.append(event["sha256"])
    per_key: dict[str, int] = {}
    for sha256, (spki, _) in stored.certificates.items():
        if sha256 in stored.already_there:
            continue
        per_key[spki] = per_key.get(spki, 0) + 1
        if spki not in sent:
            verdict.foreign.append(sha256)
    verdict.duplicated = [spki for spki, count in per_key.items() if count > 1]
    verdict.requests, verdict.answered = len(sent), len(got)
    verdict.unanswered = len(sent - got.keys())
    verdict.rows = sum(per_key.values())
    return verdict
