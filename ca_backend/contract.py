"""PUBLIC contract tests that every CA backend must pass. A test module derives a class that opens one.

    class TestMyBackend(BackendContract):
        @asynccontextmanager
        async def opened(self) -> AsyncIterator[CaBackend]: ...

Test functions are coroutines (pytest-asyncio, mode ``auto``). Not imported by the gateway itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ca_backend.api import (
    CaAnswer,
    CaBackend,
    CaIssued,
    CanFind,
    CanHealth,
    CanPoll,
    CanRevoke,
    CanSignCrl,
    CaPending,
    CaRefused,
    CrlRequest,
    IssuanceOrder,
    RetryClass,
)
from gateway.model.certificate import RevocationReason, RevokedEntry
from gateway.model.enrolment import CertificatePlan, Extension
from gateway.model.ids import new_id
from gateway.model.names import CN_OID, AttributeTypeAndValue, DistinguishedName
from gateway.pki.certificate import parse_certificate
from gateway.pki.names import dns_name, ip_address_name, san_sets_match

SERVER_AUTH, CLIENT_AUTH = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"
MAX_POLLS = 50
CONCURRENT_ORDERS = 50
# id-pe-tlsfeature (RFC 7633): an extension that no backend writes on its own
TLS_FEATURE = Extension("1.3.6.1.5.5.7.1.24", critical=False, value_der=bytes.fromhex("3003020105"))


def make_order(common_name: str = "device-1.test", **changes: object) -> IssuanceOrder:
    """An order that any backend must be able to carry out, with the CSR of its key.

    ``changes`` replaces fields of the plan. The CSR holds no names: the plan decides, not the CSR.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC).replace(microsecond=0)
    plan = CertificatePlan(
        subject=DistinguishedName(((AttributeTypeAndValue(CN_OID, common_name),),)),
        sans=(dns_name(common_name), ip_address_name("192.0.2.7")),
        spki_der=key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        not_before=now - timedelta(minutes=5),
        not_after=now + timedelta(days=30),
        key_usage=("digitalSignature", "keyAgreement"),
        extended_key_usage=(SERVER_AUTH, CLIENT_AUTH),
    )
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    return IssuanceOrder(
        new_id(),
        replace(plan, **changes),  # type: ignore[arg-type]  # names are checked by replace itself
        request.public_bytes(serialization.Encoding.DER),
    )


async def settled(backend: CaBackend, answer: CaAnswer) -> CaIssued | CaRefused:
    """Poll until the CA has decided. A backend that says "pending" must be able to be polled."""
    for _ in range(MAX_POLLS):
        if not isinstance(answer, CaPending):
            return answer
        assert isinstance(backend, CanPoll), "a backend that answers CaPending needs poll()"
        assert answer.retry_after_s >= 0
        answer = await backend.poll(answer.handle)
    raise AssertionError(f"still pending after {MAX_POLLS} polls")


async def issued(backend: CaBackend, order: IssuanceOrder) -> CaIssued:
    """The certificate for an order that has to be carried out."""
    answer = await settled(backend, await backend.issue(order))
    assert isinstance(answer, CaIssued), answer
    return answer


def require_path(leaf_der: bytes, chain_der: Sequence[bytes]) -> None:
    """Each certificate is signed by the next, the last by itself; else AssertionError or InvalidSignature."""
    assert chain_der, "a certificate came without the certificate of its issuer"
    path = [x509.load_der_x509_certificate(each) for each in (leaf_der, *chain_der)]
    for certificate, issuer in zip(path, [*path[1:], path[-1]], strict=True):
        certificate.verify_directly_issued_by(issuer)
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert constraints.ca, f"{issuer.subject} is no CA"


