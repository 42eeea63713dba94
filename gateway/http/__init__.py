"""The HTTP and TLS edge that every listener shares."""
