"""Exported graphs as bytes: opened, checked and bounded before a runtime sees them."""

IMAGES, LOGITS, EMBEDDINGS, MAPS = "images", "logits", "embeddings", "class_activation_maps"
"""Names of a graph's input and outputs; not every graph has maps."""
