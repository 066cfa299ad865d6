"""Names of a graph's input and outputs."""

IMAGES, LOGITS, EMBEDDINGS, MAPS = "images", "logits", "embeddings", "class_activation_maps"
"""Not every graph has maps."""
