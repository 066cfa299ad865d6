"""PostgreSQL's planner keeps no samples of what may name a subject.

Else it copies frequent values into its own tables, where they outlive the subject's deletion.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

COLUMNS = {
    "review_cases": ("id", "image_sha256", "subject", "lesion", "kept_image"),
    "review_labels": ("case_id", "comment"),
    "review_images": ("sha256",),
}


def upgrade() -> None:
    """Sample none of these columns; SQLite samples none unless it is told to."""
    if op.get_context().dialect.name != "postgresql":
        return
    for table, names in COLUMNS.items():
        for name in names:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET STATISTICS 0")
