"""The embedded CA's files: made once and whole, kept, checked; its certificates judged by OpenSSL."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import ValidationError

from ca_backend.api import CaIssued, CaRefused, CrlRequest, IssuanceOrder
from ca_backend.contract import make_order
from ca_backend.embedded.backend import EmbeddedBackend
from ca_backend.embedded.options import EmbeddedOptions, IssuingCaOptions
from ca_backend.embedded.plugin import EmbeddedBackendPlugin
from gateway.errors import ConfigurationError, SecretUnavailable
from gateway.model.certificate import RevocationReason, RevokedEntry
from gateway.model.enrolment import Extension
from gateway.model.names import DistinguishedName
from gateway.pki.keyfile import KeyKind
from tests.unit.ca_backend import embedded_ca


def ca_files(data_directory: Path) -> dict[str, bytes]:
    directory = data_directory / "ca" / "embedded"
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def certificate(data_directory: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(ca_files(data_directory)[f"{name}.pem"])


async def leaf(backend: EmbeddedBackend, order: IssuanceOrder | None = None) -> CaIssued:
    answer = await backend.issue(order or make_order())
    assert isinstance(answer, CaIssued), answer
    return answer


def test_default_options_make_an_rsa_root_and_a_p256_issuing_ca(tmp_path: Path) -> None:
    embedded_ca.opened(tmp_path, EmbeddedOptions())
    root, issuing = certificate(tmp_path, "root"), certificate(tmp_path, "issuing")
    root_key, issuing_key = root.public_key(), issuing.public_key()
    assert isinstance(root_key, rsa.RSAPublicKey)
    assert root_key.key_size == 3072
    assert isinstance(issuing_key, ec.EllipticCurvePublicKey)
    assert issuing_key.curve.name == "secp256r1"
    assert issuing.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert issuing.not_valid_after_utc - datetime.now(UTC) > timedelta(days=3650)
    assert root.not_valid_after_utc - datetime.now(UTC) > timedelta(days=7300)


def test_issuing_ca_certificate_points_to_what_the_root_publishes(tmp_path: Path) -> None:
    embedded_ca.opened(tmp_path)
    issuing = certificate(tmp_path, "issuing")
    points = issuing.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points[0].full_name == [
        x509.UniformResourceIdentifier("http://pki.test:8080/crl/embedded-root.crl")
    ]
    access = issuing.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [each.access_location.value for each in access] == [
        "http://pki.test:8080/ocsp/embedded-root",
        "http://pki.test:8080/ca/embedded-root.cer",
    ]


async def test_leaf_points_to_what_its_issuer_publishes(tmp_path: Path) -> None:
    answer = await leaf(embedded_ca.opened(tmp_path))
    extensions = x509.load_der_x509_certificate(answer.certificate_der).extensions
    points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points[0].full_name == [
        x509.UniformResourceIdentifier("http://pki.test:8080/crl/embedded-issuing.crl")
    ]
    access = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [each.access_location.value for each in access] == [
        "http://pki.test:8080/ocsp/embedded-issuing",
        "http://pki.test:8080/ca/embedded-issuing.cer",
    ]


async def test_openssl_verifies_leaf_with_the_crls_of_both_cas_and_refuses_it_after_revocation(
    tmp_path: Path,
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    backend = embedded_ca.opened(tmp_path, EmbeddedOptions())
    issued = x509.load_der_x509_certificate((await leaf(backend)).certificate_der)
    (tmp_path / "leaf.pem").write_bytes(issued.public_bytes(serialization.Encoding.PEM))
    entry = RevokedEntry(issued.serial_number, now, RevocationReason.SUPERSEDED)
    verdicts = []
    for entries in ([], [entry]):
        crls = []
        for authority in backend.authorities():
            own = entries if authority.name == "embedded-issuing" else []
            request = CrlRequest(1, now, now + timedelta(days=1), own, authority.name)
            crl = x509.load_der_x509_crl(await backend.sign_crl(request))
            crls.append(crl.public_bytes(serialization.Encoding.PEM))
        (tmp_path / "crls.pem").write_bytes(b"".join(crls))
        directory = tmp_path / "ca" / "embedded"
        verdicts.append(
            subprocess.run(
                [
                    *("openssl", "verify", "-x509_strict", "-crl_check_all"),
                    *("-CAfile", directory / "root.pem", "-untrusted", directory / "issuing.pem"),
                    *("-CRLfile", tmp_path / "crls.pem", tmp_path / "leaf.pem"),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
        )
    assert verdicts[0].returncode == 0, verdicts[0].stderr
    assert "certificate revoked" in verdicts[1].stderr


def test_second_start_keeps_every_file(tmp_path: Path) -> None:
    embedded_ca.opened(tmp_path)
    before = ca_files(tmp_path)
    embedded_ca.opened(tmp_path)
    assert ca_files(tmp_path) == before


def test_two_hierarchies_have_different_names(tmp_path: Path) -> None:
    for place in ("a", "b"):
        embedded_ca.opened(tmp_path / place)
    assert certificate(tmp_path / "a", "root").subject != certificate(tmp_path / "b", "root").subject
    assert certificate(tmp_path / "a", "issuing").subject != certificate(tmp_path / "b", "issuing").subject


def test_failure_while_making_leaves_nothing_behind(tmp_path: Path) -> None:
    used = embedded_ca.context(tmp_path, passphrase=b"")
    with pytest.raises(SecretUnavailable):
        EmbeddedBackendPlugin().initialise(embedded_ca.options(), used)
    assert not list((tmp_path / "ca").iterdir())


async def test_issuing_ca_that_is_listed_later_is_made_and_reached_by_its_name(tmp_path: Path) -> None:
    embedded_ca.opened(tmp_path)
    before = ca_files(tmp_path)
    chosen = embedded_ca.options(more={"scep": KeyKind.RSA_2048})
    backend = embedded_ca.opened(tmp_path, chosen)
    assert {name: content for name, content in ca_files(tmp_path).items() if name in before} == before
    order = make_order()
    scep = await leaf(backend, IssuanceOrder(order.order_id, order.plan, None, "scep"))
    issuer = x509.load_der_x509_certificate(scep.chain_der[0])
    assert isinstance(issuer.public_key(), rsa.RSAPublicKey)
    x509.load_der_x509_certificate(scep.certificate_der).verify_directly_issued_by(issuer)
    names = [authority.name for authority in backend.authorities()]
    assert names == ["embedded-issuing", "embedded-scep", "embedded-root"]


async def test_default_issuing_chooses_the_ca_of_orders_without_profile(tmp_path: Path) -> None:
    listed = embedded_ca.options(more={"scep": KeyKind.EC_P384})
    chosen = listed.model_copy(update={"default_issuing": "scep"})
    backend = embedded_ca.opened(tmp_path, chosen)
    answer = await leaf(backend)
    assert answer.chain_der == await backend.chain()
    assert answer.chain_der[0] == backend.authorities()[0].certificate_der
    assert "SCEP CA" in x509.load_der_x509_certificate(answer.chain_der[0]).subject.rfc4514_string()


def test_processes_that_begin_at_once_make_one_hierarchy(tmp_path: Path) -> None:
    def begin() -> None:
        EmbeddedBackendPlugin().initialise(embedded_ca.options(), embedded_ca.context(tmp_path))

    processes = [multiprocessing.get_context("fork").Process(target=begin) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert [path.name for path in (tmp_path / "ca").iterdir()] == ["embedded"]
    embedded_ca.opened(tmp_path)


def test_what_a_killed_process_was_making_is_removed_at_the_next_start(tmp_path: Path) -> None:
    building = tmp_path / "ca" / ".embedded.0123456789ab"
    building.mkdir(parents=True)
    (building / "root.key.pem").write_bytes(b"encrypted")
    other = tmp_path / "ca" / ".embedded.of-somebody"
    other.mkdir()
    embedded_ca.opened(tmp_path)
    before = ca_files(tmp_path)
    for name in (".issuing.pem.0123456789ab", ".scep.key.pem.0123456789ab"):
        (tmp_path / "ca" / "embedded" / name).write_bytes(b"half")
    embedded_ca.opened(tmp_path)
    assert ca_files(tmp_path) == before
    assert not building.exists()
    assert other.exists()


def test_issuing_key_that_a_crash_left_alone_gets_its_certificate(tmp_path: Path) -> None:
    embedded_ca.opened(tmp_path)
    before = ca_files(tmp_path)
    (tmp_path / "ca" / "embedded" / "issuing.pem").unlink()
    embedded_ca.opened(tmp_path)
    after = ca_files(tmp_path)
    assert after["issuing.key.pem"] == before["issuing.key.pem"]
    old = x509.load_pem_x509_certificate(before["issuing.pem"])
    assert x509.load_pem_x509_certificate(after["issuing.pem"]).public_key() == old.public_key()


def _swap_issuing_keys(directory: Path, other: Path) -> None:
    shutil.copy(other / "issuing.key.pem", directory / "issuing.key.pem")


def _swap_root(directory: Path, other: Path) -> None:
    for name in ("root.pem", "root.key.pem"):
        shutil.copy(other / name, directory / name)


def _lose_root(directory: Path, _other: Path) -> None:
    (directory / "root.pem").unlink()


def _damage_certificate(directory: Path, _other: Path) -> None:
    (directory / "issuing.pem").write_text("no certificate\n")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_swap_issuing_keys, "not the key of issuing.pem; restore both files"),
        (_swap_root, "was not issued by root.pem"),
        (_lose_root, "root.pem: the CA certificate is missing; restore it"),
        (_damage_certificate, "issuing.pem: no readable CA certificate; restore it"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_what_to_do(
    harm: Callable[[Path, Path], None], said: str, tmp_path: Path
) -> None:
    for place in ("ours", "other"):
        embedded_ca.opened(tmp_path / place)
    harm(tmp_path / "ours" / "ca" / "embedded", tmp_path / "other" / "ca" / "embedded")
    with pytest.raises(ConfigurationError, match=said):
        embedded_ca.opened(tmp_path / "ours")


def test_wrong_passphrase_is_said(tmp_path: Path) -> None:
    embedded_ca.opened(tmp_path)
    with pytest.raises(SecretUnavailable, match="passphrase"):
        embedded_ca.opened(tmp_path, used=embedded_ca.context(tmp_path, passphrase=b"another"))


def test_opening_before_the_first_start_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"root\.pem: the CA certificate is missing"):
        EmbeddedBackendPlugin().open(embedded_ca.options(), embedded_ca.context(tmp_path))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"issuing": [{"name": "a"}, {"name": "a"}]}, "same name"),
        ({"issuing": [{"name": "root"}]}, "named root"),
        ({"issuing": []}, "at least 1"),
        ({"issuing": [{"name": "../a"}]}, "pattern"),
        ({"issuing": [{"name": "a", "key": "dsa"}]}, "rsa-3072"),
        ({"default_issuing": "scep"}, "default_issuing is 'scep', but the issuing CAs are issuing"),
        ({"issuing_validity_years": 30}, "more than root_validity_years"),
        ({"isuing": []}, "isuing"),
    ],
)
def test_wrong_options_are_refused_with_what_is_wrong(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        EmbeddedOptions.model_validate(wrong)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"key_usage": ("keyCertSign",)}, "key-usage"),
        ({"key_usage": ("keyBaking",)}, "key-usage"),
        ({"subject": DistinguishedName(), "sans": ()}, "names"),
        ({"not_after": datetime.now(UTC) - timedelta(days=1)}, "validity"),
        ({"not_before": datetime(1940, 1, 1, tzinfo=UTC)}, "plan"),
        ({"extended_key_usage": ("no oid",)}, "plan"),
    ],
)
async def test_plan_that_no_certificate_can_be_is_refused(
    changes: dict[str, object], code: str, tmp_path: Path
) -> None:
    answer = await embedded_ca.opened(tmp_path).issue(make_order("device-1.test", **changes))
    assert isinstance(answer, CaRefused)
    assert answer.code == code


@pytest.mark.parametrize(
    "oid", ["2.5.29.19", "2.5.29.17", "2.5.29.35", "2.5.29.14", "2.5.29.15", "2.5.29.37"]
)
async def test_plan_with_an_extension_of_the_issuer_is_refused(oid: str, tmp_path: Path) -> None:
    order = make_order(extensions=(Extension(oid, critical=True, value_der=b"\x30\x03\x01\x01\xff"),))
    answer = await embedded_ca.opened(tmp_path).issue(order)
    assert isinstance(answer, CaRefused)
    assert answer.code == "extensions"


@pytest.mark.parametrize("ca", ["root", "issuing"])
async def test_plan_with_the_key_of_one_of_our_cas_is_refused(ca: str, tmp_path: Path) -> None:
    backend = embedded_ca.opened(tmp_path)
    spki_der = (
        certificate(tmp_path, ca)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    answer = await backend.issue(make_order(spki_der=spki_der))
    assert isinstance(answer, CaRefused)
    assert answer.code == "key"


async def test_order_for_an_unknown_issuing_ca_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    order = make_order()
    backend = embedded_ca.opened(tmp_path)
    answer = await backend.issue(IssuanceOrder(order.order_id, order.plan, None, "scep"))
    assert answer == CaRefused("profile", "there is no issuing CA 'scep'; known are issuing")


async def test_same_order_gives_the_same_certificate_after_a_restart(tmp_path: Path) -> None:
    order = make_order()
    first = await leaf(embedded_ca.opened(tmp_path), order)
    assert await leaf(embedded_ca.opened(tmp_path), order) == first


async def test_same_order_id_with_another_plan_gets_another_serial_number(tmp_path: Path) -> None:
    backend, order = embedded_ca.opened(tmp_path), make_order()
    other = IssuanceOrder(order.order_id, make_order("device-2.test").plan)
    serials = [
        x509.load_der_x509_certificate((await leaf(backend, each)).certificate_der).serial_number
        for each in (order, other)
    ]
    assert serials[0] != serials[1]


async def test_health_names_the_ca_that_ends_soon(tmp_path: Path) -> None:
    chosen = embedded_ca.options().model_copy(update={"issuing_validity_years": 1})
    embedded_ca.opened(tmp_path, chosen)
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=300)
    used = embedded_ca.context(tmp_path, at=embedded_ca.FixedClock(later))
    health = await embedded_ca.opened(tmp_path, chosen, used).health()
    assert health["root"] == "ok"
    assert health["issuing"].startswith("expires on 20")


def test_issuing_ca_never_outlives_the_root(tmp_path: Path) -> None:
    chosen = EmbeddedOptions(
        root_key=KeyKind.EC_P256,
        root_validity_years=2,
        issuing_validity_years=2,
        issuing=(IssuingCaOptions(name="issuing"),),
    )
    embedded_ca.opened(tmp_path, chosen)
    later = embedded_ca.FixedClock(datetime.now(UTC).replace(microsecond=0) + timedelta(days=100))
    more = chosen.model_copy(update={"issuing": (*chosen.issuing, IssuingCaOptions(name="late"))})
    embedded_ca.opened(tmp_path, more, embedded_ca.context(tmp_path, at=later))
    assert (
        certificate(tmp_path, "late").not_valid_after_utc == certificate(tmp_path, "root").not_valid_after_utc
    )
