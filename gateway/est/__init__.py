"""EST (RFC 7030): codec, flow, routes."""
