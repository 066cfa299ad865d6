"""From images to predictions, whatever computes: reading, batching and streaming. No torch."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.configs import PreprocessConfig
from skinxai.errors import NonFiniteOutputError, OptionError, SkinxaiError, did_you_mean
from skinxai.images.limits import MAX_PIXELS, check_max_pixels
from skinxai.images.reading import read_image
from skinxai.images.sources import describe, may_read_ahead
from skinxai.images.transforms import evaluation_transform
from skinxai.labels import LabelSet
from skinxai.memory import in_batches
from skinxai.predicting import forking  # noqa: F401  (what forked processes need is arranged)
from skinxai.progress import Progress
from skinxai.results import ItemError, Prediction

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))
"""Dimensions of ``(N, 3, h, w)`` that each view of an image reverses."""

Look = Callable[[int, npt.NDArray[np.uint8]], None]
"""Sees each image as it was read: its index and pixels, in any order and from several threads."""


@dataclass(frozen=True)
class InputOptions:
    """The keywords that every method takes which reads images.

    Args:
        batch_size: images in one forward pass, >= 1.
        layout: ``"HWC"`` or ``"CHW"``, of arrays.
        value_range: ``(low, high)`` of array values, where they are not uint8 or floating 0–1.
        max_pixels: most pixels of an image that are decoded, >= 1.
        on_error: ``"raise"``, or ``"return"`` to put an `ItemError` in a bad image's place.
        progress: ``True`` or ``False``; ``None`` shows a bar on a terminal for several images, or
            for one whose explanation takes many network passes; a function is told of both
            instead: how many are done, of how many (``None``: not known).
    """

    batch_size: int = 32
    layout: str = "HWC"
    value_range: tuple[float, float] | None = None
    max_pixels: int = MAX_PIXELS
    on_error: str = "raise"
    progress: Progress = None

    def __post_init__(self) -> None:
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise OptionError(f"batch_size must be an integer >= 1, got {self.batch_size!r}.")
        if self.layout not in ("HWC", "CHW"):
            raise OptionError(f"layout must be 'HWC' or 'CHW', got {self.layout!r}.")
        check_max_pixels(self.max_pixels)
        if self.on_error not in ("raise", "return"):
            raise OptionError(f"on_error must be 'raise' or 'return', got {self.on_error!r}.")

    @classmethod
    def take(cls, values: Mapping[str, Any], *more: str) -> tuple[InputOptions, dict[str, Any]]:
        """Split keywords into input options and the rest, whose names must be in ``more``."""
        own = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - own - set(more)):
            raise OptionError(
                f"Unknown option {unknown[0]!r}; the options here are {sorted(own | set(more))}."
                f"{did_you_mean(unknown[0], own | set(more))}"
            )
        rest = {name: value for name, value in values.items() if name not in own}
        return cls(**{name: value for name, value in values.items() if name in own}), rest


@dataclass(frozen=True)
class Prepared:
    """One image, read once, on its way into the networks.

    Args:
        index: position in the call's order.
        source: which image.
        arrays: network input, float32 ``(3, h, w)``, for each preprocessing.
        warnings: notes from reading.
        pixels: the upright source, RGB uint8 ``(H, W, 3)``, where it was asked for.
    """

    index: int
    source: str
    arrays: Mapping[PreprocessConfig, npt.NDArray[np.float32]]
    warnings: tuple[str, ...]
    pixels: npt.NDArray[np.uint8] | None


def prepared_batches(
    images: Iterable[Any],
    preprocessings: Collection[PreprocessConfig],
    options: InputOptions,
    *,
    keep_pixels: bool = False,
    look: Look | None = None,
) -> Iterator[list[Prepared | ItemError]]:
    """Read images once and transform them in each way, one batch at a time, in order.

    Of a list of files a few are read at once, by as many threads as there are cores. An error
    comes only after everything before it has been handed on.

    Raises:
        SkinxaiError: of a bad image, with ``on_error="raise"``; its index is set.
    """

    def prepare(pair: tuple[int, Any]) -> Prepared | ItemError:
        index, image = pair
        try:
            return _prepare(index, image, preprocessings, options, keep_pixels, look)
        except SkinxaiError as error:
            error.at(index, describe(image))
            return ItemError(index, describe(image), error)

    batch: list[Prepared | ItemError] = []
    stream, place = iter(images), 0
    failure: BaseException | None = None
    count = min(options.batch_size, 2 * CORES) if may_read_ahead(images) else 1
    with ThreadPoolExecutor(CORES) as pool:  # no thread before the first use
        while failure is None:
            few, failure = _few(stream, place, count)
            if not few:
                break
            place += len(few)
            files = all(isinstance(image, str | os.PathLike | bytes) for _, image in few)
            for item in pool.map(prepare, few) if files and len(few) > 1 else map(prepare, few):
                if isinstance(item, ItemError) and options.on_error == "raise":
                    failure = item.error
                    break
                batch.append(item)
                if len(batch) == options.batch_size:
                    yield batch
                    batch = []
            del few, item  # a large image is not kept while the next one is read
        if batch:
            yield batch
    if failure is not None:
        raise failure


def _few(
    stream: Iterator[Any], place: int, count: int
) -> tuple[list[tuple[int, Any]], BaseException | None]:
    """The next images, and an error of the caller's own generator, which comes after them.

    Not by `enumerate`, which keeps an image until it has the next one.
    """
    found: list[tuple[int, Any]] = []
    try:
        for image in islice(stream, count):
            found.append((place + len(found), image))
    except Exception as error:
        return found, error
    return found, None


def _prepare(
    index: int,
    image: Any,
    preprocessings: Collection[PreprocessConfig],
    options: InputOptions,
    keep: bool,
    look: Look | None,
) -> Prepared:
    source = read_image(
        image,
        layout=options.layout,
        value_range=options.value_range,
        max_pixels=options.max_pixels,
    )
    arrays = {each: evaluation_transform(source.pixels, each) for each in preprocessings}
    if look is not None:
        look(index, source.pixels)
    pixels = source.pixels if keep else None
    return Prepared(index, source.source, arrays, source.warnings, pixels)


def weighted_mean(
    weights: Iterable[float], values: Iterable[npt.NDArray[Any]]
) -> npt.NDArray[np.float64]:
    """Sum of weight times array, float64, in order.

    Args:
        weights: at least one.
        values: one array for each, of one shape.
    """
    pairs = zip(weights, values, strict=True)
    first, *others = [weight * np.asarray(array, np.float64) for weight, array in pairs]
    return np.asarray(sum(others, start=first), np.float64)


class Predictor(ABC):
    """What turns prepared images into probabilities; shared by threads, changed by none.

    Attributes:
        labels: in logit order.
        model: ``name@revision``.
    """

    labels: LabelSet
    model: str

    @property
    @abstractmethod
    def backend(self) -> str:
        """What computes, for results: name, device and precision."""

    @property
    @abstractmethod
    def preprocessings(self) -> frozenset[PreprocessConfig]:
        """Of all networks, each once."""

    @abstractmethod
    def predict(self, items: Sequence[Prepared], *, tta: bool = False) -> npt.NDArray[np.float64]:
        """Probabilities ``(N, K)``; a row of NaN where logits are not finite.

        Args:
            items: N >= 1 images.
            tta: average the probabilities over the four flips of each image, in each network.
        """

    def prediction(
        self, item: Prepared, row: npt.NDArray[np.float64], options: InputOptions
    ) -> Prediction | ItemError:
        """The result of one row of probabilities; a row of NaN is an error, never a class.

        Raises:
            NonFiniteOutputError: with ``on_error="raise"``.
        """
        if not np.isfinite(row).all():
            error = NonFiniteOutputError(
                f"logits must be finite, the network's are not for {item.source}; the weights or "
                f"the precision are at fault, no class is returned."
            )
            error.at(item.index, item.source)
            if options.on_error == "raise":
                raise error
            return ItemError(item.index, item.source, error)
        return Prediction.from_probabilities(
            row.tolist(),
            self.labels,
            source=item.source,
            model=self.model,
            backend=self.backend,
            warnings=item.warnings,
        )


def predictions(
    predictor: Predictor, images: Iterable[Any], options: InputOptions, *, tta: bool = False,
    look: Look | None = None,
) -> Iterator[Prediction | ItemError]:  # fmt: skip
    """Predict lazily, in order; memory holds one batch.

    Args:
        predictor: what computes.
        images: any.
        options: of reading and batching.
        tta: as in `Predictor.predict`.
        look: sees each image once.
    """
    for batch in prepared_batches(images, predictor.preprocessings, options, look=look):
        items = [item for item in batch if isinstance(item, Prepared)]
        rows: dict[int, npt.NDArray[np.float64]] = {}
        if items:
            found = in_batches(items, lambda some: predictor.predict(some, tta=tta))
            rows = {item.index: row for item, row in zip(items, found, strict=True)}
        for item in batch:
            if isinstance(item, Prepared):
                yield predictor.prediction(item, rows[item.index], options)
            else:
                yield item
