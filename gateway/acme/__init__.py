"""ACME (RFC 8555): this front end follows on the same path; its codec, flow and routes go here."""
