"""One module per step of the schema, each working on SQLite and PostgreSQL alike."""
