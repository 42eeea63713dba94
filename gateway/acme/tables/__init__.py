"""Rows that only ACME knows. The one place of this package with SQL; every look-up names its owner."""
