"""What a user passes to prepared network input: options, reading and batching. No torch."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from skinxai.configs import PreprocessConfig
from skinxai.errors import InputShapeError, OptionError, SkinxaiError, did_you_mean
from skinxai.images.limits import MAX_PIXELS, check_max_pixels
from skinxai.images.reading import read_image
from skinxai.images.sources import describe, iter_sources, may_read_ahead
from skinxai.images.transforms import evaluation_transform
from skinxai.interruption import mapped
from skinxai.numeric import plain_fields, whole
from skinxai.predicting import forking  # noqa: F401  (what forked processes need is arranged)
from skinxai.progress import Progress, watched
from skinxai.results import ItemError
from skinxai.trust.colours import colours
from skinxai.trust.image_measures import measure

if TYPE_CHECKING:
    from _typeshed import SupportsRead
    from PIL import Image
    from torch import Tensor

    from skinxai.images.reading import SourceImage

    OneImage: TypeAlias = (
        "npt.NDArray[Any] | Tensor | Image.Image | SourceImage | Prepared | bytes | bytearray "
        "| memoryview | SupportsRead[bytes]"
    )
    """What is a single image, whatever it holds; a path may also be a folder or a pattern."""
    Place = str | os.PathLike[str]
    """An image file, a folder or a pattern: only the disk knows which."""

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

_READ_AT_ONCE = (str, os.PathLike, bytes, np.ndarray)

Look = Callable[[int, npt.NDArray[np.uint8]], None]
"""Sees each image as it was read: its index and pixels, in any order and from several threads."""


@dataclass(frozen=True)
class InputOptions:
    """The keywords that every method takes which reads images.

    Args:
        batch_size: images in one forward pass, >= 1.
        layout: ``"HWC"`` or ``"CHW"``, of arrays.
        value_range: ``(low, high)`` of array values, where they are not uint8 or floating 0–1, and
            of grey images of 16 or 32 bits a pixel.
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
        plain_fields(self)
        whole("batch_size", self.batch_size)
        if self.layout not in ("HWC", "CHW"):
            raise OptionError(f"layout must be 'HWC' or 'CHW', got {self.layout!r}.")
        check_max_pixels(self.max_pixels)
        if self.on_error not in ("raise", "return"):
            raise OptionError(f"on_error must be 'raise' or 'return', got {self.on_error!r}.")

    def check_raises(self, where: str) -> None:
        """Refuse ``on_error="return"`` in a call that needs every image.

        Raises:
            OptionError: it is that.
        """
        if self.on_error != "raise":
            raise OptionError(f"on_error must be 'raise' {where}: no image may be left out.")

    @classmethod
    def take(cls, values: Mapping[str, Any], *more: str) -> tuple[InputOptions, dict[str, Any]]:
        """Split keywords into input options and the rest, whose names must be in ``more``."""
        own = {f.name for f in fields(cls)}
        check_names(values, own.union(more))
        rest = {name: value for name, value in values.items() if name not in own}
        return cls(**{name: value for name, value in values.items() if name in own}), rest


