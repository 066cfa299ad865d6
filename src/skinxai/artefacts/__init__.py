"""Images changed on purpose: erased, drawn on, or as another camera would have taken them."""

from skinxai.artefacts.catalogue import CATALOGUE, Artefact, named
from skinxai.artefacts.changed import Changed

__all__ = ["CATALOGUE", "Artefact", "Changed", "named"]
