"""Paths and links: ``/acme/RESOURCE`` for the default endpoint, else ``/acme/E/RESOURCE``."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "/acme"
DEFAULT_ENDPOINT = "default"


@dataclass(frozen=True, slots=True)
class Links:
    """Makes absolute URLs below ``root``: the base URL that the request came by, and the endpoint's path."""

    root: str

    def directory(self) -> str:
        return f"{self.root}/directory"

    def new_nonce(self) -> str:
        return f"{self.root}/new-nonce"

    def new_account(self) -> str:
        return f"{self.root}/new-account"

    def new_order(self) -> str:
        return f"{self.root}/new-order"

    def revoke_cert(self) -> str:
        return f"{self.root}/revoke-cert"

    def key_change(self) -> str:
        return f"{self.root}/key-change"

    def renewal_info(self) -> str:
        return f"{self.root}/renewal-info"

    def account(self, account_id: str) -> str:
        return f"{self.root}/account/{account_id}"

    def orders(self, account_id: str, before: str | None = None) -> str:
        """``before`` is the id of the order that the page before ended with."""
        return f"{self.root}/orders/{account_id}" + (f"?before={before}" if before is not None else "")

    def order(self, order_id: str) -> str:
        return f"{self.root}/order/{order_id}"

    def finalize(self, order_id: str) -> str:
        return f"{self.root}/order/{order_id}/finalize"

    def certificate(self, order_id: str, alternate: int = 0) -> str:
        """``alternate`` 0 is the chain that is given by default."""
        return f"{self.root}/cert/{order_id}" + (f"/{alternate}" if alternate else "")

    def authorization(self, authorization_id: str) -> str:
        return f"{self.root}/authz/{authorization_id}"

    def challenge(self, authorization_id: str, challenge_type: str) -> str:
        return f"{self.root}/challenge/{authorization_id}/{challenge_type}"


def endpoint_path(endpoint: str) -> str:
    """The path below which an endpoint's resources lie."""
    return PREFIX if endpoint == DEFAULT_ENDPOINT else f"{PREFIX}/{endpoint}"
