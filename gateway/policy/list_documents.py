"""``kind: List`` documents: values that rules look up, in the document, in a file beside it or at a URL.

What stands in ``entries`` is part of the bundle. The content of a file or URL is not: a list that changes
every day makes no new bundle, and the SHA-256 of its content stands in the trace of every decision instead.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from gateway.errors import ConfigurationError
from gateway.policy.complaints import Misfit
from gateway.policy.list_content import ListContent, ListFormat, ListType, inline_content, read_content
from gateway.policy.lists import CompiledList, UrlSource
from gateway.policy.name_documents import StrictModel
from gateway.policy.sources import ListReader, PolicySource
from gateway.policy.terms import Duration, ObjectName, as_list
from gateway.policy.yaml_marks import ComplaintList, Document

_MIN_REFRESH = timedelta(seconds=10)
_SECRET = re.compile(r"(?:env|file|cred):\S+")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_FIXED_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})


def _secret(value: object) -> object:
    if not isinstance(value, str) or not _SECRET.fullmatch(value):
        # The text is not repeated: it may be the secret itself.
        raise Misfit("this is no secret reference; write env:NAME, file:PATH or cred:NAME, never the secret")
    return value


def _url(value: object) -> object:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        port = parts.port if parts is not None else None  # noqa: F841  reading it checks it
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in ("https", "http") or not parts.hostname or parts.fragment:
        raise Misfit(f"{value!r} is no URL of a list; write one like https://cmdb.example/serials.txt")
    if parts.username is not None or parts.password is not None:
        raise Misfit('a secret stands in the URL; write headers: {Authorization: "env:NAME"} instead')
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise Misfit("whoever is on the way could change the list; write https")
    return value


SecretReference = Annotated[
    str, BeforeValidator(_secret), WithJsonSchema({"type": "string", "pattern": "^(env|file|cred):\\S+$"})
]
ListUrl = Annotated[str, BeforeValidator(_url), StringConstraints(max_length=2000)]


class OnStale(StrictModel):
    """What becomes of a list that could not be fetched for long."""

    after: Duration = Field(timedelta(days=1), description="The last good answer is older than this")
    then: Literal["deny", "keep"] = Field(
        "deny", description="deny: the list counts as unknown, so it contains nothing. keep: go on with it"
    )


class ListMetadata(StrictModel):
    """Who and what a list is."""

    name: ObjectName = Field(description="Rules name it. Lower-case letters, digits and hyphens, at most 40")
    owner: str = Field("", max_length=200, description="Who answers for it")
    description: str = Field("", max_length=2000, description="What it is for")


class List(StrictModel):
    """Values that rules look up. One of entries, file and url says where they are."""

    planned: ClassVar[frozenset[str]] = frozenset()

    apiVersion: Literal["pkigate/v1"] = Field(description="The version of the language")  # noqa: N815
    kind: Literal["List"] = Field(description="List")
    metadata: ListMetadata = Field(description="Its name stands in rules, traces and commands")
    type: ListType = Field(
        description="What the entries are, and so how they are compared: serial, dns, ip, email, spki-sha256 "
        "(of public keys), debian-openssl (as the package openssl-blacklist writes them) or text"
    )
    entries: (
        Annotated[tuple[str, ...], BeforeValidator(as_list, json_schema_input_type=str | list[str])] | None
    ) = Field(None, max_length=40_000, description="The entries themselves")
    file: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = Field(
        None, description="A file, by its path relative to this one; read anew when it changes"
    )
    url: ListUrl | None = Field(None, description="Where the list is fetched from, again and again")
    format: ListFormat | None = Field(
        None,
        description="lines: one entry in each line. csv: the first line names the columns, the first column "
        "is the key. Default: csv for names that end in .csv, else lines",
    )
    refresh: Duration = Field(timedelta(minutes=15), description="How often a URL is asked")
    headers: dict[str, SecretReference] = Field(
        default_factory=dict,
        max_length=16,
        description="HTTP headers for the URL; every value is a secret reference: env:NAME, file:PATH or "
        "cred:NAME",
    )
    on_stale: OnStale = Field(
        default_factory=lambda: OnStale.model_validate({}), description="When the URL gives nothing for long"
    )
    single_use: bool = Field(
        False, description="Every entry serves one granted request; `pkigate list release` gives it back"
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> List:
        given = [key for key in ("entries", "file", "url") if getattr(self, key) is not None]
        if len(given) != 1:
            raise Misfit(
                f"{' and '.join(given)} exclude each other; keep one"
                if given
                else "there is no content; write one of entries, file and url",
                (given[1],) if given else (),
            )
        for key in ("refresh", "headers", "on_stale"):
            if self.url is None and key in self.model_fields_set:
                raise Misfit(f"{key!r} is for a list with a url; remove it", (key,))
        if self.entries is not None and self.format is not None:
            raise Misfit("'format' is for a list with a file or url; remove it", ("format",))
        if self.refresh < _MIN_REFRESH:
            raise Misfit("this asks too often; write at least 10s", ("refresh",))
        if self.on_stale.after < self.refresh:
            raise Misfit(
                "a list is stale before it is asked for again; write more than refresh", ("on_stale", "after")
            )
        for name in self.headers:
            if not _HEADER.fullmatch(name) or name.lower() in _FIXED_HEADERS:
                raise Misfit(
                    f"{name!r} is no header that may be set; write one like Authorization", ("headers", name)
                )
        return self

    @property
    def form(self) -> ListFormat:
        """How a file or answer is written."""
        if self.format is not None:
            return self.format
        path = self.file or urlsplit(self.url or "").path
        return ListFormat.CSV if path.lower().endswith(".csv") else ListFormat.LINES


def compile_list(
    list_: List, document: Document, source: PolicySource, read_list: ListReader, found: ComplaintList
) -> CompiledList:
    """Check the list and read what can be read now; complaints go into ``found``."""
    content: ListContent | None = None
    if list_.entries is not None:
        try:
            content = inline_content(list_.type, list_.entries)
        except ValueError as error:
            text, index = error.args
            single = not isinstance(document.value, dict) or isinstance(document.value.get("entries"), str)
            found.add(document, ("entries",) if single else ("entries", index), text)
    elif list_.file is not None:
        try:
            octets = read_list(source, list_.file)
            if octets is not None:
                content = read_content(octets, list_.type, list_.form, list_.file)
        except ConfigurationError as error:
            found.add(document, ("file",), str(error))
    return CompiledList(
        name=list_.metadata.name,
        type=list_.type,
        format=list_.form,
        single_use=list_.single_use,
        content=content,
        file=list_.file or "",
        url=_url_source(list_) if list_.url is not None else None,
        where=document.where(),
    )


def _url_source(list_: List) -> UrlSource:
    return UrlSource(
        url=list_.url or "",
        refresh=list_.refresh,
        headers=tuple(sorted(list_.headers.items())),
        stale_after=list_.on_stale.after,
        deny_stale=list_.on_stale.then == "deny",
    )
