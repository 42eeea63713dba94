"""What documents of a bundle say of each other: names that must exist, and parts that must fit together."""

from __future__ import annotations

from gateway.model.enrolment import Operation
from gateway.policy.authentication_documents import SignatureAuthentication
from gateway.policy.bundle_draft import BundleDraft
from gateway.policy.complaints import Path, Value, did_you_mean
from gateway.policy.content_references import check_content
from gateway.policy.document import Endpoint, Policy, RevocationPolicy
from gateway.policy.guardrail_documents import Guardrail
from gateway.policy.guardrail_rules import CompiledGuardrail
from gateway.policy.name_references import check_names, lists_named
from gateway.policy.routing_references import issuing, profile_path
from gateway.policy.rules import CompiledPolicy
from gateway.policy.yaml_marks import Document


def refer(
    draft: BundleDraft, document: Document, path: Path, kind: str, name: str, protocol: str = ""
) -> None:
    """Complain if there is no document of this kind and name."""
    if (kind, protocol, name) in draft.declared or draft.unreadable:
        # A document that could not be read may be the one that is meant; its own mistakes come first.
        return
    of = f" of {protocol}" if protocol else ""
    hint = did_you_mean(name, draft.names(kind, protocol))
    hint += " " if hint.endswith("?") else ". "
    article = "an" if kind == "Endpoint" else "a"
    text = f"there is no {kind}{of} {name!r}; {hint}Otherwise add {article} {kind} document of that name"
    draft.found.add(document, path, text)


def check_protocol(draft: BundleDraft, document: Document, path: Path, protocol: str) -> bool:
    """Complain of a protocol that nothing here speaks."""
    known = draft.registry.endpoint_options
    if protocol in known:
        return True
    text = f"no installed plug-in brings the protocol {protocol!r}; {did_you_mean(protocol, known)}"
    draft.found.add(document, path, text)
    return False


def check_references(draft: BundleDraft, policy: Policy | RevocationPolicy, document: Document) -> None:
    """Complain of everything that a policy names and that is not there."""
    match, protocol = policy.match, policy.match.protocol
    if check_protocol(draft, document, ("match", "protocol"), protocol):
        path: Path = ("match", "endpoint")
        single = isinstance(_at(document.value, path), str)
        for index, name in enumerate(match.endpoint):
            refer(draft, document, path if single else (*path, index), "Endpoint", name, protocol)
        if not match.endpoint and not draft.names("Endpoint", protocol) and not draft.unreadable:
            text = f"there is no Endpoint of {protocol}, so this policy is for nothing; write one"
            draft.found.add(document, ("match", "protocol"), text)
    for path, backend, _ in issuing(policy, document) if isinstance(policy, Policy) else ():
        refer(draft, document, path, "Backend", backend)
    for key, certificate in policy.authenticate.trusts.items():
        refer(draft, document, ("authenticate", key, "trust"), "TrustStore", certificate.trust)
    _check_authority(draft, policy.authenticate.signature, document)
    if isinstance(policy, Policy):
        check_names(policy, document, draft.found)
        check_content(draft, policy, document, refer)
        for path, name in lists_named(policy.names):
            refer(draft, document, path, "List", name)


def _check_authority(
    draft: BundleDraft, signature: SignatureAuthentication | None, document: Document
) -> None:
    """Whoever enrolled here would be a registration authority, if its trust store held our own CA."""
    if signature is None or not signature.ra or signature.extended_key_usage:
        return
    store = draft.trust_stores.get(signature.trust)
    if store is not None and store.backends:
        text = (
            f"the trust store {signature.trust!r} holds CAs of this gateway, so everybody who enrolled here "
            "would be a registration authority; write extended_key_usage: [cmcRA], or name a trust store "
            "that holds the CA of registration authorities alone"
        )
        draft.found.add(document, ("authenticate", "signature", "ra"), text)


