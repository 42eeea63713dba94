"""What an account must fulfil besides its key: status, the present terms, an external account.

RFC 8555 sections 7.3.3, 7.3.4 and 7.3.6.
"""

from __future__ import annotations

from gateway.acme.errors import AcmeError, unauthorized
from gateway.acme.options import AcmeOptions, EabRule
from gateway.acme.tables.accounts import VALID, AccountRow
from gateway.model.reasons import ReasonCode


def check_status(account: AccountRow) -> None:
    """Raises unauthorized (401) unless the account is valid."""
    if account.status != VALID:
        # RFC 8555 7.3.6: MUST be rejected with 401
        raise unauthorized(f"the account is {account.status}", status=401)


def check_standing(options: AcmeOptions, account: AccountRow) -> None:
    """Raises userActionRequired or externalAccountRequired (403)."""
    if not agreed(options, account):
        raise terms_not_agreed(
            options,
            "the terms of service have changed; to agree, send newAccount with "
            "this key and termsOfServiceAgreed true",
        )
    if options.eab is EabRule.ALWAYS and account.credential_id is None:
        raise binding_required(
            "accounts here must be bound to an external one; to bind this one, send newAccount with its key "
            "and an externalAccountBinding"
        )


def agreed(options: AcmeOptions, account: AccountRow) -> bool:
    """Whether the account agreed to the present terms, if there are any."""
    return options.terms_of_service is None or account.terms_of_service == options.terms_of_service


def terms_not_agreed(options: AcmeOptions, detail: str) -> AcmeError:
    """``userActionRequired`` with where to read the terms (RFC 8555 section 7.3.3)."""
    url = options.terms_of_service or ""
    return AcmeError(
        "userActionRequired",
        detail,
        status=403,
        code=ReasonCode.AUTH_ACCOUNT,
        headers=(("Link", f'<{url}>;rel="terms-of-service"'),),
        members={"instance": url},
    )


def binding_required(detail: str) -> AcmeError:
    """``externalAccountRequired`` (RFC 8555 section 7.3.4)."""
    return AcmeError("externalAccountRequired", detail, status=403, code=ReasonCode.AUTH_MISSING)
