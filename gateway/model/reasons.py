"""Why a request was refused: a closed list of codes that each protocol maps to its own words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReasonCode(StrEnum):
    """Stable codes. Each front end's ``errors.py`` is one table that is total over them."""

    HTTP_NOT_FOUND = "http.not-found"
    HTTP_METHOD = "http.method"
    HTTP_MEDIA_TYPE = "http.media-type"
    HTTP_TOO_LARGE = "http.too-large"
    HTTP_TIMEOUT = "http.timeout"
    HTTP_PLAIN = "http.plain"
    HTTP_PROXY_HEADER = "http.proxy-header"
    MESSAGE_EMPTY = "message.empty"
    MESSAGE_BASE64 = "message.base64"
    MESSAGE_PEM = "message.pem"
    MESSAGE_ASN1 = "message.asn1"
    MESSAGE_JSON = "message.json"
    MESSAGE_UNSUPPORTED = "message.unsupported"
    MESSAGE_INTEGRITY = "message.integrity"
    MESSAGE_ALGORITHM = "message.algorithm"
    MESSAGE_TIME = "message.time"
    TRANSACTION_IN_USE = "transaction.in-use"
    TRANSACTION_UNKNOWN = "transaction.unknown"
    CERTIFICATE_UNKNOWN = "certificate.unknown"
    CSR_SIGNATURE = "csr.signature"
    CSR_POSSESSION = "csr.possession"
    CSR_LINKING = "csr.linking"
    AUTH_MISSING = "auth.missing"
    AUTH_FAILED = "auth.failed"
    AUTH_KIND = "auth.kind"
    AUTH_THROTTLED = "auth.throttled"
    AUTH_CREDENTIAL_SCOPE = "auth.credential-scope"
    AUTH_CERTIFICATE_UNTRUSTED = "auth.certificate-untrusted"
    AUTH_CERTIFICATE_EXPIRED = "auth.certificate-expired"
    AUTH_CERTIFICATE_NOT_YET_VALID = "auth.certificate-not-yet-valid"
    AUTH_CERTIFICATE_REVOKED = "auth.certificate-revoked"
    AUTH_CERTIFICATE_USAGE = "auth.certificate-usage"
    AUTH_REQUIREMENT = "auth.requirement"
    AUTH_SIGNATURE = "auth.signature"
    AUTH_REPLAY = "auth.replay"
    AUTH_ACCOUNT = "auth.account"
    AUTH_CERTIFICATE_STATUS_UNKNOWN = "auth.certificate-status-unknown"
    POLICY_NO_MATCH = "policy.no-match"
    POLICY_UNACCOUNTED = "policy.unaccounted"
    POLICY_CRASH = "policy.crash"
    KEY_TYPE = "key.type"
    KEY_SIZE = "key.size"
    KEY_CURVE = "key.curve"
    KEY_WEAK = "key.weak"
    KEY_REUSE = "key.reuse"
    KEY_SIGNATURE_HASH = "key.signature-hash"
    NAME_KIND = "name.kind"
    NAME_NOT_ALLOWED = "name.not-allowed"
    NAME_MALFORMED = "name.malformed"
    NAME_WILDCARD = "name.wildcard"
    NAME_COUNT = "name.count"
    NAME_MISSING = "name.missing"
    NAME_UNPROVEN = "name.unproven"
    NAME_CAA = "name.caa"
    PROFILE_UNKNOWN = "profile.unknown"
    ORDER_STATE = "order.state"
    REVOCATION = "revocation"
    SUBJECT_ATTRIBUTE = "subject.attribute"
    SUBJECT_CN = "subject.cn"
    EXTENSION_NOT_ALLOWED = "extension.not-allowed"
    EXTENSION_CA = "extension.ca"
    VALIDITY = "validity"
    RENEWAL_NAMES_DIFFER = "renewal.names-differ"
    RENEWAL_NOT_OURS = "renewal.not-ours"
    RENEWAL_WINDOW = "renewal.window"
    CHECK_NAME = "check.name"
    CHECK_KEY = "check.key"
    CHECK_CLIENT = "check.client"
    CHECK_REQUEST = "check.request"
    CHECK_ERROR = "check.error"
    APPROVAL_REJECTED = "approval.rejected"
    APPROVAL_EXPIRED = "approval.expired"
    LIMIT_EXCEEDED = "limit.exceeded"
    BACKEND_REFUSED = "backend.refused"
    BACKEND_MISMATCH = "backend.mismatch"
    BACKEND_UNAVAILABLE = "backend.unavailable"
    OVERLOADED = "overloaded"
    SERVER_FAULT = "server.fault"


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding against a request.

    ``message`` is shown to the client: it names what was asked, what the rule says and what to do. ``path``
    points into the request (``identity.sans[2]``). ``rule`` names the rule that refused
    (``web-servers.names.dns``) and ``where`` its ``file:line:column``; both are for the operator's trace.
    """

    code: ReasonCode
    message: str
    path: str = ""
    rule: str = ""
    where: str = ""
