"""The ``authenticate`` part of a Policy document to rules."""

from __future__ import annotations

from dataclasses import replace

from gateway.model.evidence import CHALLENGE_DYNAMIC, CHALLENGE_STATIC, CredentialKind
from gateway.model.names import ATTRIBUTE_OIDS
from gateway.policy.authentication_documents import (
    AcmeAccountAuthentication,
    AllowList,
    Authenticate,
    ChallengeAuthentication,
)
from gateway.policy.authentication_rules import (
    AcmeAccountRule,
    AllowListRule,
    AuthenticationRule,
    BasicRule,
    CertificateRule,
    ChallengeRule,
    GroupsRule,
    MacRule,
)
from gateway.policy.certificate_documents import (
    CertificateAuthentication,
    CertificateRequirements,
    ClientCertificateAuthentication,
    SignatureAuthentication,
)
from gateway.policy.complaints import Path
from gateway.policy.extraction import (
    AskedOfCertificate,
    FactRule,
    read_attribute,
    read_fact_pattern,
    read_source,
)
from gateway.policy.patterns import compile_regex
from gateway.policy.template import Form, compile_template
from gateway.policy.yaml_marks import Document

_CHALLENGE_KINDS = {"static": CHALLENGE_STATIC, "dynamic": CHALLENGE_DYNAMIC}


def compile_authentication(rules: Authenticate, document: Document) -> AuthenticationRule:
    """Make the form that the engine and ``gateway.authn`` use."""
    basic, mac = rules.basic, rules.mac
    return AuthenticationRule(
        require=rules.require,
        basic=BasicRule(_groups(basic.groups, document, "basic")) if basic is not None else None,
        mtls=_client(rules.mtls, document, "mtls") if rules.mtls else None,
        renewal=_certificate(rules.renewal_cert, document, "renewal-cert") if rules.renewal_cert else None,
        acme=_account(rules.acme_account, document) if rules.acme_account else None,
        pop_linking=rules.pop_linking,
        challenge=_challenge(rules.challenge, document) if rules.challenge else None,
        mac=MacRule(_groups(mac.groups, document, "mac")) if mac is not None else None,
        signature=_signature(rules.signature, document) if rules.signature else None,
        alternatives=tuple(frozenset(map(CredentialKind, kinds)) for kinds in rules.alternatives),
        allow_list=_allow_list(rules.allow_list, document) if rules.allow_list else None,
        where=document.where(("authenticate",)),
    )


def _groups(words: tuple[str, ...] | None, document: Document, kind: str) -> GroupsRule | None:
    if words is None:
        return None
    where = document.where(("authenticate", kind, "groups"))
    return GroupsRule(tuple(dict.fromkeys(words)), f"{kind}.groups", where)


def _certificate(rules: CertificateAuthentication, document: Document, kind: str) -> CertificateRule:
    path: Path = ("authenticate", kind)
    return CertificateRule(
        trust=rules.trust,
        extended_key_usage=frozenset(rules.extended_key_usage),
        allow_expired_s=int(rules.allow_expired.total_seconds()),
        asked=_asked(rules.require, document.where((*path, "require"))) if rules.require else None,
        extract=tuple(
            FactRule(
                name,
                read_source(fact.source),
                None if fact.regex is None else read_fact_pattern(fact.regex),
                fact.required,
                document.where((*path, "extract", name)),
            )
            for name, fact in rules.extract.items()
        ),
        key=kind,
    )


def _asked(rules: CertificateRequirements, where: str) -> AskedOfCertificate:
    issuer = tuple((read_attribute(name), compile_regex(regex)) for name, regex in rules.issuer.items())
    return AskedOfCertificate(frozenset(rules.extended_key_usage), frozenset(rules.policies), issuer, where)


def _client(rules: ClientCertificateAuthentication, document: Document, kind: str) -> CertificateRule:
    return replace(
        _certificate(rules, document, kind),
        own_names_only=rules.names == "own",
        ignore_not_after=rules.ignore_not_after,
    )


def _signature(rules: SignatureAuthentication, document: Document) -> CertificateRule:
    return replace(_client(rules, document, "signature"), ra=rules.ra)


def _challenge(rules: ChallengeAuthentication, document: Document) -> ChallengeRule:
    return ChallengeRule(
        frozenset(_CHALLENGE_KINDS[word] for word in rules.accept),
        groups=_groups(rules.groups, document, "challenge"),
        ttl_s=None if rules.ttl is None else int(rules.ttl.total_seconds()),
        bound=tuple((label, ATTRIBUTE_OIDS[label]) for label in dict.fromkeys(rules.bind)),
        bound_where=document.where(("authenticate", "challenge", "bind")) if rules.bind else "",
    )


def _account(rules: AcmeAccountAuthentication, document: Document) -> AcmeAccountRule:
    return AcmeAccountRule(
        challenges=tuple(dict.fromkeys(rules.challenges)),
        reuse_s=int(rules.reuse_authorization.total_seconds()),
        bound=rules.eab == "required",
        groups=_groups(rules.groups, document, "acme-account"),
    )


def _allow_list(rules: AllowList, document: Document) -> AllowListRule:
    word = compile_template("${" + rules.fact + "}", Form.TEXT)
    return AllowListRule(rules.list_name, rules.fact, word, document.where(("authenticate", "allow_list")))
