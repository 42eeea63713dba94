"""The YAML that the documents show, for tests that hold it against the program."""

from __future__ import annotations

import re

from tests.support.gateway import ROOT

_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def yaml_blocks(name: str) -> list[str]:
    """The YAML blocks of a document such as ``scep.md``, in their order."""
    return _BLOCK.findall((ROOT / "docs" / name).read_text())


def yaml_block(name: str, part: str) -> str:
    """The one YAML block of a document that holds this text."""
    (found,) = (block for block in yaml_blocks(name) if part in block)
    return found
