"""The API's documents about credentials: what may be sent, and what comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from gateway.credentials.bounds import MAX_GROUPS, MAX_LABELS, MAX_NAME_CHARACTERS, MAX_USES, UnfitValue
from gateway.credentials.draft import Wishes
from gateway.model.evidence import ACME_EAB, CMP_SECRET, SCEP_CHALLENGE, CredentialKind

MOST_ENTRIES = 100
MOST_LIFE_S = 100 * 366 * 24 * 3600
MOST_ON_A_PAGE = 200


def _text(given: object) -> object:
    """Numbers are no times: what unit they are in, everybody reads differently."""
    if not isinstance(given, str):
        raise ValueError("write a time as text, for example 2030-01-31T12:00:00Z")
    return given


Time = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_text)]
Entries = Annotated[list[Annotated[str, Field(max_length=255)]], Field(min_length=1, max_length=MOST_ENTRIES)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]


class _NewCredential(BaseModel):
    """What every kind can be bounded by."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    endpoints: Entries | None = Field(
        default=None, description="Good at these endpoints only. Left out: at all, if the token is for all."
    )
    names: Entries | None = Field(
        default=None,
        description="Only DNS names under these suffixes, and these IP addresses and networks; policy still "
        "decides.",
    )
    profiles: Entries | None = Field(default=None, description="Only these profiles.")
    expires_in_s: int | None = Field(
        default=None, ge=1, le=MOST_LIFE_S, description="Ends so many seconds from now."
    )
    expires_at: Time | None = Field(default=None, description="Ends then (RFC 3339, with an offset).")
    uses: int | None = Field(
        default=None,
        ge=1,
        le=MAX_USES,
        description="Good for so many certificates; of ACME, for so many accounts.",
    )

    groups: Annotated[list[str], Field(min_length=1, max_length=MAX_GROUPS)] | None = Field(
        default=None, description="Groups that policies may ask for."
    )
    labels: Annotated[dict[str, str], Field(min_length=1, max_length=MAX_LABELS)] | None = Field(
        default=None, description="What policies may speak of, value by name; no secrets."
    )

    def _ends(self, now: datetime) -> datetime | None:
        if self.expires_in_s is not None and self.expires_at is not None:
            raise UnfitValue("say expires_in_s or expires_at, not both", path="expires")
        if self.expires_in_s is not None:
            return now + timedelta(seconds=self.expires_in_s)
        try:
            return None if self.expires_at is None else self.expires_at.astimezone(UTC).replace(microsecond=0)
        except OverflowError as exc:
            raise UnfitValue("it is beyond the last year that there is", path="expires") from exc

    def _wishes(
        self, kind: CredentialKind, protocol: str, name: str | None, now: datetime, *, static: bool = False
    ) -> Wishes:
        return Wishes(
            kind=kind,
            protocol=protocol,
            name=name,
            endpoints=self.endpoints,
            names=self.names,
            profiles=self.profiles,
            expires_at=self._ends(now),
            uses=self.uses,
            static=static,
            groups=self.groups,
            labels=self.labels,
        )


class NewScepChallenge(_NewCredential):
    """A challenge password (RFC 8894 section 7.3): for one use within an hour, if nothing else is said."""

    kind: Literal["scep-challenge"]
    name: Name | None = Field(default=None, description="What it is called here. Left out: a random name.")
    static: bool = Field(default=False, description="For many devices, as often as wanted.")

    def wishes(self, now: datetime) -> Wishes:
        return self._wishes(SCEP_CHALLENGE, "scep", self.name, now, static=self.static)


class NewCmpSecret(_NewCredential):
    """A reference with a shared secret (RFC 9810 section 5.1.3.1)."""

    kind: Literal["cmp-secret"]
    ref: Name = Field(description="The reference, which clients send as senderKID.")

    def wishes(self, now: datetime) -> Wishes:
        return self._wishes(CMP_SECRET, "cmp", self.ref, now)


class NewAcmeAccount(_NewCredential):
    """A key identifier with a MAC key, which ACME accounts are bound with (RFC 8555 section 7.3.4)."""

    kind: Literal["acme-eab"]
    name: Name | None = Field(default=None, description="The key identifier. Left out: a random one.")

    def wishes(self, now: datetime) -> Wishes:
        return self._wishes(ACME_EAB, "acme", self.name, now)


NewCredentialDocument = Annotated[
    NewScepChallenge | NewCmpSecret | NewAcmeAccount, Field(discriminator="kind")
]
State = Literal["active", "expired", "used-up", "revoked"]


class CredentialDocument(BaseModel):
    """A credential without its secret. ``name``: of cmp-secret the reference, of acme-eab the key identifier,
    of basic the user name."""

    id: str
    kind: str
    protocol: str | None
    name: str
    endpoints: list[str] | None
    names: list[str] | None
    profiles: list[str] | None
    prevalidated: list[str] | None
    groups: list[str]
    labels: dict[str, str]
    created_at: datetime
    expires_at: datetime | None
    uses_left: int | None
    revoked_at: datetime | None
    source: str
    state: State


class CreatedCredential(CredentialDocument):
    """A new credential. ``secret`` is shown here only: the challenge password, the shared secret, or ACME's
    MAC key in base64url."""

    secret: str
    warnings: list[str]


class CredentialList(BaseModel):
    """One page, newest first. ``next_before`` goes into ``before`` for the next one; null at the end. A page
    may hold fewer than asked for, or none, and still not be the last."""

    credentials: list[CredentialDocument]
    next_before: str | None


class ListQuery(BaseModel):
    """What a list is narrowed to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["basic", "acme-eab", "scep-challenge", "cmp-secret"] | None = None
    endpoint: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] | None = Field(
        default=None, description="Those that are good at this endpoint."
    )
    state: State | None = None
    limit: int = Field(default=100, ge=1, le=MOST_ON_A_PAGE)
    before: Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$")] | None = Field(
        default=None, description="The next_before of the page before."
    )