class BackendContract:
    """What the gateway relies on. Each test opens a backend of its own."""

    def opened(self) -> AbstractAsyncContextManager[CaBackend]:
        """A backend that works, and is closed at the end. To be defined by the deriving class."""
        raise NotImplementedError

    def refused_order(self) -> IssuanceOrder:
        """An order that this CA must refuse; by default a validity of 200 years."""
        return make_order(not_after=datetime.now(UTC).replace(microsecond=0) + timedelta(days=365 * 200))

    async def test_backend_declares_what_the_port_asks_for(self) -> None:
        async with self.opened() as backend:
            assert isinstance(backend, CaBackend)
            assert backend.name
            assert isinstance(backend.retry, RetryClass)
            assert isinstance(backend.needs_csr, bool)
            assert isinstance(backend.signs_in_process, bool)
            assert backend.retry is not RetryClass.FINDABLE or isinstance(backend, CanFind)

    async def test_certificate_holds_key_and_names_of_the_plan(self) -> None:
        order = make_order()
        async with self.opened() as backend:
            certificate = parse_certificate((await issued(backend, order)).certificate_der)
        assert certificate.spki_der == order.plan.spki_der
        assert certificate.subject == order.plan.subject
        assert san_sets_match(certificate.sans, order.plan.sans)

    async def test_certificate_is_valid_as_long_as_the_plan_says(self) -> None:
        order = make_order()
        async with self.opened() as backend:
            certificate = parse_certificate((await issued(backend, order)).certificate_der)
        assert (certificate.not_before, certificate.not_after) == (
            order.plan.not_before,
            order.plan.not_after,
        )

    async def test_certificate_holds_usages_of_the_plan(self) -> None:
        order = make_order()
        async with self.opened() as backend:
            certificate = parse_certificate((await issued(backend, order)).certificate_der)
        assert set(certificate.key_usage) == set(order.plan.key_usage)
        assert set(certificate.extended_key_usage) == set(order.plan.extended_key_usage)

    async def test_plan_without_usages_gives_certificate_without_them(self) -> None:
        order = make_order(key_usage=(), extended_key_usage=())
        async with self.opened() as backend:
            certificate = parse_certificate((await issued(backend, order)).certificate_der)
        assert not certificate.key_usage
        assert not certificate.extended_key_usage

    async def test_further_extension_of_the_plan_is_in_the_certificate(self) -> None:
        async with self.opened() as backend:
            answer = await issued(backend, make_order(extensions=(TLS_FEATURE,)))
        certificate = x509.load_der_x509_certificate(answer.certificate_der)
        feature = certificate.extensions.get_extension_for_class(x509.TLSFeature).value
        assert list(feature) == [x509.TLSFeatureType.status_request]

    async def test_names_in_the_san_alone_make_it_critical(self) -> None:
        order = make_order(subject=DistinguishedName())
        async with self.opened() as backend:
            answer = await issued(backend, order)
        certificate = x509.load_der_x509_certificate(answer.certificate_der)
        assert not list(certificate.subject)
        # RFC 5280 section 4.2.1.6
        assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical

    async def test_certificate_is_no_ca(self) -> None:
        async with self.opened() as backend:
            answer = await issued(backend, make_order())
        assert not parse_certificate(answer.certificate_der).is_ca

    async def test_serial_number_is_positive_and_fits_20_octets(self) -> None:
        async with self.opened() as backend:
            answer = await issued(backend, make_order())
        serial = parse_certificate(answer.certificate_der).serial
        assert 0 < serial < 1 << 159  # RFC 5280 section 4.1.2.2
        assert serial.bit_length() > 64, "a serial number has to hold 64 random bits or more"

    async def test_chain_of_the_answer_verifies(self) -> None:
        async with self.opened() as backend:
            answer = await issued(backend, make_order())
            require_path(answer.certificate_der, answer.chain_der)

    async def test_chain_ends_in_the_same_root_as_the_answer(self) -> None:
        async with self.opened() as backend:
            answer = await issued(backend, make_order())
            chain = await backend.chain()
        require_path(answer.certificate_der, chain)
        assert chain[-1] == answer.chain_der[-1]

    async def test_repeated_order_obeys_the_declared_retry_class(self) -> None:
        order = make_order()
        async with self.opened() as backend:
            first = await issued(backend, order)
            match backend.retry:
                case RetryClass.IDEMPOTENT:
                    again = await issued(backend, order)
                    assert again.certificate_der == first.certificate_der
                case RetryClass.FINDABLE:
                    assert isinstance(backend, CanFind)
                    found = await backend.find(order.order_id, order.plan.spki_der)
                    assert isinstance(found, CaIssued)
                    assert found.certificate_der == first.certificate_der
                case RetryClass.NEITHER:
                    assert not isinstance(backend, CanFind), "a backend that can find is findable"

    async def test_order_that_never_came_is_not_found(self) -> None:
        async with self.opened() as backend:
            if isinstance(backend, CanFind):
                assert await backend.find(new_id(), make_order().plan.spki_der) is None

    async def test_distinct_orders_of_the_same_plan_have_distinct_serial_numbers(self) -> None:
        order = make_order()
        async with self.opened() as backend:
            answers = [await issued(backend, replace(order, order_id=new_id())) for _ in range(3)]
        assert len({parse_certificate(answer.certificate_der).serial for answer in answers}) == 3

    async def test_concurrent_orders_each_get_their_own_certificate(self) -> None:
        orders = [make_order(f"device-{number}.test") for number in range(CONCURRENT_ORDERS)]
        async with self.opened() as backend:
            answers = await asyncio.gather(*(issued(backend, order) for order in orders))
        certificates = [parse_certificate(answer.certificate_der) for answer in answers]
        assert [certificate.spki_der for certificate in certificates] == [
            order.plan.spki_der for order in orders
        ]
        assert len({certificate.serial for certificate in certificates}) == CONCURRENT_ORDERS

    async def test_plan_beyond_the_ca_is_refused_with_a_text(self) -> None:
        async with self.opened() as backend:
            answer = await settled(backend, await backend.issue(self.refused_order()))
        assert isinstance(answer, CaRefused)
        assert answer.code
        assert answer.message

    async def test_revocation_can_be_repeated(self) -> None:
        async with self.opened() as backend:
            if isinstance(backend, CanRevoke):
                answer = await issued(backend, make_order())
                serial = parse_certificate(answer.certificate_der).serial
                for _ in range(2):
                    await backend.revoke(serial, RevocationReason.SUPERSEDED)

    async def test_healthy_backend_says_ok(self) -> None:
        async with self.opened() as backend:
            if isinstance(backend, CanHealth):
                health = await backend.health()
                assert health
                assert set(health.values()) == {"ok"}

    async def test_crl_of_every_authority_verifies_and_lists_the_entries(self) -> None:
        now = datetime.now(UTC).replace(microsecond=0)
        entry = RevokedEntry(0x7F00FF << 130, now - timedelta(hours=1), RevocationReason.KEY_COMPROMISE)
        async with self.opened() as backend:
            if not isinstance(backend, CanSignCrl):
                return
            authorities = backend.authorities()
            assert authorities
            for authority in authorities:
                request = CrlRequest(7, now, now + timedelta(days=1), [entry], authority.name)
                crl_der = await backend.sign_crl(request)
                issuer = x509.load_der_x509_certificate(authority.certificate_der)
                crl = x509.load_der_x509_crl(crl_der)
                assert crl.issuer == issuer.subject
                assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # a CA's key signs
                assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
                listed = crl.get_revoked_certificate_by_serial_number(entry.serial)
                assert listed is not None
                assert listed.revocation_date_utc == entry.revoked_at
                reason = listed.extensions.get_extension_for_class(x509.CRLReason).value
                assert reason.reason is x509.ReasonFlags.key_compromise

    async def test_crl_without_name_is_that_of_the_issuer_of_new_certificates(self) -> None:
        now = datetime.now(UTC).replace(microsecond=0)
        async with self.opened() as backend:
            if not isinstance(backend, CanSignCrl):
                return
            answer = await issued(backend, make_order())
            crl_der = await backend.sign_crl(CrlRequest(0, now, now + timedelta(days=1), []))
        issuer = parse_certificate(answer.chain_der[0])
        crl = x509.load_der_x509_crl(crl_der)
        assert crl.issuer.public_bytes() == issuer.subject_der
        assert len(crl) == 0
