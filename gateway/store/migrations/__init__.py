"""Alembic's scripts, packaged, so that ``migrate`` needs no file outside the package."""
