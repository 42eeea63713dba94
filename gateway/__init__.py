"""pkigate: one enrolment path behind ACME, EST, SCEP and CMP."""

__version__ = "0.1.0"
