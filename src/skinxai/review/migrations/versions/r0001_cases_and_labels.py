"""Cases and their labels."""

import sqlalchemy as sa
from alembic import op

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
MOMENT = sa.DateTime(timezone=True)
revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first two tables."""
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
    )
    op.create_index("review_cases_queue", "review_cases", ["decision", "uncertainty"])
    for name in ("image_sha256", "subject"):
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
