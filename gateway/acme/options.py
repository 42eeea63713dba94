"""Options of an ACME endpoint (RFC 8555), as an Endpoint document of the policy bundle holds them."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gateway.errors import MalformedMessage
from gateway.pki.name_syntax import normal_dns

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_URL = re.compile(r"https?://[!#-;=?-\[\]_a-z~%]+", re.IGNORECASE)  # RFC 3986, without quotes and <>


def _duration(value: object) -> object:
    """``90s``, ``5m``, ``12h`` or ``7d``, as in policies."""
    if isinstance(value, str):
        found = _DURATION.fullmatch(value)
        if found is None:
            raise ValueError("is no duration; write for example 90s, 5m, 12h or 7d")
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    return value


def _url(value: str) -> str:
    """It goes into the directory and into Link headers as it stands."""
    if not _URL.fullmatch(value) or not urlsplit(value).hostname:
        raise ValueError(
            "is no URL; write for example https://pki.example/terms, in ASCII and without blanks"
        )
    return value


def _identity(value: str) -> str:
    try:
        found = normal_dns(value)
    except MalformedMessage as exc:
        raise ValueError(str(exc)) from exc
    if found.startswith("*"):
        raise ValueError("is a wildcard; write a domain name of this CA")
    return found


_LONGEST = timedelta(days=3660)
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration, json_schema_input_type=str),
    Field(ge=timedelta(0), le=_LONGEST),
]
# A lifetime, timeout or period: nothing would work with none at all.
Span = Annotated[
    timedelta,
    BeforeValidator(_duration, json_schema_input_type=str),
    Field(ge=timedelta(seconds=1), le=_LONGEST),
]
Url = Annotated[str, AfterValidator(_url)]
CaaIdentity = Annotated[str, AfterValidator(_identity)]


class EabRule(StrEnum):
    """Who must bring an external account binding (RFC 8555 section 7.3.4)."""

    NONE = "none"
    NEW_ACCOUNTS = "new-accounts"
    ALWAYS = "always"


class Limit(BaseModel):
    """So many within a time, evenly refilled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(ge=1, le=10_000_000, description="How many at once, and within `per`.")
    per: Span = Field(description="The time in which a spent allowance is whole again: 90s, 5m, 3h, 7d.")


class Limits(BaseModel):
    """Rate limits of one endpoint. A limit that is null does not exist."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accounts_per_address: Limit | None = Field(
        default=Limit(count=500, per=timedelta(hours=3)),
        description="New accounts from one source address (of IPv6 the /64).",
    )
    orders_per_account: Limit | None = Field(
        default=Limit(count=50_000, per=timedelta(hours=3)), description="New orders of one account."
    )
    orders_per_name: Limit | None = Field(
        default=Limit(count=100, per=timedelta(days=1)),
        description="New orders of one account that ask for the same name.",
    )
    orders_per_registered_domain: Limit | None = Field(
        default=None,
        description="New orders of one account that ask for names of one registered domain: the last two "
        "labels of a name.",
    )
    failed_validations: Limit | None = Field(
        default=Limit(count=30, per=timedelta(hours=1)),
        description="Failed validations of one name by one account.",
    )
    pending_authorizations: int = Field(
        default=2000, ge=1, le=1_000_000, description="Unanswered authorizations that an account may hold."
    )


def _network(value: object) -> object:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError("this is no network; write one like 10.0.0.0/8")
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no network: {error}; write one like 10.0.0.0/8") from error


ValidationNetwork = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]


class AcmeOptions(BaseModel):
    """How one ACME endpoint speaks on the wire. What it issues is the policies' business."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    terms_of_service: Url | None = Field(
        default=None,
        description="URL of the terms; if set, an account must agree (RFC 8555 section 7.3.3). A changed URL "
        "asks every account to agree again.",
    )
    website: Url | None = Field(default=None, description="URL of a page about this CA, in the directory.")
    caa_identities: tuple[CaaIdentity, ...] = Field(
        default=(),
        description="Domain names that this CA answers to in CAA records (RFC 8659). If empty, CAA is not "
        "looked at, as befits a CA for internal names.",
    )
    caa_reuse: Duration = Field(
        default=timedelta(0),
        le=timedelta(hours=8),
        description="How old the look at CAA records during validation may be for it to count when the "
        "certificate is issued, 8h at most. 0s: they are always looked at again.",
    )
    eab: EabRule = Field(
        default=EabRule.NONE,
        description="External account binding: none (it is taken if offered), new-accounts (needed to open "
        "an account) or always (also accounts that were opened without one are refused, and so are all whose "
        "credential was revoked or has expired).",
    )
    max_identifiers: int = Field(default=100, ge=1, le=1000, description="Names that one order may hold.")
    max_contacts: int = Field(default=10, ge=0, le=100, description="Contacts that an account may have.")
    max_body_bytes: int = Field(
        default=50_000, ge=4096, le=1024 * 1024, description="Largest request body in bytes; more gets 413."
    )
    order_lifetime: Span = Field(
        default=timedelta(days=7), description="How long an order may be worked on until it is finalized."
    )
    pending_authorization_lifetime: Span = Field(
        default=timedelta(days=7), description="How long an authorization waits for its challenge."
    )
    authorization_lifetime: Span = Field(
        default=timedelta(days=30),
        description="How long a valid authorization counts for its order; reuse by later orders is the "
        "policy's to allow (authenticate.acme-account.reuse_authorization).",
    )
    validation_networks: tuple[ValidationNetwork, ...] = Field(
        default=(),
        description="Networks not meant for the public (10.0.0.0/8, fd00::/8 ...) that validation may "
        "connect to. Loopback and link-local addresses are never allowed by this.",
    )
    validation_attempts: int = Field(
        default=3, ge=1, le=10, description="How often a name is looked at before its challenge fails."
    )
    validation_timeout: Span = Field(
        default=timedelta(seconds=10),
        le=timedelta(seconds=30),
        description="Time for one attempt in all, DNS and redirects included; 30s at most.",
    )
    revocation_reasons: tuple[
        Literal[
            "unspecified",
            "keyCompromise",
            "affiliationChanged",
            "superseded",
            "cessationOfOperation",
            "privilegeWithdrawn",
        ],
        ...,
    ] = Field(
        default=(
            "unspecified",
            "keyCompromise",
            "affiliationChanged",
            "superseded",
            "cessationOfOperation",
        ),
        description="Reasons (RFC 5280 section 5.3.1) that clients may give.",
    )
    renewal_info: bool = Field(default=True, description="Offer renewal information (RFC 9773).")
    renewal_retry_after: Span = Field(
        default=timedelta(hours=6), description="How often clients are to ask for renewal information."
    )
    renewal_explanation_url: Url | None = Field(
        default=None, description="explanationURL of renewal information (RFC 9773 section 4.2)."
    )
    default_profile: str | None = Field(
        default=None,
        description="Profile of orders that name none: one that a policy of this endpoint is for. "
        "Without it they have no profile.",
    )
    limits: Limits = Field(default_factory=Limits, description="Rate limits.")

    @property
    def binds_accounts(self) -> bool:
        """Whether every account here is bound to an external one (see ``frontend.FrontEnd``)."""
        return self.eab is not EabRule.NONE


# The first segment below /acme/ is an endpoint's name or one of these.
RESERVED_ENDPOINT_NAMES = frozenset(
    {
        "directory",
        "new-nonce",
        "new-account",
        "new-order",
        "new-authz",
        "revoke-cert",
        "key-change",
        "renewal-info",
        "account",
        "orders",
        "order",
        "authz",
        "challenge",
        "cert",
    }
)
