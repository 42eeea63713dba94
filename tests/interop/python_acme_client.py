"""Run by certbot's Python with the ``acme`` library: order, key change, order, revocation, deactivation.

Settings come as JSON in the first argument; writes first.pem and second.pem.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import josepy  # type: ignore[import-not-found]  # lies in certbot's environment
from acme import (  # type: ignore[import-not-found]  # as above
    challenges,
    client,
    crypto_util,
    jws,
    messages,
)
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def account_key() -> josepy.JWKEC:
    return josepy.JWKEC(key=ec.generate_private_key(ec.SECP256R1()))


def key_pem() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def issue(acme: client.ClientV2, key: josepy.JWK, names: list[str], challenge_files: Path) -> str:
    order = acme.new_order(crypto_util.make_csr(key_pem(), names))
    for authorization in order.authorizations:
        for body in authorization.body.challenges:
            if isinstance(body.chall, challenges.HTTP01) and authorization.body.status.name == "pending":
                response, validation = body.response_and_validation(key)
                (challenge_files / body.chall.encode("token")).write_text(validation)
                acme.answer_challenge(body, response)
    done = acme.poll_and_finalize(order)
    assert done.fullchain_pem is not None
    return str(done.fullchain_pem)


def main(settings: dict[str, Any]) -> None:
    first_key, second_key = account_key(), account_key()
    net = client.ClientNetwork(first_key, alg=josepy.ES256, user_agent="interop")
    directory = client.ClientV2.get_directory(settings["directory"], net)
    acme = client.ClientV2(directory, net)
    contact = {"email": settings["contact"], "terms_of_service_agreed": True}
    account = acme.new_account(messages.NewRegistration.from_data(**contact))
    challenge_files = Path(settings["challenges"])
    first = issue(acme, first_key, settings["names"], challenge_files)
    Path("first.pem").write_text(first)
    # RFC 9773: a new certificate is not to be renewed yet.
    renewal_at, _ = acme.renewal_time(first.encode())
    assert renewal_at is None or renewal_at > datetime.now(UTC), renewal_at

    # The library has no key change of its own, but signs what we put together (RFC 8555 section 7.3.5).
    url = directory["keyChange"]
    change = {"account": account.uri, "oldKey": first_key.public_key().to_partial_json()}
    inner = jws.JWS.sign(json.dumps(change).encode(), key=second_key, alg=josepy.ES256, nonce=None, url=url)
    acme.net.post(url, inner, new_nonce_url=directory["newNonce"])
    net.key = second_key

    Path("second.pem").write_text(issue(acme, second_key, settings["names"], challenge_files))
    acme.revoke(x509.load_pem_x509_certificate(first.encode()), 4)
    acme.deactivate_registration(account)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
