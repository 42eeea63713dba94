"""ASN.1 structures that our libraries lack; field lists only, one RFC per file."""
