"""The database: SQLAlchemy Core on SQLite and PostgreSQL, one batching writer, reads apart.

Nothing here returns SQLAlchemy rows, and SQL stands nowhere else but in a protocol's own ``tables.py``.
"""