def check_names(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse the name of an option that a call does not have.

    Raises:
        OptionError: it is in ``given`` and not in ``known``.
    """
    if unknown := sorted(set(given) - set(known)):
        raise OptionError(
            f"Unknown option {unknown[0]!r}; the options here are {sorted(known)}."
            f"{did_you_mean(unknown[0], known)}"
        )


def keywords_of(call: Callable[..., Any]) -> list[str]:
    """Names of a call's own keywords, which the error of an unknown option lists as well."""
    found = inspect.signature(call).parameters.values()
    return [each.name for each in found if each.kind is each.KEYWORD_ONLY]


class ReadingInputs(TypedDict, total=False):
    """`InputOptions` as keywords, for type checkers; ``on_error`` decides what is returned."""

    batch_size: int
    layout: Literal["HWC", "CHW"]
    value_range: tuple[float, float] | None
    max_pixels: int
    progress: Progress


class Inputs(ReadingInputs, total=False):
    """Keywords of calls that raise the error of a bad image, as is the default."""

    on_error: Literal["raise"]


class InputsOrErrors(ReadingInputs):
    """Keywords of calls that return an `ItemError` in the place of a bad image."""

    on_error: Literal["return"]


class AnyInputs(ReadingInputs, total=False):
    """Keywords of calls that do either."""

    on_error: Literal["raise", "return"]


@dataclass(frozen=True)
class Prepared:
    """One image, read once, on its way into the networks; what `Classifier.prepare` returns.

    Args:
        index: position in the call's order.
        source: which image.
        arrays: network input, float32 ``(3, h, w)``, for each preprocessing.
        warnings: notes from reading.
        pixels: the upright source, RGB uint8 ``(H, W, 3)``, where it was asked for.
        measured: measures of the image's quality, where they were asked for.
        colours: of `skinxai.trust.colours.colours`, ``(12,)``, where they were asked for.
    """

    index: int
    source: str
    arrays: Mapping[PreprocessConfig, npt.NDArray[np.float32]]
    warnings: tuple[str, ...]
    pixels: npt.NDArray[np.uint8] | None
    measured: Mapping[str, float] = field(default_factory=dict)
    colours: npt.NDArray[np.float32] | None = None

    def noting(self, doubts: tuple[str, ...]) -> Prepared:
        """The same image with more notes."""
        return replace(self, warnings=(*self.warnings, *doubts)) if doubts else self

    def again(
        self, index: int, preprocessings: Collection[PreprocessConfig], *, pixels: bool,
        measured: bool,
    ) -> Prepared:  # fmt: skip
        """The same image in another call, which does not read it a second time.

        Raises:
            InputShapeError: an image that was prepared for a model with other needs.
        """
        lacking = not set(preprocessings) <= set(self.arrays)
        if lacking or (measured and self.colours is None) or (pixels and self.pixels is None):
            what = "predictions" if pixels and not lacking else "another model"
            raise InputShapeError(
                f"{self.source}: a prepared image must have been prepared by the model that is "
                f"asked, and serves predict() alone, but this one was prepared for {what}; pass "
                f"the image itself."
            )
        return replace(self, index=index)


def several(images: Any, progress: Progress) -> tuple[bool, Iterable[Any], int | None]:
    """Whether one image came, all of them behind a progress bar, and how many, where it is known.

    Args:
        images: what a user passed.
        progress: as in `InputOptions`; of a single image there is no bar.
    """
    single, many = iter_sources(images)
    listed = isinstance(images, Sequence) and not isinstance(images, str)
    count = 1 if single else len(images) if listed else None
    return single, watched(many, count, False if single else progress, "image"), count


def prepared_batches(
    images: Iterable[Any],
    preprocessings: Collection[PreprocessConfig],
    options: InputOptions,
    *,
    keep_pixels: bool = False,
    look: Look | None = None,
    measured: bool = False,
) -> Iterator[list[Prepared | ItemError]]:
    """Read images once and transform them in each way, one batch at a time, in order.

    Of a list of files or arrays a few are prepared at once, by as many threads as there are cores.
    An error comes only after everything before it has been handed on.

    Raises:
        SkinxaiError: of a bad image, with ``on_error="raise"``; its index is set.
    """

    def prepare(pair: tuple[int, Any]) -> Prepared | ItemError:
        index, image = pair
        try:
            return _prepare(index, image, preprocessings, options, keep_pixels, look, measured)
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
            shared = len(few) > 1 and all(isinstance(image, _READ_AT_ONCE) for _, image in few)
            for item in mapped(pool, prepare, few) if shared else map(prepare, few):
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
    measured: bool,
) -> Prepared:
    if isinstance(image, Prepared):
        return image.again(
            index, preprocessings, pixels=keep or look is not None, measured=measured
        )
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
    made = Prepared(index, source.source, arrays, source.warnings, pixels)
    if not measured:
        return made
    return replace(made, measured=measure(source.pixels), colours=colours(source.pixels))
