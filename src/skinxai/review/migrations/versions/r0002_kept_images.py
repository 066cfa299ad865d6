"""Images that are kept for a time."""

import uuid

import sqlalchemy as sa
from alembic import op

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
MOMENT = sa.DateTime(timezone=True)
revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make two more tables, and let cases name their image."""
    op.create_table(
        "review_images",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("since", MOMENT, nullable=False),
    )
    op.create_index("ix_review_images_since", "review_images", ["since"])
    state = op.create_table(
        "review_state",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    # Here, so that no two processes that open the store make them at once.
    op.bulk_insert(
        state,
        [
            {"name": "number", "value": str(uuid.uuid4())},
            {"name": "latest", "value": "1970-01-01T00:00:00+00:00"},
        ],
    )
    # Alembic's add_column would add the reference afterwards, which SQLite cannot.
    op.execute(
        "ALTER TABLE review_cases ADD COLUMN kept_image VARCHAR(64) "
        "REFERENCES review_images (sha256)"
    )
    op.create_index("ix_review_cases_kept_image", "review_cases", ["kept_image"])
