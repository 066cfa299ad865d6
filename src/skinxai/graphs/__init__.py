"""Exported graphs as bytes: opened, checked and bounded before a runtime sees them."""
