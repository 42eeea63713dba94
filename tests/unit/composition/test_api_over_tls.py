"""Where the API's tokens may go over the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.composition.addresses import tls_only_services
from gateway.config import Config

PLAIN = {"name": "plain", "address": "127.0.0.1", "port": 8080, "tls": "off", "serves": ("api",)}


@pytest.mark.parametrize(
    ("listener", "lab", "in_clear"),
    [
        ({}, True, True),
        ({"address": "::1"}, True, True),
        ({}, False, False),
        ({"address": "0.0.0.0"}, True, False),
        ({"address": "192.0.2.1"}, True, False),
        ({"serves": ("scep",)}, True, False),
        ({"tls": "auto"}, True, False),
    ],
)
def test_api_goes_in_clear_on_loopback_in_lab_mode_only(
    tmp_path: Path, listener: dict[str, Any], lab: bool, in_clear: bool
) -> None:
    config = Config(data_directory=tmp_path, listeners=({**PLAIN, **listener},), lab={"enabled": lab})
    assert ("api" not in tls_only_services(config)) is in_clear
    assert "est" in tls_only_services(config)


def test_one_listener_for_others_is_enough_to_keep_tokens_off_the_wire(tmp_path: Path) -> None:
    far = {**PLAIN, "name": "far", "address": "192.0.2.1"}
    config = Config(data_directory=tmp_path, listeners=(PLAIN, far), lab={"enabled": True})
    assert "api" in tls_only_services(config)
