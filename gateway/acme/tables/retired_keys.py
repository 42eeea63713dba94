"""Keys that an account gave up by a key change (RFC 8555 section 7.3.5): none of them opens an account again.

Else whoever stole an old key, the reason of many a key change, could use the account's external account
binding with it once more, since a binding names the key that it was made for.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select

from gateway.acme.tables.schema import RETIRED_KEY
from gateway.store.statement import Statement
from gateway.store.unit import Unit
from gateway.store.upsert import insert_or_keep


def retire(unit: Unit, endpoint: str, thumbprint: str) -> None:
    """Remember a key that is an account's no more."""
    unit.move(_RETIRE, {"thumbprint": thumbprint, "endpoint": endpoint})


def is_retired(connection: Connection, endpoint: str, thumbprint: str) -> bool:
    """Whether an account of this endpoint once had this key and gave it up."""
    return _FIND.first(connection, thumbprint=thumbprint, endpoint=endpoint) is not None


_RETIRE = insert_or_keep(RETIRED_KEY)
_FIND = Statement(
    select(RETIRED_KEY.c.thumbprint).where(
        RETIRED_KEY.c.thumbprint == bindparam("thumbprint"), RETIRED_KEY.c.endpoint == bindparam("endpoint")
    ),
    ("thumbprint", "endpoint"),
)
