"""CMP (RFC 9810, 9811): this front end follows on the same path; its codec, flow and routes go here."""
