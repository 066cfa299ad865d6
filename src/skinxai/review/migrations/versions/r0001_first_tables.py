"""The first tables: cases, their labels, images that are kept for a time, and the store's state."""

import uuid

import sqlalchemy as sa
from alembic import op

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
MOMENT = sa.DateTime(timezone=True)
PRIVATE = {
    "review_cases": ("id", "image_sha256", "subject", "lesion", "kept_image"),
    "review_labels": ("case_id", "comment"),
    "review_images": ("sha256",),
}
"""Columns that may name a subject, of each table."""
revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables; of columns that may name a subject the planner keeps no samples."""
    op.create_table(
        "review_images",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("since", MOMENT, nullable=False),
    )
    op.create_index("ix_review_images_since", "review_images", ["since"])
    op.create_table(
        "review_cases",
        sa.Column("id", NAME, primary_key=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("label", NAME, nullable=False),
        sa.Column("decision", sa.String(16)),
        sa.Column("uncertainty", sa.Double, nullable=False),
        sa.Column("prediction", sa.JSON, nullable=False),
        sa.Column("subject", NAME),
        sa.Column("lesion", NAME),
        sa.Column("kept_image", sa.String(64), sa.ForeignKey("review_images.sha256")),
    )
    op.create_index("review_cases_queue", "review_cases", ["decision", "uncertainty"])
    for name in ("image_sha256", "subject", "kept_image"):
        op.create_index(f"ix_review_cases_{name}", "review_cases", [name])
    op.create_table(
        "review_labels",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("case_id", NAME, sa.ForeignKey("review_cases.id"), nullable=False),
        sa.Column("reviewer", NAME, nullable=False),
        sa.Column("label", NAME, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    )
    op.create_index("ix_review_labels_case_id", "review_labels", ["case_id"])
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
    # Else PostgreSQL copies frequent values into its planner's tables, where they outlive the
    # subject's deletion. SQLite samples none unless it is told to.
    if op.get_context().dialect.name == "postgresql":
        for table, names in PRIVATE.items():
            for name in names:
                op.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET STATISTICS 0")
