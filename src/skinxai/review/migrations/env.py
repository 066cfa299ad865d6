"""What Alembic runs for each migration: `skinxai.review.migrating` gives it the connection."""

from alembic import context

from skinxai.review.migrating import VERSION_TABLE
from skinxai.review.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
