"""Hypothesis strategies that spoil DER where decoders look."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def mutated(draw: st.DrawFn, sample: bytes) -> bytes:
    """The sample with bits flipped, bytes cut, doubled, put in or set to what DER cares about."""
    octets = bytearray(sample)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(octets) - 1, 0)))
        match draw(st.sampled_from(["flip", "set", "cut", "drop", "double", "insert"])):
            case "flip" if octets:
                octets[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if octets:
                octets[at] = draw(st.sampled_from(b"\x00\x05\x1f\x30\x31\x7f\x80\x81\x84\xa0\xff"))
            case "cut":
                del octets[at:]
            case "drop":
                del octets[at : at + draw(st.integers(1, 8))]
            case "double":
                octets[at:at] = octets[at : at + draw(st.integers(1, 40))]
            case "insert":
                octets[at:at] = draw(st.binary(min_size=1, max_size=8))
    return bytes(octets)
