"""Compiled rules of ``authenticate``: which credentials count, and what is asked of them beside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.model.evidence import CredentialKind
from gateway.policy.extraction import AskedOfCertificate, FactRule
from gateway.policy.template import Template


class Require(StrEnum):
    """Whether one of the named credentials is enough."""

    ANY = "any"
    ALL = "all"


class PopLinking(StrEnum):
    """What is asked of the link between proof of possession and TLS session (RFC 7030 section 3.5)."""

    REQUIRED = "required"
    IF_PRESENT = "if-present"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class GroupsRule:
    """The stored credential must be in one of ``allowed``. ``key``: the rule below ``authenticate``."""

    allowed: tuple[str, ...]
    key: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class BasicRule:
    """User name and secret (RFC 7617) are looked at."""

    groups: GroupsRule | None = None


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """A client certificate is looked at.

    ``trust`` names a trust store of the bundle, ``extended_key_usage`` holds OIDs of which the certificate
    must carry one if it carries any, ``allow_expired_s`` is the grace after notAfter. ``own_names_only``: the
    request may name nothing that the certificate does not bear itself. ``ra``: who holds it is a registration
    authority; then it must carry one of ``extended_key_usage`` in any case, if any are named.
    ``ignore_not_after``: no end in its path counts. ``asked`` and ``extract``: what must stand in it and what
    is read in it. ``key``: the rule below ``authenticate``.
    """

    trust: str
    extended_key_usage: frozenset[str]
    allow_expired_s: int = 0
    own_names_only: bool = False
    ra: bool = False
    ignore_not_after: bool = False
    asked: AskedOfCertificate | None = None
    extract: tuple[FactRule, ...] = ()
    key: str = ""


@dataclass(frozen=True, slots=True)
class ChallengeRule:
    """A challengePassword (RFC 8894 section 7.3) is looked at. ``accept`` holds CHALLENGE_STATIC,
    CHALLENGE_DYNAMIC or both: the kinds that the stored credential may turn out to be. ``ttl_s``: how long
    ago it may have been made. ``bound``: labels of it that must equal the attribute (an OID) of the requested
    subject."""

    accept: frozenset[CredentialKind]
    groups: GroupsRule | None = None
    ttl_s: int | None = None
    bound: tuple[tuple[str, str], ...] = ()
    bound_where: str = ""


@dataclass(frozen=True, slots=True)
class MacRule:
    """A message that a stored secret protects (RFC 9810 section 5.1.3.1) is looked at."""

    groups: GroupsRule | None = None


@dataclass(frozen=True, slots=True)
class AcmeAccountRule:
    """An ACME account is looked at, and its proof of every name (RFC 8555 section 8).

    ``challenges`` in the order in which they are offered; empty: the external account that the account is
    bound to stands in for every proof. ``reuse_s``: how old a proof may be to count for another order.
    ``bound``: the account must be bound to an external account, which ``groups`` speaks of.
    """

    challenges: tuple[str, ...]
    reuse_s: int = 0
    bound: bool = False
    groups: GroupsRule | None = None


@dataclass(frozen=True, slots=True)
class AllowListRule:
    """The value of ``fact``, a word of ``gateway.policy.vocabulary``, must stand in the List ``name``."""

    name: str
    fact: str
    word: Template
    where: str = ""


@dataclass(frozen=True, slots=True)
class AuthenticationRule:
    """Which credentials a policy verifies. ``alternatives`` has one entry for each rule that is set: the
    kinds of verified credential that satisfy it."""

    require: Require
    basic: BasicRule | None = None
    mtls: CertificateRule | None = None
    renewal: CertificateRule | None = None
    acme: AcmeAccountRule | None = None
    challenge: ChallengeRule | None = None
    mac: MacRule | None = None
    signature: CertificateRule | None = None
    pop_linking: PopLinking = PopLinking.IF_PRESENT
    alternatives: tuple[frozenset[CredentialKind], ...] = ()
    allow_list: AllowListRule | None = None
    where: str = ""

    @property
    def kinds(self) -> frozenset[CredentialKind]:
        """Every kind of credential that is looked at."""
        return frozenset().union(*self.alternatives)
