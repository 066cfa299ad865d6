"""Drift: whether the images that come are still like those that the model knows."""
