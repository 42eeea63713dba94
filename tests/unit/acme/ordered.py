"""Certificates that accounts of a house ordered, for tests of what comes after issuance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import acme_signing, pki
from tests.unit.acme.authorized import csr_for, finalize, ready_order
from tests.unit.acme.house import Client, House, document


@dataclass(frozen=True, slots=True)
class Ordered:
    """A leaf with its key; ``order`` is the order object, ``url`` where the certificate is fetched."""

    leaf: x509.Certificate
    order: dict[str, Any]
    url: str
    key: pki.PrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        return self.leaf.public_bytes(Encoding.DER)

    @property
    def b64u(self) -> str:
        return acme_signing.b64u(self.der)

    @property
    def id(self) -> str:
        """RFC 9773 section 4.1."""
        aki = self.leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert aki is not None
        serial = self.leaf.serial_number
        octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
        return f"{acme_signing.b64u(aki)}.{acme_signing.b64u(octets)}"


async def ordered(house: House, client: Client, *names: str, **members: object) -> Ordered:
    """Order, authorize, finalize and fetch."""
    key = pki.key()
    order = await ready_order(house, client, *names, **members)
    answer = await finalize(client, order, csr_for(*names, key=key))
    assert answer.status == 200, answer.body
    url = document(answer)["certificate"]
    chain = x509.load_pem_x509_certificates((await client.post(url)).body)
    return Ordered(chain[0], order, url, key)
