"""`Answers`: what one model in memory answers all visitors, each question computed once."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any, TypeVar

from skinxai import samples
from skinxai.classifier import Classifier
from skinxai.demo.uploads import Refused, Upload
from skinxai.progress import Tell
from skinxai.results import Explanation, ItemError, Neighbour, Prediction

MODEL = "SKINXAI_DEMO_MODEL"
"""Environment variable: folder or Hub name; the bundled model where it is not set."""
ROOM = 256 * 1024**2
"""Bytes of answers that are kept."""

Value = TypeVar("Value")


class Answers:
    """Answers of one classifier to all visitors.

    Args:
        classifier: shared by all threads.
        room: bytes of answers that are kept; the longest unused go first.
    """

    def __init__(self, classifier: Classifier, room: int = ROOM) -> None:
        self.classifier = classifier
        self._room, self._used = room, 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._running: dict[Hashable, threading.Event] = {}
        self._lock = threading.Lock()

    def predict(self, uploads: Sequence[Upload]) -> list[Prediction | Refused]:
        """As `Classifier.predict`, in order; a bad image gets its reason."""
        with self._lock:
            known = {upload.key: self._find(upload.key) for upload in uploads}
        new = {upload.key: upload for upload in uploads if known[upload.key] is None}
        if new:
            found = self.classifier.predict(
                [upload.open() for upload in new.values()], on_error="return", progress=False
            )
            for upload, result in zip(new.values(), found, strict=True):
                if isinstance(result, ItemError):
                    result = Refused(upload.name, reason(upload.name, result.error))
                known[upload.key] = result
                with self._lock:
                    self._keep(upload.key, result, 4096 + 8 * len(upload.name))
        return [known[upload.key] for upload in uploads]

    def explain(
        self, upload: Upload, method: str, target: str | None, tell: Tell | None = None
    ) -> Explanation:
        """As `Classifier.explain`.

        Args:
            upload: an image.
            method: name in `skinxai.explainers`.
            target: label; ``None``: the most probable.
            tell: is told of network passes, where the method has a budget of them; and of 0 of
                ``None`` while the same question is being computed for somebody else.
        """

        def compute() -> Explanation:
            result: Explanation = self.classifier.explain(
                upload.open(), method, target=target, progress=tell or False
            )
            return result

        def size(result: Explanation) -> int:
            return result.pixels.nbytes + sum(values.nbytes for values in result.maps.values())

        def waits() -> None:
            if tell is not None:
                tell(0, None)

        return self._once((*upload.key, method, target), compute, size, waits)

    def nearest(self, upload: Upload, k: int) -> list[Neighbour]:
        """As `Classifier.nearest`; none of a model that does not have its training lesions.

        Args:
            upload: an image that has a prediction.
            k: most lesions.
        """
        own = self.classifier.neighbours
        if own is None:
            return []

        def compute() -> list[Neighbour]:
            found: list[Neighbour] = self.classifier.nearest(upload.open(), min(k, len(own)))
            return found

        key = (*upload.key, "nearest", str(k))
        return self._once(key, compute, lambda found: 500 * len(found), lambda: None)

    def knows(self, upload: Upload, method: str, target: str | None) -> bool:
        """Whether `explain` has the answer at hand."""
        with self._lock:
            return (*upload.key, method, target) in self._kept

    def warm(self) -> None:
        """Load what the first visitor would wait for: the networks, and torch beside a graph."""
        path = samples.paths()[0]
        for method in ("gradcam", "saliency"):
            self.explain(Upload(path.name, path.read_bytes()), method, None)

    def _once(
        self,
        key: Hashable,
        compute: Callable[[], Value],
        size: Callable[[Value], int],
        waits: Callable[[], object],
    ) -> Value:
        while True:
            with self._lock:
                if (found := self._find(key)) is not None:
                    value: Value = found
                    return value
                running = self._running.get(key)
                if running is None:
                    done = self._running[key] = threading.Event()
                    break
            while not running.wait(0.25):
                waits()  # which may end the wait, if its page was left
            # then look again: whoever computed may have given up
        try:
            value = compute()
            with self._lock:
                self._keep(key, value, size(value))
            return value
        finally:
            with self._lock:
                del self._running[key]
            done.set()

    def _find(self, key: Hashable) -> Any:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def _keep(self, key: Hashable, value: Any, size: int) -> None:
        if key in self._kept:
            return
        self._kept[key] = (value, size)
        self._used += size
        while self._used > self._room:
            _, (_, freed) = self._kept.popitem(last=False)
            self._used -= freed


def reason(name: str, error: Exception) -> str:
    """An error's sentence without the file's name in front."""
    text = str(error).removeprefix(f"{name}: ")
    return text[:1].upper() + text[1:]


@cache
def shared() -> Answers:
    """The process's own, of the model that `MODEL` names; loaded when first asked."""
    return Answers(Classifier.from_pretrained(os.environ.get(MODEL) or None, backend="auto"))
