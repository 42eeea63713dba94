"""Who sends this POST: the checks of RFC 8555 sections 6.2 to 6.5, in the order that lets nobody harm others.

A nonce is used up only by whoever could sign with the key, and only then URL, account and object are judged.
"""

from __future__ import annotations

from gateway.acme import jwk, jws
from gateway.acme.errors import AcmeError, malformed, unauthorized
from gateway.acme.exchange import Exchange, Signed
from gateway.acme.jws import ParsedJws
from gateway.acme.nonces import Nonces
from gateway.acme.paths import PREFIX, endpoint_path
from gateway.acme.resources import Resource, SignedBy, load_account
from gateway.acme.self_signed import SelfSignedBound
from gateway.acme.standing import check_standing, check_status
from gateway.acme.tables.accounts import AccountRow
from gateway.model.reasons import ReasonCode

MEDIA_TYPE = "application/jose+json"
_MAX_ID_CHARACTERS = 64


class Authentication:
    """Turns POSTs into ``Signed``."""

    def __init__(self, nonces: Nonces) -> None:
        self._nonces = nonces
        self._self_signed = SelfSignedBound()

    async def authenticate(
        self, exchange: Exchange, resource: Resource, parts: tuple[str, ...]
    ) -> tuple[Signed, object]:
        """The verified message, and what the resource loads (None where it loads nothing).

        Raises AcmeError, and what reading the body and the store raise.
        """
        request = exchange.request
        if request.header(b"content-type") != MEDIA_TYPE:
            # RFC 8555 6.2: MUST have this Content-Type; a parameter makes it another value
            raise malformed(
                f"the Content-Type of a request must be {MEDIA_TYPE}",
                status=415,
                code=ReasonCode.HTTP_MEDIA_TYPE,
            )
        parsed = jws.parse_jws(await request.body(exchange.options.max_body_bytes))
        _check_signer(parsed, resource.signed_by)
        account, found = None, None
        if parsed.kid is not None:
            account, found = await _loaded(exchange, resource, parts, parsed.kid)
        key = parsed.jwk if account is None else jwk.account_key(account.jwk)
        assert key is not None
        verified = jws.verify_jws(parsed, key)
        if account is None:
            self._self_signed.take(request.client_address)
        else:
            request.log["account"] = account.id
        await self._nonces.redeem(verified.nonce)
        _check_url(exchange, verified.url)
        if account is not None:
            check_status(account)
            if resource.in_standing:
                check_standing(exchange.options, account)
        if resource.load is not None and found is None:
            raise resource.missing()
        return Signed(exchange, verified, account), found


def _check_signer(parsed: ParsedJws, signed_by: SignedBy) -> None:
    # RFC 8555 6.2: jwk for newAccount and revokeCert by the certificate's key, kid for all else
    if signed_by is SignedBy.ACCOUNT and parsed.kid is None:
        raise malformed("this resource takes requests that are signed by an account, named by kid")
    if signed_by is SignedBy.ITSELF and parsed.jwk is None:
        raise malformed("this resource takes requests that bring their key as jwk")


async def _loaded(
    exchange: Exchange, resource: Resource, parts: tuple[str, ...], kid: str
) -> tuple[AccountRow, object]:
    endpoint, account_id = exchange.endpoint, _account_id(exchange, kid)
    load = resource.load or load_account
    account, found = await exchange.services.records.read(
        lambda connection: load(connection, endpoint, account_id, parts)
    )
    if account is None:
        raise _no_account("there is no account with this URL")
    return account, found


def _account_id(exchange: Exchange, kid: str) -> str:
    """The id in an account URL of this endpoint, made with any of our base URLs. Raises AcmeError."""
    base, found, rest = kid.partition(f"{PREFIX}/")
    if not found or base not in exchange.services.base_urls.known:
        raise _no_account("the kid is not the URL of an account of this server")
    path, _, account_id = f"{PREFIX}/{rest}".rpartition("/")
    if path != f"{endpoint_path(exchange.endpoint)}/account":
        # An account is one of its endpoint and of no other.
        if path.endswith("/account"):
            raise unauthorized("the account is one of another endpoint of this server")
        raise _no_account("the kid is not the URL of an account")
    if not 0 < len(account_id) <= _MAX_ID_CHARACTERS or not account_id.isalnum():
        raise _no_account("there is no account with this URL")
    return account_id


def _no_account(detail: str) -> AcmeError:
    # Not recorded: clients ask for accounts of another server or of a time before, again and again.
    return AcmeError("accountDoesNotExist", detail, code=ReasonCode.AUTH_ACCOUNT, recorded=False)


def _check_url(exchange: Exchange, url: str) -> None:
    """The signed URL must be the one that was asked for, below one of our base URLs, whatever Host says."""
    request = exchange.request
    target = request.raw_path.decode("latin-1")
    if request.query:
        target = f"{target}?{request.query.decode('latin-1')}"
    base_urls = exchange.services.base_urls
    if url == base_urls.of(request) + target:
        return
    base = url.removesuffix(target)
    if base == url or base not in base_urls.known:
        # RFC 8555 6.4: MUST be rejected as unauthorized
        raise unauthorized(
            "the url of the protected header is not the URL of this request",
            code=ReasonCode.AUTH_REPLAY,
            log_detail=f"signed for {url[:200]!r}, sent to {target[:200]!r}",
        )
