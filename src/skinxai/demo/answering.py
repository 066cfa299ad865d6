"""`Answers`: what one model in memory answers all visitors, each question computed once."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from skinxai import samples
from skinxai.classifier import Classifier
from skinxai.demo.showing import thumbnail
from skinxai.demo.uploads import Refused, Upload
from skinxai.demo.waiting import Queue, Turn, Waits, patiently
from skinxai.errors import ExplainError, ImageTooLargeError, SkinxaiError
from skinxai.errors.root import for_visitors
from skinxai.images.reading import SourceImage, read_image
from skinxai.memory import give_back
from skinxai.progress import Tell
from skinxai.results import Explanation, ItemError, Neighbour, Prediction

MODEL = "SKINXAI_DEMO_MODEL"
"""Environment variable: folder or Hub name; the bundled model where it is not set."""
PIXELS = "SKINXAI_DEMO_MAX_PIXELS"
"""Environment variable: most pixels of an image; `MAX_PIXELS` where it is not set."""
MAX_PIXELS = 25_000_000
"""Most pixels of a visitor's image: more than dermatoscopes and their cameras make."""
AT_ONCE = 5_000_000
"""Most pixels of images that are decoded side by side; of larger ones, one at a time."""
ROOM = 128 * 1024**2
"""Bytes of answers that are kept."""

Value = TypeVar("Value")


