"""Reviewers' names as they are given now: without outer blanks, composed (Unicode NFC).

Else someone who was named in another form before would count as two reviewers.
"""

import sqlalchemy as sa
from alembic import op

from skinxai.data.cleaning import clean

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Write each name anew that is of another form."""
    labels, database = sa.table("review_labels", sa.column("reviewer", sa.String)), op.get_bind()
    name = labels.c.reviewer
    for known in database.scalars(sa.select(name).distinct()).all():
        if clean(known) != known:
            again = sa.update(labels).where(name == known).values(reviewer=clean(known))
            database.execute(again)
