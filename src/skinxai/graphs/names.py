"""Names of a graph's input and outputs."""

IMAGES, LOGITS, MAPS = "images", "logits", "class_activation_maps"
"""Not every graph has maps."""
