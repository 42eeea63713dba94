"""Keys, certificates, requests and CMS on top of ``cryptography``; raises, never returns False."""
