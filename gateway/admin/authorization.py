"""Bearer tokens (RFC 6750) and what each operation asks for, before anything of a body is read."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from fastapi import Request

from gateway.admin.problems import Problem, edge_request
from gateway.errors import GatewayError
from gateway.model.api_caller import ApiCaller
from gateway.model.permissions import Permission
from gateway.model.reasons import ReasonCode

Verify = Callable[[bytes, str], Awaitable[ApiCaller]]

_CHALLENGE = 'Bearer realm="pkigate"'
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE).fullmatch  # RFC 6750 section 2.1
_MISSING = (
    "this operation needs an API token, sent once as Authorization: Bearer TOKEN; "
    "pkigate credential add api-token makes one"
)


async def authorized(request: Request, permission: Permission, verify: Verify) -> ApiCaller:
    """The caller, who has this permission. Raises Problem (401, 403, 429) and StoreUnavailable."""
    seen = edge_request(request)
    sent = [value for name, value in seen.headers if name == b"authorization"]
    found = _BEARER(sent[0].strip()) if len(sent) == 1 else None
    if found is None:
        headers = (("WWW-Authenticate", _CHALLENGE),)
        raise Problem(401, "token-missing", "An API token is needed", _MISSING, headers=headers)
    try:
        caller = await verify(found[1], seen.client_address)
    except GatewayError as error:
        if error.code not in {ReasonCode.AUTH_FAILED, ReasonCode.AUTH_THROTTLED}:
            raise
        seen.log.update(code=error.code.value, detail=error.detail)
        raise _refused(error) from error
    seen.log["identity"] = caller.actor
    if permission not in caller.permissions:
        has = ", ".join(sorted(caller.permissions)) or "nothing"
        scope = f'{_CHALLENGE}, error="insufficient_scope", scope="{permission.value}"'
        raise Problem(
            403,
            "not-allowed",
            "The token does not allow this operation",
            f"this operation needs {permission.value}, and the token allows {has}; ask for a token that was "
            f"made with --allow {permission.value}",
            headers=(("WWW-Authenticate", scope),),
            lacks={"permission": [permission.value]},
        )
    return caller


def _refused(error: GatewayError) -> Problem:
    if error.code is ReasonCode.AUTH_THROTTLED:
        wait_s = getattr(error, "retry_after_s", 0) or 1
        title = "Too many wrong API tokens"
        return Problem(429, "throttled", title, str(error), headers=(("Retry-After", str(wait_s)),))
    # RFC 6750 section 3: no quotes or backslashes in the description, and these texts have none.
    described = f'{_CHALLENGE}, error="invalid_token", error_description="{error}"'
    title = "The API token is not good"
    return Problem(401, "token-refused", title, str(error), headers=(("WWW-Authenticate", described),))
