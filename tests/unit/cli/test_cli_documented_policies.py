"""What docs/scep.md shows can be copied: all its policies are good beside the default bundle.

The clients of tests/interop/test_scepclient.py and tests/protocol/scep/test_scep_wire_old.py run with them.
"""

from __future__ import annotations

import re

import pytest

from gateway.datadir import DataDirectory
from tests.support.documents import yaml_blocks
from tests.unit.cli.conftest import Run

_BLOCKS = yaml_blocks("scep.md")
_NAMES = {
    kind: re.compile(rf"^kind: {name}\nmetadata: {{name: ([a-z0-9-]+)", re.MULTILINE)
    for kind, name in (("policies", "Policy"), ("compat", "Compat"))
}


@pytest.mark.parametrize("number", range(len(_BLOCKS)))
def test_policies_of_the_scep_document_are_good_beside_the_default_bundle(
    pkigate: Run, data: DataDirectory, number: int
) -> None:
    before = pkigate("policy", "validate", data.policies, "--json").document
    (data.policies / "mine.yaml").write_text(_BLOCKS[number])
    after = pkigate("policy", "validate", data.policies, "--json").document
    assert (after["ok"], after["errors"], after["warnings"]) == (True, [], []), after
    for kind in ("policies", "compat"):
        added = {one.rpartition("/")[2] for one in set(after[kind]) - set(before[kind])}
        assert added == set(_NAMES[kind].findall(_BLOCKS[number]))
