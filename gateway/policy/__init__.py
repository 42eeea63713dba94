"""The policy engine: pure, no network, database or clock."""
