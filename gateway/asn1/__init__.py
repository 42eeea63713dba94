"""ASN.1 as DER and BER, and the structures that our libraries lack; no cryptography, no I/O."""
