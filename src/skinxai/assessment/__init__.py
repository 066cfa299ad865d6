"""Judging a model: metrics, and intervals clustered by lesion."""
