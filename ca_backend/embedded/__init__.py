"""A CA inside the gateway: keys in encrypted files, certificates from pre-encoded templates (RFC 5280)."""
