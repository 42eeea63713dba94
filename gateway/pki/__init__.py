"""Keys, certificates, requests and CMS on top of ``cryptography``; raises, never returns False."""

from gateway.asn1 import der as der  # the writer of our own structures is known here by this name too
