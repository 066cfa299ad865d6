"""Alembic migrations of the store; `skinxai.review.migrating` runs them."""
