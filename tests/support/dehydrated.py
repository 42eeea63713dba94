"""A driver of dehydrated 0.7, Debian's package: the client that never retries after badNonce."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.acme_programs import CONTACT, ExternalKey, run_client


@dataclass(frozen=True, slots=True)
class Dehydrated:
    """One dehydrated with its own directory, account and configuration, made by ``configured``."""

    directory: Path

    def __call__(self, *arguments: str | Path, timeout_s: float = 240) -> str:
        command = ("/usr/bin/dehydrated", "-f", self.directory / "config", *arguments)
        return run_client(*command, cwd=self.directory, timeout_s=timeout_s)

    def certificate(self, name: str) -> Path:
        """The newest certificate under this name or alias; the link to it is resolved."""
        return (self.directory / "certs" / name / "cert.pem").resolve()


def configured(
    directory: Path,
    directory_url: str,
    root_pem: Path,
    *,
    challenges: Path,
    hook: Path,
    external_key: ExternalKey | None = None,
) -> Dehydrated:
    """Write the configuration; http-01 files go to ``challenges``, dns-01 by ``hook``."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = {
        "CA": directory_url,
        "CURL_OPTS": f"--cacert {root_pem}",
        "BASEDIR": str(directory),
        "WELLKNOWN": str(challenges),
        "HOOK": str(hook),
        "CONTACT_EMAIL": CONTACT,
        "KEY_ALGO": "prime256v1",
    }
    if external_key is not None:
        settings |= {"EAB_KID": external_key.kid, "EAB_HMAC_KEY": external_key.hmac_key}
    text = "".join(f'{name}="{value}"\n' for name, value in settings.items())
    (directory / "config").write_text(text)
    return Dehydrated(directory)
