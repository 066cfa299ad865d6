"""From images to logits: reading, batching and streaming in constant memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from skinxai.memory import in_batches
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
) -> Iterator[list[Prepared | ItemError]]:
    """Read images once and transform them in each way, one batch at a time, in order.

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
            batch.append(_prepare(index, image, preprocessings, options, keep_pixels))
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
    index: int,
    image: Any,
    preprocessings: Collection[PreprocessConfig],
    options: InputOptions,
    keep: bool,
) -> Prepared:
    source = read_image(
        image,
        layout=options.layout,
        value_range=options.value_range,
        allow_urls=options.allow_urls,
    )
    arrays = {each: evaluation_transform(source.pixels, each) for each in preprocessings}
    pixels = source.pixels if keep else None
    return Prepared(index, source.source, arrays, source.warnings, pixels)


def to_batch(
    items: Sequence[Prepared], preprocessing: PreprocessConfig, device: torch.device
) -> Tensor:
    """Network input ``(N, 3, h, w)`` float32, channels last in memory, of prepared images."""
    batch = torch.from_numpy(np.stack([item.arrays[preprocessing] for item in items]))
    return batch.to(device, memory_format=torch.channels_last)


@dataclass(frozen=True)
class Member:
    """One network of an engine.

    Args:
        whole: in evaluation mode, on the engine's device.
        answering: the same, or a folded copy of it.
        preprocessing: of the evaluation transform.
        weight: its share of the mean.
        model: ``name@revision``.
        seen: tensors of ``whole`` and how often each had been written to, when it was copied.
    """

    whole: SkinClassifier
    answering: SkinClassifier
    preprocessing: PreprocessConfig
    weight: float
    model: str
    seen: tuple[tuple[Tensor, int], ...]

    @classmethod
    def of(
        cls, whole: SkinClassifier, answering: SkinClassifier, preprocessing: PreprocessConfig,
        weight: float, model: str,
    ) -> Member:  # fmt: skip
        """From the networks as they are now; the arguments are the fields."""
        return cls(whole, answering, preprocessing, weight, model, _versions(whole))

    @property
    def network(self) -> SkinClassifier:
        """What answers.

        Raises:
            ModelError: the whole network was changed after a folded copy was made of it.
        """
        if self.answering is not self.whole:
            now = _versions(self.whole)
            same = len(now) == len(self.seen) and all(
                one is two and first == second
                for (one, first), (two, second) in zip(now, self.seen, strict=True)
            )
            if not same:
                raise ModelError(
                    f"the network of {self.model} must stay as it was loaded, and was changed: its "
                    f"answers would be the old ones; wrap the changed one in from_module()."
                )
        return self.answering

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies count afresh what is written to their own tensors."""
        answering = self.network  # an outdated one is not copied
        return Member.of, (self.whole, answering, self.preprocessing, self.weight, self.model)


def _versions(model: SkinClassifier) -> tuple[tuple[Tensor, int], ...]:
    tensors = (*model.network.parameters(), *model.network.buffers())
    return tuple((t, 0 if t.is_inference() else int(t._version)) for t in tensors)


@dataclass(frozen=True)
class Engine:
    """Networks with all that is needed to answer for them; shared by threads, changed by none.

    A single model is an ensemble of one, whose weight is 1.

    Args:
        members: the networks; their weights sum to 1.
        labels: in logit order, of all members.
        device: where they compute.
        model: ``name@revision``.
        backend: what computes, for results.
    """

    members: tuple[Member, ...]
    labels: LabelSet
    device: torch.device
    model: str
    backend: str

    @property
    def preprocessings(self) -> frozenset[PreprocessConfig]:
        """The members', each once."""
        return frozenset(member.preprocessing for member in self.members)

    def single(self, wanted_by: str) -> Member:
        """The only member.

        Args:
            wanted_by: what needs one network, for the message.

        Raises:
            ModelError: an ensemble of several.
        """
        if len(self.members) > 1:
            raise ModelError(
                f"{wanted_by} needs a single network, and {self.model} is an ensemble of "
                f"{len(self.members)} with features of their own; load one of the folders in its "
                f"members/."
            )
        return self.members[0]

    def mean(self, values: Iterable[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        """Weighted mean over the members, float64, of one array of each, in order."""
        pairs = zip(self.members, values, strict=True)
        first, *others = [member.weight * array.astype(np.float64) for member, array in pairs]
        return np.asarray(sum(others, start=first), np.float64)

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
    def predict(self, items: Sequence[Prepared], *, tta: bool = False) -> npt.NDArray[np.float64]:
        """Probabilities ``(N, K)``, the weighted mean of the members'; NaN as in `probabilities`.

        Args:
            items: N >= 1 images.
            tta: average the probabilities over the four flips of each image, in each member.
        """
        return self.mean(self._predict_one(member, items, tta) for member in self.members)

    def _predict_one(
        self, member: Member, items: Sequence[Prepared], tta: bool
    ) -> npt.NDArray[np.float64]:
        images = to_batch(items, member.preprocessing, self.device)
        views = FLIPS if tta else FLIPS[:1]
        total = np.zeros((len(images), len(self.labels)))
        for view in views:
            logits = member.network(images.flip(view) if view else images)
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
    for batch in prepared_batches(images, engine.preprocessings, options):
        items = [item for item in batch if isinstance(item, Prepared)]
        rows: dict[int, npt.NDArray[np.float64]] = {}
        if items:
            found = in_batches(items, lambda some: engine.predict(some, tta=tta))
            rows = {item.index: row for item, row in zip(items, found, strict=True)}
        for item in batch:
            if isinstance(item, Prepared):
                yield engine.prediction(item, rows[item.index], options)
            else:
                yield item


def embeddings(
    engine: Engine, images: Iterable[Any], options: InputOptions
) -> npt.NDArray[np.float32]:
    """Pooled features, float32 ``(N, D)``; ``(0, 0)`` for no image.

    Raises:
        ModelError: an ensemble, whose members have features of their own.
        OptionError: ``on_error="return"``, since a row has no place for errors.
    """
    if options.on_error != "raise":
        raise OptionError("on_error must be 'raise' for embeddings: a row has no place for errors.")
    member = engine.single("embed()")
    rows: list[npt.NDArray[np.float32]] = []
    for batch in prepared_batches(images, engine.preprocessings, options):
        items = [item for item in batch if isinstance(item, Prepared)]
        rows += in_batches(items, lambda some: _embed(engine, member, some)) if items else []
    return np.stack(rows) if rows else np.empty((0, 0), np.float32)


@torch.inference_mode()
def _embed(engine: Engine, member: Member, items: Sequence[Prepared]) -> npt.NDArray[np.float32]:
    images = to_batch(items, member.preprocessing, engine.device)
    features = member.network.pool(member.network.features(images))
    return np.asarray(features.float().cpu().numpy(), np.float32)
