"""Connections that the gateway makes because a client said so: every address is checked before it is used."""
