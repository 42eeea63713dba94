"""The database: schema, one batched recorder per worker, reads by key. SQL lives here."""
