"""Lists in files and at URLs, followed by a running gateway, and entries that serve one device each."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.support import pki, policies
from tests.support.answers import issued, refused
from tests.support.est_client import Answer
from tests.support.gateway import Gateway

Start = Callable[..., Gateway]
NAMES = {
    "subject": {"CN": {"source": "csr", "required": True, "allow": {"list": "hosts"}}},
    "cn_in_san": False,
}


def _bundle(**source: Any) -> str:
    return policies.bundle(
        policies.document("List", "hosts", type="dns", **source),
        policies.endpoint("default"),
        policies.enroll_policy("listed", "default", priority=1, names=NAMES),
    )["bundle.yaml"]


def _enroll(gateway: Gateway, host: str) -> Answer:
    return gateway.est_client().simple_enroll(pki.csr(pki.key(), cn=host))


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def _becomes(gateway: Gateway, host: str, status: int) -> None:
    _until(lambda: _enroll(gateway, host).status == status, f"{host} never became {status}")


def _ready(gateway: Gateway) -> dict[str, str]:
    context = ssl.create_default_context(cafile=str(gateway.root_pem))
    url = gateway.quickstart["https"] + "/readyz"
    with urllib.request.urlopen(url, context=context, timeout=60) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    components: dict[str, str] = found["components"]
    return components


def _replace(path: Path, text: str) -> None:
    aside = path.with_suffix(".new")
    aside.write_text(text)
    aside.replace(path)


def test_changed_file_is_taken_by_every_worker_without_another_bundle(start_gateway: Start) -> None:
    texts = {"bundle.yaml": _bundle(file="hosts.txt"), "hosts.txt": "a.test\n"}
    gateway = start_gateway(policies=texts, workers=2)
    issued(_enroll(gateway, "a.test"))
    refused(_enroll(gateway, "b.test"), 400, "subject.cn")
    _replace(gateway.directory / "policies" / "hosts.txt", "b.test\n")
    _until(lambda: gateway.log.count("list.taken hosts") == 2, "not taken by both workers")
    for _ in range(6):
        issued(_enroll(gateway, "b.test"))
        refused(_enroll(gateway, "a.test"), 400, "subject.cn")
    assert "policy.reloaded" not in gateway.log


def test_bad_file_keeps_the_old_content_and_degrades_until_it_is_mended(start_gateway: Start) -> None:
    texts = {"bundle.yaml": _bundle(file="hosts.txt"), "hosts.txt": "a.test\n"}
    gateway = start_gateway(policies=texts)
    path = gateway.directory / "policies" / "hosts.txt"
    _replace(path, "a.test\nno name at all\n")
    _until(lambda: "list hosts" in _ready(gateway), "readyz says nothing")
    assert "hosts.txt:2: 'no name at all' is no entry of a list of dns" in _ready(gateway)["list hosts"]
    issued(_enroll(gateway, "a.test"))
    path.unlink()
    _until(lambda: "cannot be read" in _ready(gateway).get("list hosts", ""), "a missing file is not told")
    issued(_enroll(gateway, "a.test"))
    _replace(path, "c.test\n")
    _becomes(gateway, "c.test", 200)
    assert "list hosts" not in _ready(gateway)


def test_restarted_worker_reads_the_file_that_is_there(start_gateway: Start) -> None:
    texts = {"bundle.yaml": _bundle(file="hosts.txt"), "hosts.txt": "a.test\n"}
    gateway = start_gateway(policies=texts)
    gateway.restart()
    issued(_enroll(gateway, "a.test"))


# -- URLs --


@dataclass
class Source:
    """What the server of a list says, and what it was asked."""

    text: str = "a.test\n"
    status: int = 200
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving() -> Iterator[Source]:
    source = Source()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            source.asked.append({**dict(self.headers), "path": self.path})
            etag = f'"{hash(source.text)}"'
            status = source.status
            if status == 200 and self.headers.get("If-None-Match") == etag:
                status = 304
            self.send_response(status)
            self.send_header("ETag", etag)
            if status == 302:
                self.send_header("Location", "http://localhost:1/elsewhere")
            body = source.text.encode() if status == 200 else b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        source.url = f"http://127.0.0.1:{server.server_address[1]}/hosts.txt"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield source
        finally:
            server.shutdown()
            thread.join()


def test_list_at_a_url_is_fetched_again_and_known_without_network(start_gateway: Start) -> None:
    environment = {"LIST_TOKEN": "Bearer of a secret"}
    with serving() as source:
        text = _bundle(url=source.url, refresh="10s", headers={"Authorization": "env:LIST_TOKEN"})
        gateway = start_gateway(policies={"bundle.yaml": text}, workers=2, environment=environment)
        _becomes(gateway, "a.test", 200)
        source.text = "b.test\n"
        sha256 = hashlib.sha256(source.text.encode()).hexdigest()
        _until(lambda: gateway.log.count(f"sha256 {sha256}") == 2, "newer content is not taken by both")
        for _ in range(4):
            issued(_enroll(gateway, "b.test"))
            refused(_enroll(gateway, "a.test"), 400, "subject.cn")
        _until(lambda: any("If-None-Match" in one for one in source.asked), "nothing is spared")
        source.status = 302
        _until(lambda: "leads to another host" in _ready(gateway).get("list hosts", ""), "not told")
        assert {one["Authorization"] for one in source.asked} == {"Bearer of a secret"}
        assert {one["path"] for one in source.asked} == {"/hosts.txt"}
        assert "of a secret" not in gateway.log
    gateway.restart()
    issued(_enroll(gateway, "b.test"))
    _until(lambda: "could not be fetched" in _ready(gateway).get("list hosts", ""), "not told")


def test_list_that_was_never_fetched_contains_nothing(start_gateway: Start) -> None:
    with serving() as source:
        source.status = 500
        gateway = start_gateway(policies={"bundle.yaml": _bundle(url=source.url, refresh="10s")})
        refused(_enroll(gateway, "a.test"), 400, "subject.cn")
        _until(lambda: "HTTP 500" in _ready(gateway).get("list hosts", ""), "not told")
        source.status = 200
        _becomes(gateway, "a.test", 200)


def test_stale_list_contains_nothing_unless_it_is_to_be_kept(start_gateway: Start) -> None:
    with serving() as kept_source, serving() as source:
        stale = {"after": "10s", "then": "deny"}
        kept = policies.document(
            "List", "kept", type="dns", url=kept_source.url, refresh="10s", on_stale={**stale, "then": "keep"}
        )
        names = {"subject": {"CN": {"source": "csr", "allow": {"list": "kept"}}}, "cn_in_san": False}
        more = (
            policies.bundle(
                kept,
                policies.endpoint("kept"),
                policies.enroll_policy("kept", "kept", priority=2, names=names),
            )["bundle.yaml"]
            .partition("---\n")[2]
            .partition("---\n")[2]
        )
        text = _bundle(url=source.url, refresh="10s", on_stale=stale) + "---\n" + more
        gateway = start_gateway(policies={"bundle.yaml": text})
        _becomes(gateway, "a.test", 200)
        source.status = kept_source.status = 500
        _becomes(gateway, "a.test", 400)
        issued(gateway.est_client(endpoint="kept").simple_enroll(pki.csr(pki.key(), cn="a.test")))


# -- single use --


def test_entry_serves_one_device_until_it_is_released(database_url: str | None, start_gateway: Start) -> None:
    text = _bundle(entries=["a.test", "b.test"], single_use=True)
    gateway = start_gateway(policies={"bundle.yaml": text}, database_url=database_url, workers=2)
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: _enroll(gateway, "A.test"), range(50)))
    assert sorted(answer.status for answer in answers) == [200] + [403] * 49
    issued(_enroll(gateway, "b.test"))
    told = _enroll(gateway, "a.test")
    refused(told, 403, "auth.credential-scope")
    assert "has served another request already" in told.text
    gateway.cli("list", "release", "hosts", "a.test")
    issued(_enroll(gateway, "a.test"))
    assert len(gateway.cli_json("list", "show", "hosts")["used"]) == 2
