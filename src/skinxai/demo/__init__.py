"""The demo: a page in the browser, thin over `Classifier`. ``pip install 'skinxai[demo]'``."""

from skinxai.demo.starting import serve

__all__ = ["serve"]
