"""What the bundled network says of HAM10000's validation images, as they are and disturbed.

Asked once for each disturbance, by OpenVINO, and kept as a file of numbers in the cache folder.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from skinxai import Classifier, read_image
from skinxai.artefacts import CATALOGUE
from skinxai.data import Record
from skinxai.predicting.inputs import InputOptions, Prepared, prepared_batches
from skinxai.results import Observation
from skinxai.trust.novelty_gate import NoveltyGate
from skinxai.trust.reference_sample import QUALITY
from skinxai.trust.scaling import Scaling

Array = np.ndarray
Pixels = np.ndarray
BATCH = 16


def _catalogue(name: str, strength: str) -> Callable[[Pixels, str], Pixels]:
    (artefact,) = [each for each in CATALOGUE if (each.name, each.strength) == (name, strength)]

    def changed(pixels: Pixels, image_id: str) -> Pixels:
        made = artefact(pixels, image_id=image_id)
        assert made is not None
        return made.pixels

    return changed


def _exposed(gain: float) -> Callable[[Pixels, str], Pixels]:
    return lambda pixels, _: np.rint(np.clip(gain * pixels.astype(float), 0, 255)).astype(np.uint8)


def _smaller(pixels: Pixels, _: str) -> Pixels:
    height, width = pixels.shape[:2]
    size = (round(width * 0.6), round(height * 0.6))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


DISTURBED: dict[str, Callable[[Pixels, str], Pixels]] = {
    "JPEG, quality 30": _catalogue("JPEG", "quality 30"),
    "JPEG, quality 10": _catalogue("JPEG", "quality 10"),
    "blur, slight": _catalogue("blur", "slight"),
    "blur, strong": _catalogue("blur", "strong"),
    "colour cast, yellow": _catalogue("colour cast", "yellow"),
    "exposure × 0.75": _exposed(0.75),
    "exposure × 1.25": _exposed(1.25),
    "downscaled to 0.6": _smaller,
    "magnified 1.25": _catalogue("scale", "1.25"),
    "dark corners, small": _catalogue("dark corners", "small"),
}
"""Name → function of pixels and the image's id."""


@dataclass(frozen=True)
class Answers:
    """Of N images, before calibration.

    Args:
        rows: softmax of the logits, float64 ``(N, K)``.
        embeddings: float32 ``(N, D)``.
        quality: float64 ``(N, 9)``.
        colours: float32 ``(N, 12)``.
        labels: positions, ``(N,)``.
        lesions: text, ``(N,)``.
        sources: which camera and archive, ``(N,)``.
    """

    rows: Array
    embeddings: Array
    quality: Array
    colours: Array
    labels: Array
    lesions: Array
    sources: Array

    def of(self, chosen: Array) -> "Answers":
        return Answers(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.labels)


def asked(
    model: Classifier, items: list[Record], sources: dict[str, str], cache: Path, name: str = ""
) -> Answers:
    """Answers for images, disturbed where a name of `DISTURBED` is given."""
    file = cache / f"{name or 'as they are'}.npz".replace(" ", "_")
    if not file.exists():
        print(f"asks the network about {len(items)} images, {name or 'as they are'}", flush=True)
        arrays = _arrays(model, items, DISTURBED.get(name))
        partial = file.with_suffix(".part.npz")
        np.savez(partial, ids=[item.image_id for item in items], **arrays)
        partial.replace(file)
    found = dict(np.load(file))
    assert found.pop("ids").tolist() == [item.image_id for item in items], f"delete {file}"
    positions = [model.labels.index(item.label) for item in items]
    return Answers(
        **found, labels=np.array(positions), lesions=np.array([item.lesion_id for item in items]),
        sources=np.array([sources[item.image_id] for item in items]),
    )  # fmt: skip


def _arrays(
    model: Classifier, items: list[Record], change: Callable[[Pixels, str], Pixels] | None
) -> dict[str, Array]:
    predictor = model._in_use.predictor.uncalibrated

    def images() -> Iterator[Pixels]:
        for item in items:
            pixels = read_image(item.path).pixels
            yield pixels if change is None else change(pixels, item.image_id)

    passes = predictor.passes()
    found: dict[str, list[Array]] = {
        key: [] for key in ("rows", "embeddings", "quality", "colours")
    }
    for batch in prepared_batches(
        images(), predictor.preprocessings, InputOptions(batch_size=BATCH), measured=True
    ):
        some = [item for item in batch if isinstance(item, Prepared)]
        (out,) = predictor.outputs(some, passes, embeddings=True)
        found["rows"].append(out.rows)
        found["embeddings"].append(out.embeddings)
        found["quality"].append(np.array([[e.measured[q] for q in QUALITY] for e in some]))
        found["colours"].append(np.stack([each.colours for each in some]))
    return {key: np.concatenate(parts) for key, parts in found.items()}


@dataclass(frozen=True)
class Calibrated:
    """The network, calibrated on some images."""

    scaling: Scaling
    gate: NoveltyGate

    @classmethod
    def on(cls, known: Answers) -> tuple["Calibrated", list[Observation]]:
        """With what `Classifier.calibrate` would take for the reference."""
        gate, scores = NoveltyGate.fit_held_out(
            [known.embeddings], known.colours, known.labels, known.lesions.tolist(), [1.0]
        )
        made = cls(Scaling.fit(known.rows, known.labels, "temperature"), gate)
        return made, made._observed(known, scores)

    def observed(self, answers: Answers) -> list[Observation]:
        """What a monitor would see of images."""
        return self._observed(
            answers, self.gate.scores([answers.embeddings], answers.colours, [1.0])
        )

    def _observed(self, answers: Answers, scores: Array) -> list[Observation]:
        rows = self.scaling(answers.rows)
        return [
            Observation(
                "bundled", rows[k], answers.embeddings[k],
                dict(zip(QUALITY, answers.quality[k].tolist(), strict=True)), answers.colours[k],
                float(scores[k]), None,
            )
            for k in range(len(answers))
        ]  # fmt: skip
