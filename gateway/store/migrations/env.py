"""What alembic runs: the steps on the connection that ``gateway.store.migrate`` holds the lock on."""

from __future__ import annotations

from alembic import context

from gateway.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
