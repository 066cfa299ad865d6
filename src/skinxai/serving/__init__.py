"""The service: HTTP in front of `Classifier`, with `create_app` and `serve`."""
