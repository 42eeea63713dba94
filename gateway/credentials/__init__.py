"""Credentials as people and programs make them: one set of rules for the command line and the REST API."""
