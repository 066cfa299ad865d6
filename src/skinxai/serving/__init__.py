"""The service: HTTP in front of `Classifier`."""
