"""Explainers: the registry. Built-in methods and plugins stand side by side.

``names()``, ``get(name)``, ``entries()`` and ``register(name)`` load nothing heavy.
"""

from skinxai import plugins

names = plugins.explainers.names
get = plugins.explainers.get
entries = plugins.explainers.entries
register = plugins.explainers.register
