"""What the API answers to a request that cannot go on (RFC 9457), whoever found it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from gateway.credentials.bounds import UnfitValue
from gateway.credentials.service import KeyReused, OutOfReach, SecretForgotten
from gateway.errors import Conflict, GatewayError, NotFound, RetryLater
from gateway.http.message import HttpRequest

URN = "urn:pkigate:problem:"
MEDIA_TYPE = "application/problem+json"
NO_STORE = (("Cache-Control", "no-store"),)
_MAX_ERRORS = 20
_MAX_DETAIL_CHARACTERS = 300
_FIELDS = {"expires": "expires_at"}  # by the path of an UnfitValue, where the field is called otherwise
_TITLES = {
    "not-found": "There is no such thing",
    "method": "The method is not possible here",
    "conflict": "Something else is in the way",
    "key-reused": "The Idempotency-Key came before with another request",
    "secret-forgotten": "The secret is kept no longer",
    "invalid": "The request has a value that is not possible",
    "out-of-reach": "The token is not for this",
    "unavailable": "The gateway cannot do it now",
    "fault": "The gateway has a fault",
}


class Finding(BaseModel):
    """One value that is not possible. ``pointer``: a JSON Pointer (RFC 6901) into the body, or a parameter's
    name."""

    model_config = ConfigDict(frozen=True)

    pointer: str
    detail: str


class ProblemDocument(BaseModel):
    """RFC 9457. ``detail`` says what to do; ``instance`` holds the request id, which stands in the log."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[Finding] = []
    lacks: dict[str, list[str]] = {}
    credential_id: str | None = None


class Problem(Exception):
    """A refusal of the API itself."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        errors: Sequence[Finding] = (),
        lacks: Mapping[str, Sequence[str]] | None = None,
        credential_id: str | None = None,
    ) -> None:
        """``lacks``: what the token would have to have, by "permission", "endpoint" or "group"."""
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.title = title
        self.headers = tuple(headers)
        self.errors = tuple(errors)
        self.lacks = {name: list(values) for name, values in (lacks or {}).items()}
        self.credential_id = credential_id


def edge_request(request: Request) -> HttpRequest:
    """The request as the edge sees it, with the client that it believes."""
    found = request.scope["state"]["request"]
    assert isinstance(found, HttpRequest)
    return found


def problem_response(request: Request, problem: Problem) -> JSONResponse:
    """The document as it goes out. Members without a value are left out."""
    seen = edge_request(request)
    seen.log.setdefault("code", f"api.{problem.kind}")
    document = ProblemDocument(
        type=URN + problem.kind,
        title=problem.title,
        status=problem.status,
        detail=str(problem),
        instance=f"urn:pkigate:request:{seen.request_id}",
        errors=list(problem.errors),
        lacks=problem.lacks,
        credential_id=problem.credential_id,
    )
    content = document.model_dump(mode="json", exclude_defaults=True)
    headers = dict((*NO_STORE, *problem.headers))
    return JSONResponse(content, problem.status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let every error of the application leave as a problem document."""
    app.add_exception_handler(Problem, _own)
    app.add_exception_handler(GatewayError, _of_gateway)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(Exception, _of_fault)


def _own(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return problem_response(request, error)


def _of_gateway(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GatewayError)
    seen = edge_request(request)
    seen.log["code"] = error.code.value
    if error.detail:
        seen.log["detail"] = error.detail
    return problem_response(request, _problem_of(error))


def _problem_of(error: GatewayError) -> Problem:
    text = str(error)
    match error:
        case UnfitValue():
            field = _FIELDS.get(error.path, error.path)
            finding = Finding(pointer=f"/{field}", detail=text)
            return _titled(422, "invalid", f"{field}: {text}", errors=(finding,))
        case KeyReused():
            return _titled(422, "key-reused", text)
        case SecretForgotten():
            return _titled(409, "secret-forgotten", text, credential_id=error.credential_id)
        case OutOfReach():
            lacks = {error.what: error.lacking} if error.lacking else None
            return _titled(403, "out-of-reach", text, lacks=lacks)
        case NotFound():
            return _titled(404, "not-found", text)
        case Conflict():
            return _titled(409, "conflict", text)
        case RetryLater():
            headers = (("Retry-After", str(error.retry_after_s)),)
            return _titled(503, "unavailable", f"{text}; the same request again is safe", headers=headers)
        case _:
            return _fault()


def _of_validation(request: Request, error: Exception) -> JSONResponse:
    """What pydantic found. Values sent are not repeated, but for an unknown ``kind``: they may be secrets."""
    assert isinstance(error, RequestValidationError)
    findings = [_finding(one) for one in error.errors()[:_MAX_ERRORS]]
    detail = "; ".join(f"{one.pointer.lstrip('/') or 'body'}: {one.detail}" for one in findings)
    return problem_response(request, _titled(422, "invalid", detail, errors=findings))


def _finding(error: Mapping[str, object]) -> Finding:
    where = error["loc"]
    assert isinstance(where, tuple)
    place, *path = where
    # A union by ``kind`` puts the kind that was chosen before the fields, where no field is.
    steps = [_step(step) for step in path if step not in _KINDS]
    detail = str(error["msg"]).removeprefix("Value error, ")[:_MAX_DETAIL_CHARACTERS]
    if error["type"] == "extra_forbidden":
        detail = "there is no such field here; leave it out"
    if place != "body":
        return Finding(pointer=".".join(steps), detail=detail)
    return Finding(pointer="".join(f"/{step}" for step in steps), detail=detail)


def _step(step: object) -> str:
    """RFC 6901 section 3. Names of fields that do not exist are the client's."""
    return str(step)[:_MAX_DETAIL_CHARACTERS].replace("~", "~0").replace("/", "~1")


_KINDS = frozenset({"scep-challenge", "cmp-secret", "acme-eab"})


def _of_framework(request: Request, error: Exception) -> JSONResponse:
    """A path or method that no operation has."""
    assert isinstance(error, HTTPException)
    headers = tuple((error.headers or {}).items())
    if error.status_code == HTTPStatus.NOT_FOUND:
        text = "no operation is at this path; see /api/v1/openapi.json"
        return problem_response(request, _titled(404, "not-found", text, headers=headers))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Starlette names the methods of the first operation at the path only.
        allowed = request.app.state.methods_at(request.url.path)
        text = f"{request.method} is not possible here; use {allowed}"
        return problem_response(request, _titled(405, "method", text, headers=(("Allow", allowed),)))
    title = HTTPStatus(error.status_code).phrase
    return problem_response(request, Problem(error.status_code, "invalid", title, title, headers=headers))


def _of_fault(request: Request, _error: Exception) -> JSONResponse:
    """Nothing of it leaves; the traceback stands in the log."""
    return problem_response(request, _fault())


def _fault() -> Problem:
    text = "the gateway could not answer because of a fault of its own; the request id stands in its log"
    return _titled(500, "fault", text)


def _titled(
    status: int,
    kind: str,
    detail: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    errors: Sequence[Finding] = (),
    lacks: Mapping[str, Sequence[str]] | None = None,
    credential_id: str | None = None,
) -> Problem:
    return Problem(
        status,
        kind,
        _TITLES[kind],
        detail,
        headers=headers,
        errors=errors,
        lacks=lacks,
        credential_id=credential_id,
    )
