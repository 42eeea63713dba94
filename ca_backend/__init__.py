"""CA backends: what signs, behind one port (``ca_backend.api``)."""
