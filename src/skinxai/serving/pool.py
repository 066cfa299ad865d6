"""`Pool`: the models that answer, each with a thread of its own."""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from skinxai import samples
from skinxai.classifier import Classifier
from skinxai.errors import OptionError
from skinxai.results import ItemError, Prediction
from skinxai.serving.batching import Asked, Batch, Batcher
from skinxai.serving.drift_watch import DriftWatch
from skinxai.serving.fleet import Fleet, Member, Worker
from skinxai.serving.observing import Observing
from skinxai.serving.service_settings import ServiceSettings
from skinxai.serving.shadowing import Shadow
from skinxai.serving.watching import Watch, reload, state_of


@dataclass(frozen=True)
class Served:
    """One model that answers.

    Args:
        name: configured, without a path.
        classifier: the model.
        batcher: its queue and thread.
        drift: is told of its answers.
        own: what tells its answers from those of other models of the same revision.
    """

    name: str
    classifier: Classifier
    batcher: Batcher
    drift: DriftWatch | None = None
    own: str = ""

    @classmethod
    def of(
        cls, classifier: Classifier, settings: ServiceSettings,
        tell: Callable[[str, Batch], object] = lambda name, batch: None, name: str | None = None,
    ) -> "Served":  # fmt: skip
        """A model that is ready to answer: its first batch is behind it."""
        name = name or classifier.model.partition("@")[0]
        path = samples.paths()[0]
        for count in sorted({1, settings.max_batch}):
            classifier.predict(classifier.prepare(path) * count, progress=False)
        drift = DriftWatch.of(classifier) if settings.drift else None
        batcher = Batcher(
            partial(predict, classifier, drift=drift), max_batch=settings.max_batch,
            max_wait=settings.max_wait / 1000, tell=partial(tell, name),
        )  # fmt: skip
        return cls(name, classifier, batcher, drift)

    @property
    def model(self) -> str:
        """``name@revision``."""
        return self.classifier.model

    def close(self) -> None:
        """End, after everything that waits has been answered."""
        self.batcher.close()
        if self.drift is not None:
            self.drift.close()


def predict(
    classifier: Classifier, items: Sequence[Any], asked: Asked, drift: DriftWatch | None = None
) -> list[Prediction | ItemError]:
    """Answer one batch."""
    return classifier.predict(
        list(items), tta=asked.tta, operating_point=asked.operating_point, on_error="return",
        progress=False, batch_size=len(items), monitor=drift,
    )  # fmt: skip


def members_of(settings: ServiceSettings) -> list[Member]:
    """The models that settings name, ``NAME_OR_FOLDER`` or ``NAME_OR_FOLDER=WEIGHT``.

    Raises:
        OptionError: a weight that is no number.
    """
    found = []
    for text in settings.models:
        source, equals, weight = text.rpartition("=")
        if not equals or Path(text).is_dir():
            found.append(Member(text))
            continue
        try:
            found.append(Member(source, float(weight)))
        except ValueError:
            raise OptionError(
                f"model must be NAME_OR_FOLDER or NAME_OR_FOLDER=WEIGHT, got {text!r}."
            ) from None
    return [*found, *(Member(source, shadow=True) for source in settings.shadows)]


class Pool:
    """The models of a service; none until `open`."""

    def __init__(self) -> None:
        self._fleet: Fleet | None = None
        self._watch: Watch | None = None

    def open(
        self, settings: ServiceSettings, observing: Observing, busy: Callable[[], bool],
        classifiers: Sequence[Classifier] | None = None,
    ) -> None:  # fmt: skip
        """Load the models and let them answer; shadows wait while live images wait (``busy``)."""

        def begin(name: str, member: Member, classifier: Classifier) -> Worker:
            if member.shadow:
                return Shadow(
                    classifier, partial(observing.agreed, name), busy,
                    partial(observing.left_out, name),
                )  # fmt: skip
            served = Served.of(classifier, settings, observing.batch, name)
            # Given ones may differ from the files that their revision names, or have none.
            return served if classifiers is None else replace(served, own=uuid.uuid4().hex)

        def load(source: str) -> Classifier:
            return Classifier.from_pretrained(
                source, backend=settings.backend, device=settings.device
            )

        members = members_of(settings)
        if classifiers is not None:
            members = [Member(each.model, given=each) for each in classifiers]
        folders = [each.folder for each in members]
        states = {folder: state_of(folder) for folder in folders if folder is not None}
        self._fleet = Fleet(members, load, begin, observing.changed)
        if settings.watch:
            self._watch = Watch(self._fleet, settings.watch, states)

    @property
    def served(self) -> Mapping[str, Served]:
        """The models that answer, by name."""
        return {} if self._fleet is None else {each.name: each.worker for each in self._fleet.live}

    @property
    def pace(self) -> float:
        """Seconds that an image of the slowest model took lately."""
        return max((each.batcher.pace for each in self.served.values()), default=0.0)

    @contextmanager
    def lease(self, route_key: str, name: str | None = None) -> Iterator[Served]:
        """The model that answers a request, for all of its images; see `Fleet.lease`."""
        assert self._fleet is not None
        with self._fleet.lease(route_key, name) as running:
            yield running.worker

    def choose(self, route_key: str) -> Served:
        """The model for work beside its queue, whose classifier answers for ever."""
        with self.lease(route_key) as served:
            return served

    def show(self, upload: bytes, label: str, **options: Any) -> None:
        """Let the shadows see an image and what the live model called it."""
        for each in self._fleet.shadows if self._fleet is not None else ():
            each.worker.see(upload, label, **options)

    def reload(self) -> None:
        """Load all models again, in a thread; what is refused goes on as it is."""
        if (fleet := self._fleet) is None:
            return
        names = [each.name for each in (*fleet.live, *fleet.shadows)]
        threading.Thread(
            target=lambda: [reload(fleet, name) for name in names], name="skinxai-reload"
        ).start()

    def alive(self, hang: float) -> bool:
        """Whether the threads of all models work."""
        return all(each.batcher.alive(hang) for each in self.served.values())

    def close(self) -> None:
        """Answer what waits, and end all threads."""
        if self._watch is not None:
            self._watch.close()
        if self._fleet is not None:
            self._fleet.close()