def check_binding(draft: BundleDraft, policy: CompiledPolicy, document: Document) -> None:
    """Where nothing is proven, every account must be somebody's whom the administrator knows."""
    rule = policy.authenticate.acme
    if rule is None or rule.challenges or rule.bound or rule.groups is not None:
        return
    for name in sorted(policy.endpoints):
        endpoint = draft.endpoints.get((policy.protocol, name))
        if endpoint is None or endpoint.options is None:
            continue  # its own mistake is told already
        if not getattr(endpoint.options, "binds_accounts", False):
            text = (
                f"no challenge is asked for, and anybody may open an account at the {policy.protocol} "
                f"endpoint {name!r}, so anybody could have any name; write options: {{eab: always}} there, "
                "or name a challenge or eab: required here"
            )
            draft.found.add(document, ("authenticate", "acme-account", "challenges"), text)


def check_guardrail(draft: BundleDraft, guardrail: Guardrail, document: Document) -> None:
    """Complain of protocols and endpoints that are not there: a guardrail for nothing guards nothing."""
    match = guardrail.match
    if match is None:
        return
    for index, protocol in enumerate(match.protocol):
        path: Path = ("match", "protocol")
        single = isinstance(_at(document.value, path), str)
        check_protocol(draft, document, path if single else (*path, index), protocol)
    known = {
        name for kind, of, name in draft.declared if kind == "Endpoint" and of in (match.protocol or {of})
    }
    for index, name in enumerate(match.endpoint):
        if name not in known and not draft.unreadable:
            path = ("match", "endpoint")
            single = isinstance(_at(document.value, path), str)
            text = f"there is no Endpoint {name!r} of these protocols; {did_you_mean(name, known)}"
            draft.found.add(document, path if single else (*path, index), text)


def check_profiles(draft: BundleDraft) -> None:
    """Profiles of a backend that knows all of its own: of endpoints (``ca``) and of what issues."""
    for one in draft.read:
        model = one.model
        if isinstance(model, Endpoint):
            _check_profile(draft, one.document, ("ca",), model.backend, model.ca)
        elif isinstance(model, Policy):
            for path, backend, profile in issuing(model, one.document):
                _check_profile(draft, one.document, profile_path(path), backend, profile)


def _check_profile(
    draft: BundleDraft, document: Document, path: Path, backend: str, profile: str | None
) -> None:
    compiled = draft.backends.get(backend)
    known = getattr(compiled.options, "known_profiles", None) if compiled is not None else None
    if profile is not None and known is not None and profile not in known:
        text = f"the backend {backend!r} has no CA or profile {profile!r}; {did_you_mean(profile, known)}"
        draft.found.add(document, path, text)


def check_default_profiles(draft: BundleDraft) -> None:
    """The profile of orders that name none (``options.default_profile``) must be one that can be had."""
    if draft.unreadable:
        return
    for one in draft.read:
        if not isinstance(one.model, Endpoint):
            continue
        place = one.model.protocol, one.model.metadata.name
        wanted = getattr(draft.endpoints[place].options, "default_profile", None)
        offered = {
            profile
            for policy in draft.policies
            if policy.protocol == place[0] and place[1] in policy.endpoints
            for profile in policy.profiles_at(place[1], Operation.ENROLL)
        }
        if wanted is not None and wanted not in offered:
            hint = did_you_mean(wanted, offered)
            hint += " " if hint.endswith("?") else ". "
            text = (
                f"no policy of this endpoint is for the profile {wanted!r}; {hint}A policy is for a profile "
                "by match: {profile: ...}"
            )
            draft.found.add(one.document, ("options", "default_profile"), text)


def check_lists(draft: BundleDraft, policy: CompiledPolicy, document: Document) -> None:
    """Complain of List documents that an expression asks and that are not there."""
    for name, path in policy.conditions.lists:
        refer(draft, document, path, "List", name)


def check_asked_lists(draft: BundleDraft, guardrail: CompiledGuardrail, document: Document) -> None:
    """As ``check_lists``, for the checks of a guardrail."""
    for check in guardrail.checks:
        for name in check.expression.lists:
            refer(draft, document, check.expression.path, "List", name)


def _at(value: Value, path: Path) -> Value:
    for step in path:
        value = value.get(str(step)) if isinstance(value, dict) else None
    return value
