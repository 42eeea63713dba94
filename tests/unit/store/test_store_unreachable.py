"""What people are told of a database that cannot be reached: one line, in the driver's words."""

from __future__ import annotations

import socket

import pytest
from sqlalchemy import text

from gateway.errors import StoreUnavailable
from gateway.store.migrate import migrate
from gateway.store.store import Store


def test_refused_connection_is_told_in_one_line_with_its_address() -> None:
    with socket.socket() as deaf:  # bound but not listening: a connection is refused
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        url = f"postgresql://pkigate@127.0.0.1:{port}/pkigate"
        with Store(url) as store, pytest.raises(StoreUnavailable) as by_query:
            store.reader.read_blocking(lambda connection: connection.execute(text("SELECT 1")).all())
        with pytest.raises(StoreUnavailable) as by_schema:
            migrate(url)
    for detail in (by_query.value.detail, by_schema.value.detail):
        assert f"port {port} failed: Connection refused" in detail
        assert not {"\n", "\t"} & set(detail)
        assert "sqlalche" not in detail
        assert "[SQL" not in detail
