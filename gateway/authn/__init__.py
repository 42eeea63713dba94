"""Credentials to evidence. The only makers of VerifiedCredential."""
