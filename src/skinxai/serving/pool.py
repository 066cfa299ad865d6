"""`Pool`: the models that answer, each with a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from skinxai import samples
from skinxai.classifier import Classifier
from skinxai.results import ItemError, Prediction
from skinxai.serving.batching import Asked, Batch, Batcher
from skinxai.serving.service_settings import ServiceSettings


@dataclass(frozen=True)
class Served:
    """One model that answers.

    Args:
        name: configured, without a path.
        classifier: the model.
        batcher: its queue and thread.
    """

    name: str
    classifier: Classifier
    batcher: Batcher

    @classmethod
    def of(
        cls, classifier: Classifier, settings: ServiceSettings,
        tell: Callable[[str, Batch], object] = lambda name, batch: None,
    ) -> Served:  # fmt: skip
        """A model that is ready to answer: its first batch is behind it.

        Args:
            classifier: the model.
            settings: of the service.
            tell: is told of each batch, with the model's name.
        """
        name = classifier.model.partition("@")[0]
        path = samples.paths()[0]
        for count in sorted({1, settings.max_batch}):
            classifier.predict(classifier.prepare(path) * count, progress=False)
        batcher = Batcher(
            partial(predict, classifier), max_batch=settings.max_batch,
            max_wait=settings.max_wait / 1000, tell=partial(tell, name),
        )  # fmt: skip
        return cls(name, classifier, batcher)

    @property
    def model(self) -> str:
        """``name@revision``."""
        return self.classifier.model


def predict(
    classifier: Classifier, items: Sequence[Any], asked: Asked
) -> list[Prediction | ItemError]:
    """Answer one batch."""
    return classifier.predict(
        list(items), tta=asked.tta, operating_point=asked.operating_point, on_error="return",
        progress=False, batch_size=len(items),
    )  # fmt: skip


class Pool:
    """The models by name; the first one answers where nothing else is said."""

    def __init__(self) -> None:
        self._served: dict[str, Served] = {}

    def add(self, served: Served) -> Served | None:
        """Let a model answer, and return the one of the same name that it replaces."""
        before = self._served.get(served.name)
        self._served = self._served | {served.name: served}
        return before

    @property
    def served(self) -> Mapping[str, Served]:
        """The models by name, in the order in which they were added."""
        return self._served

    def choose(self, route_key: str | None) -> Served:
        """The model that answers a request, for all of its images.

        Args:
            route_key: the same key gets the same model.
        """
        del route_key
        return next(iter(self._served.values()))

    def alive(self, hang: float) -> bool:
        """Whether the threads of all models work."""
        return all(each.batcher.alive(hang) for each in self._served.values())

    def close(self) -> None:
        """Answer what waits, and end all threads."""
        for each in self._served.values():
            each.batcher.close()
