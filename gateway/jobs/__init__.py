"""Durable work under leases."""
