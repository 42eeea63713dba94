"""What policies may say of a credential: the groups that it is in, and labels.

Written out, as every migration is; ``gateway.store.schema`` goes on, this one stands.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COLUMNS = ("groups", "labels")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("credential", sa.Column(name, sa.Text(), nullable=True))


def downgrade() -> None:
    for name in reversed(_COLUMNS):
        op.drop_column("credential", name)
