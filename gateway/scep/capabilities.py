"""GetCACaps (RFC 8894 section 3.5): what this endpoint really does, as keywords."""

from __future__ import annotations

from gateway.scep.options import ScepOptions

# RFC 8894 table 7; the order is that of the table.
_DIGESTS = {"sha1": "SHA-1", "sha256": "SHA-256", "sha512": "SHA-512"}


def capabilities(options: ScepOptions) -> tuple[str, ...]:
    """The keywords, each once. ``options`` are the endpoint's as they count for this client."""
    found: list[str] = []
    if "aes-128-cbc" in options.ciphers:
        found.append("AES")
    if "des-ede3-cbc" in options.ciphers:
        found.append("DES3")
    found += ["POSTPKIOperation", "Renewal"]
    found += [keyword for digest, keyword in _DIGESTS.items() if digest in options.digests]
    if "aes-128-cbc" in options.ciphers and "sha256" in options.digests:
        # It stands for all that the standard makes mandatory (section 2.9).
        found.append("SCEPStandard")
    hidden = {keyword.casefold() for keyword in options.hidden_capabilities}
    wanted = (*found, *_true_extras(options))
    return tuple(dict.fromkeys(keyword for keyword in wanted if keyword.casefold() not in hidden))


def _true_extras(options: ScepOptions) -> tuple[str, ...]:
    # A keyword of a digest that is refused would send the client into a wall.
    untrue = {"SHA-384"} if "sha384" not in options.digests else set()
    return tuple(keyword for keyword in options.extra_capabilities if keyword not in untrue)


def capabilities_body(keywords: tuple[str, ...]) -> bytes:
    """One keyword per line, LF (section 3.5.2); empty where there is none."""
    return "".join(f"{keyword}\n" for keyword in keywords).encode("ascii", "replace")
