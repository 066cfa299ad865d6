"""From images to logits: reading, batching and streaming in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skinxai.configs import PreprocessConfig
from skinxai.errors import ModelError, NonFiniteOutputError, OptionError, SkinxaiError
from skinxai.images import read_image
from skinxai.labels import LabelSet
from skinxai.models import SkinClassifier
from skinxai.results import ItemError, Prediction
from skinxai.sources import describe
from skinxai.transforms import evaluation_transform

FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))


@dataclass(frozen=True)
class InputOptions:
    """The keywords that every method takes which reads images.

    Args:
        batch_size: images in one forward pass, >= 1.
        layout: ``"HWC"`` or ``"CHW"``, of arrays.
        value_range: ``(low, high)`` of array values, where they are not uint8 or floating 0–1.
        allow_urls: whether ``http(s)`` URLs may be read.
        on_error: ``"raise"``, or ``"return"`` to put an `ItemError` in a bad image's place.
        progress: ``True`` or ``False``; ``None`` shows a bar on a terminal for several images.
    """

    batch_size: int = 32
    layout: str = "HWC"
    value_range: tuple[float, float] | None = None
    allow_urls: bool = False
    on_error: str = "raise"
    progress: bool | None = None

    def __post_init__(self) -> None:
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise OptionError(f"batch_size must be an integer >= 1, got {self.batch_size!r}.")
        if self.layout not in ("HWC", "CHW"):
            raise OptionError(f"layout must be 'HWC' or 'CHW', got {self.layout!r}.")
        if self.on_error not in ("raise", "return"):
            raise OptionError(f"on_error must be 'raise' or 'return', got {self.on_error!r}.")

    @classmethod
    def take(cls, values: Mapping[str, Any], *more: str) -> tuple[InputOptions, dict[str, Any]]:
        """Split keywords into input options and the rest, whose names must be in ``more``."""
        own = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - own - set(more)):
            raise OptionError(
                f"Unknown option {unknown[0]!r}; the options here are {sorted(own | set(more))}."
            )
        rest = {name: value for name, value in values.items() if name not in own}
        return cls(**{name: value for name, value in values.items() if name in own}), rest


@dataclass(frozen=True)
class Prepared:
    """One image on its way into the network.

    Args:
        index: position in the call's order.
        source: which image.
        array: network input, float32 ``(3, h, w)``.
        warnings: notes from reading.
        pixels: the upright source, RGB uint8 ``(H, W, 3)``, where it was asked for.
    """

    index: int
    source: str
    array: npt.NDArray[np.float32]
    warnings: tuple[str, ...]
    pixels: npt.NDArray[np.uint8] | None


def prepared_batches(
    images: Iterable[Any],
    preprocessing: PreprocessConfig,
    options: InputOptions,
    *,
    keep_pixels: bool = False,
) -> Iterator[list[Prepared | ItemError]]:
    """Read and transform images, one batch at a time, in order.

    An error comes only after everything before it has been handed on.

    Raises:
        SkinxaiError: of a bad image, with ``on_error="raise"``; its index is set.
    """
    batch: list[Prepared | ItemError] = []
    stream = enumerate(images)
    failure: BaseException | None = None
    while failure is None:
        try:
            index, image = next(stream)
        except StopIteration:
            break
        except Exception as error:  # the caller's own generator: pass it on after what it gave
            failure = error
            break
        try:
            batch.append(_prepare(index, image, preprocessing, options, keep_pixels))
        except SkinxaiError as error:
            error.at(index, describe(image))
            if options.on_error == "raise":
                failure = error
            else:
                batch.append(ItemError(index, describe(image), error))
        if len(batch) == options.batch_size:
            yield batch
            batch = []
    if batch:
        yield batch
    if failure is not None:
        raise failure


def _prepare(
    index: int, image: Any, preprocessing: PreprocessConfig, options: InputOptions, keep: bool
) -> Prepared:
    source = read_image(
        image,
        layout=options.layout,
        value_range=options.value_range,
        allow_urls=options.allow_urls,
    )
    array = evaluation_transform(source.pixels, preprocessing)
    pixels = source.pixels if keep else None
    return Prepared(index, source.source, array, source.warnings, pixels)


def to_batch(items: list[Prepared], device: torch.device) -> Tensor:
    """Network input ``(N, 3, h, w)`` float32, channels last in memory, of prepared images."""
    batch = torch.from_numpy(np.stack([item.array for item in items]))
    return batch.to(device, memory_format=torch.channels_last)


@dataclass(frozen=True)
class Engine:
    """A network with all that is needed to answer for it; shared by threads, changed by none.

    Args:
        network: in evaluation mode, on ``device``.
        labels: in logit order.
        preprocessing: of the evaluation transform.
        device: where it computes.
        model: ``name@revision``.
        backend: what computes, for results.
    """

    network: SkinClassifier
    labels: LabelSet
    preprocessing: PreprocessConfig
    device: torch.device
    model: str
    backend: str

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax ``(N, K)`` float64 of logits; a row that is not finite becomes NaN.

        Raises:
            ModelError: the network's logits are not ``(N, K)``.
        """
        if logits.ndim != 2 or logits.shape[1] != len(self.labels):
            raise ModelError(
                f"logits must be (N, {len(self.labels)}), one for each label, "
                f"got {tuple(logits.shape)}."
            )
        finite = torch.isfinite(logits).all(dim=1, keepdim=True)
        return torch.where(finite, logits.double().softmax(dim=1), torch.nan)

    @torch.inference_mode()
    def predict(self, images: Tensor, *, tta: bool = False) -> npt.NDArray[np.float64]:
        """Probabilities ``(N, K)`` of images ``(N, 3, h, w)``; NaN rows as in `probabilities`.

        Args:
            images: network input, float32.
            tta: average the probabilities over the four flips of each image.
        """
        views = FLIPS if tta else FLIPS[:1]
        total = np.zeros((len(images), len(self.labels)))
        for view in views:
            logits = self.network(images.flip(view) if view else images)
            total += self.probabilities(logits).cpu().numpy()
        return total / len(views)

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
    engine: Engine, images: Iterable[Any], options: InputOptions, *, tta: bool = False
) -> Iterator[Prediction | ItemError]:
    """Predict lazily, in order; memory holds one batch."""
    for batch in prepared_batches(images, engine.preprocessing, options):
        items = [item for item in batch if isinstance(item, Prepared)]
        rows: dict[int, npt.NDArray[np.float64]] = {}
        if items:
            found = engine.predict(to_batch(items, engine.device), tta=tta)
            rows = {item.index: row for item, row in zip(items, found, strict=True)}
        for item in batch:
            if isinstance(item, Prepared):
                yield engine.prediction(item, rows[item.index], options)
            else:
                yield item


def embeddings(
    engine: Engine, images: Iterable[Any], options: InputOptions
) -> npt.NDArray[np.float32]:
    """Pooled features, float32 ``(N, D)``; ``(0, 0)`` for no image."""
    rows = []
    for batch in prepared_batches(images, engine.preprocessing, options):
        items = [item for item in batch if isinstance(item, Prepared)]
        with torch.inference_mode():
            features = engine.network.features(to_batch(items, engine.device))
            rows.append(engine.network.pool(features).float().cpu().numpy())
    return np.concatenate(rows) if rows else np.empty((0, 0), np.float32)
