"""Bytes, files and arrays to upright RGB pixels, and these to what a network gets. No torch."""