class Answers:
    """Answers of one classifier to all visitors; ``waits`` hears how many others are before one.

    Args:
        classifier: shared by all threads.
        room: bytes of answers that are kept; the longest unused go first.
        max_pixels: most pixels of an image that are decoded.
        queue: who computes next.
    """

    def __init__(
        self,
        classifier: Classifier,
        room: int = ROOM,
        max_pixels: int = MAX_PIXELS,
        queue: Queue | None = None,
    ) -> None:
        self.classifier = classifier
        self._room, self._used, self._max_pixels = room, 0, max_pixels
        self._queue = queue or Queue()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._running: dict[Hashable, threading.Event] = {}
        self._lock, self._large = threading.Lock(), threading.Lock()

    def predict(
        self, uploads: Sequence[Upload], waits: Waits = patiently
    ) -> list[Prediction | Refused]:
        """As `Classifier.predict`, in order; a bad image gets its reason.

        Each image is decoded once: its thumbnail is made on the way, and the pixels of one that
        comes alone are kept for what is asked of it next.
        """
        with self._lock:
            known = {upload.key: self._find(upload.key) for upload in uploads}
        new = {upload.key: upload for upload in uploads if known[upload.key] is None}
        see = self._image if len(new) == 1 else self._read
        read: list[Upload] = []

        def seen(upload: Upload) -> SourceImage:
            image = see(upload)
            small = thumbnail(image.pixels)
            with self._lock:
                self._keep((*upload.key, "thumbnail"), small, len(small))
            read.append(upload)
            give_back()
            return image

        def images(turn: Turn) -> Iterator[SourceImage]:
            for upload in new.values():
                turn.pass_on()
                try:
                    yield seen(upload)  # without a name of its own, which would keep it in memory
                except SkinxaiError as error:
                    self._answer(known, upload, error)

        if new:
            with self._turn(waits) as turn:
                found = self.classifier.predict(images(turn), on_error="return", progress=False)
            for upload, result in zip(read, found, strict=True):
                self._answer(
                    known, upload, result.error if isinstance(result, ItemError) else result
                )
        return [known[upload.key] for upload in uploads]

    def _answer(self, known: dict[Any, Any], upload: Upload, result: Any) -> None:
        if isinstance(result, SkinxaiError):
            result = Refused(upload.name, reason(upload.name, result))
        known[upload.key] = result
        with self._lock:
            self._keep(upload.key, result, 4096 + 8 * len(upload.name))

    def image(self, upload: Upload, waits: Waits = patiently) -> SourceImage:
        """An image as it was read."""
        with self._lock:
            known: SourceImage | None = self._find((*upload.key, "image"))
        if known is not None:
            return known
        with self._turn(waits):
            return self._image(upload)

    def thumbnail(self, upload: Upload, waits: Waits = patiently) -> str:
        """A small picture of an image that has a prediction, as a data URL."""
        with self._lock:
            known: str | None = self._find((*upload.key, "thumbnail"))
        return known or thumbnail(self.image(upload, waits).pixels)

    def _image(self, upload: Upload) -> SourceImage:
        """As `image`, by one whose turn it is."""
        return self._once(
            (*upload.key, "image"), lambda: self._read(upload), lambda image: image.pixels.nbytes
        )

    def _read(self, upload: Upload) -> SourceImage:
        small = min(AT_ONCE, self._max_pixels)
        try:
            return read_image(upload.open(), max_pixels=small)
        except ImageTooLargeError:  # by its header, nothing was decoded
            if small == self._max_pixels:
                raise
        with self._large:
            return read_image(upload.open(), max_pixels=self._max_pixels)

    @contextmanager
    def _turn(self, waits: Waits) -> Iterator[Turn]:
        """A place in the queue; what was used in it is given back to the system."""
        try:
            with self._queue.turn(waits) as turn:
                yield turn
        finally:
            give_back()

    def explain(
        self,
        upload: Upload,
        method: str,
        target: str | None,
        tell: Tell | None = None,
        waits: Waits = patiently,
    ) -> Explanation:
        """As `Classifier.explain`.

        Args:
            upload: an image.
            method: its name.
            target: label; ``None``: the most probable.
            tell: is told of network passes, where the method has a budget of them; and of 0 of
                ``None`` while the same question is being computed for somebody else.
            waits: see `Answers`.
        """

        def compute() -> Explanation:
            with self._turn(waits) as turn:

                def told(done: int, total: int | None) -> None:
                    if tell is not None:
                        tell(done, total)
                    turn.pass_on()

                result: Explanation = self.classifier.explain(
                    self._image(upload), method, target=target, progress=told
                )
                return result

        def size(result: Explanation) -> int:
            return result.pixels.nbytes + sum(values.nbytes for values in result.maps.values())

        def same() -> None:
            if tell is not None:
                tell(0, None)

        return self._once((*upload.key, method, target), compute, size, same)

    def nearest(self, upload: Upload, k: int, waits: Waits = patiently) -> list[Neighbour]:
        """As `Classifier.nearest`; none of a model that does not have its training lesions."""
        own = self.classifier.neighbours
        if own is None:
            return []

        def compute() -> list[Neighbour]:
            with self._turn(waits):
                found: list[Neighbour] = self.classifier.nearest(
                    self._image(upload), min(k, len(own))
                )
                return found

        key = (*upload.key, "nearest", str(k))
        return self._once(key, compute, lambda found: 500 * len(found))

    def report(self, upload: Upload, point: str | None, waits: Waits = patiently) -> bytes:
        """A case report as HTML, with methods of one pass each; see `Classifier.report`."""

        def asked(methods: Sequence[str] | None) -> bytes:
            image = self._image(upload)
            report = self.classifier.report(
                image, methods=methods, operating_point=point, progress=False
            )
            return report.html().encode()

        def compute() -> bytes:
            with self._turn(waits):
                try:
                    return asked(QUICK)
                except ExplainError:  # the network does not fit one of them
                    return asked(None)

        return self._once((*upload.key, "report", point), compute, len)

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
        waits: Callable[[], object] = bool,
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
    """An error's sentence for a visitor: without the file's name, and what only others can do."""
    text = for_visitors(str(error).removeprefix(f"{name}: "))
    return text[:1].upper() + text[1:]


QUICK = ("gradcam", "layercam", "saliency")
"""Methods of a case report."""


@cache
def shared() -> Answers:
    """The process's own, of the model that `MODEL` names; loaded when first asked."""
    classifier = Classifier.from_pretrained(os.environ.get(MODEL) or None, backend="auto")
    return Answers(classifier, max_pixels=int(os.environ.get(PIXELS) or MAX_PIXELS))
