"""Exported graphs that compute in eight bits, and what that costs."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from skinxai.assessment.metrics import confusion_matrix, metrics_of
from skinxai.configs import PreprocessConfig
from skinxai.data.hashing import looks
from skinxai.data.records import Records
from skinxai.disk.staging import write_together
from skinxai.errors import LeakageError, OptionError
from skinxai.graphs import IMAGES
from skinxai.graphs.exported import KERNEL, PRECISION, SEAL, UNSEALED, seal
from skinxai.images.limits import MAX_PIXELS
from skinxai.images.sources import iter_sources
from skinxai.model_folders.trained_on import Look, TrainedOn
from skinxai.predicting.inputs import InputOptions, Prepared, prepared_batches
from skinxai.predicting.opened_models import of_exported
from skinxai.predicting.predictor import Predictor
from skinxai.predicting.runners import RUNNERS, check_backend
from skinxai.predicting.streaming import predictions
from skinxai.predicting.torch_predictor import TorchPredictor
from skinxai.results import Prediction


class Exportable(Protocol):
    """What is asked of the classifier; see `Classifier`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label codes in logit order."""

    @property
    def trained_on(self) -> TrainedOn | None:
        """Hashes of the training images."""

    @property
    def torch_predictor(self) -> TorchPredictor:
        """Torch's networks."""

    def export(self, path: Path) -> object:
        """Write the model in float32."""


@dataclass(frozen=True)
class Int8Cost:
    """What a graph in eight bits costs, on labelled images that took no part in training.

    Args:
        images: how many were judged.
        balanced_accuracy: of the model, and of its graph in eight bits.
        macro_f1: of both.
        labels: how many images get another label.
        probability: largest difference of a probability; neither is calibrated, as no file is.
        backend: that ran the graph.
    """

    images: int
    balanced_accuracy: tuple[float, float]
    macro_f1: tuple[float, float]
    labels: int
    probability: float
    backend: str


def export_int8(
    classifier: Exportable, path: str | os.PathLike[str], *, calibrate: Any, judge: Records,
    backend: str = "onnx", max_pixels: int = MAX_PIXELS,
) -> Int8Cost:  # fmt: skip
    """Write ``*.onnx`` whose convolutions compute in eight bits, and say what that costs.

    Weights are rounded for each output channel, activations to the range that they have on the
    calibration images; the head stays float32. A smaller file
    with other answers: look at the cost before it is used. Grad-CAM is not had from it.

    Args:
        classifier: a single model.
        path: ``*.onnx``; ONNX Runtime and OpenVINO read it.
        calibrate: real images, some dozens, as in `Classifier.predict`.
        judge: labelled images that took no part in training, calibration or any choice, nor did
            copies of them.
        backend: that runs it for the judgement, ``"onnx"`` or ``"openvino"``.
        max_pixels: most pixels of an image that are decoded, >= 1.

    Raises:
        LeakageError: an image of ``judge`` that the model was trained on, or a copy of one.
        OptionError: another suffix or backend, no image, an image of ``judge`` that is one of
            ``calibrate`` or a copy of one, or a package that is not installed.
        ModelError: an ensemble, or an exported file.
        ExportError: as in `Classifier.export`.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise OptionError(f"path must end in .onnx, got {path.name!r}.")
    if backend not in RUNNERS:
        raise OptionError(f"backend must be one of {list(RUNNERS)}, got {backend!r}.")
    check_backend(backend)
    if judge.labels.codes != classifier.labels:
        raise OptionError(f"judge must have the model's labels {list(classifier.labels)}.")
    preprocessing = classifier.torch_predictor.single("export_int8()").preprocessing
    known = classifier.trained_on
    options = InputOptions(max_pixels=max_pixels)
    pairs = zip(judge, looks(judge, max_pixels=max_pixels), strict=True)
    judged = {item.image_id: look for item, look in pairs if isinstance(look, Look)}
    if known is not None and (seen := known.seen(judged)):
        raise LeakageError(
            f"judge contains images that the model was trained on: {seen.describe()}."
        )
    asked: dict[int, Look] = {}
    arrays = list(_arrays(calibrate, preprocessing, options, asked))
    if not arrays or not len(judge):
        raise OptionError(
            f"calibrate and judge must each be at least one image, got {len(arrays)} and "
            f"{len(judge)}."
        )
    if same := TrainedOn.of_looks(asked.values()).seen(judged):
        raise OptionError(
            f"judge must hold no image of calibrate and no copy of one, but {len(same)} are, such "
            f"as {[*same.exact, *same.copies][:3]}; leave them out of one of the two."
        )
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder, "whole.onnx"), Path(folder, path.name)
        classifier.export(whole)
        _quantise(whole, small, arrays)
        graph = of_exported(small, "cpu", backend).predictor
        whole_model = classifier.torch_predictor.in_float32().uncalibrated  # as a file is
        predictors: tuple[Predictor[Any], ...] = (whole_model, graph)
        first, second = (_rows(each, judge, options) for each in predictors)
        write_together(path.parent, {path.name: small.read_bytes()})
    target, classes = np.asarray(judge.targets()), len(judge.labels)
    one, two = (
        metrics_of(confusion_matrix(target, rows.argmax(axis=1), classes))
        for rows in (first, second)
    )
    return Int8Cost(
        len(judge),
        (one.balanced_accuracy, two.balanced_accuracy),
        (one.macro_f1, two.macro_f1),
        int((first.argmax(axis=1) != second.argmax(axis=1)).sum()),
        float(np.abs(first - second).max()),
        graph.backend,
    )


def _arrays(
    images: Any, preprocessing: PreprocessConfig, options: InputOptions, asked: dict[int, Look]
) -> Iterator[npt.NDArray[np.float32]]:
    """Network input ``(1, 3, h, w)`` of each image, which is read once, and a look at it."""

    def look(index: int, pixels: npt.NDArray[np.uint8]) -> None:
        asked[index] = Look.at(pixels)

    many = iter_sources(images)[1]
    for batch in prepared_batches(many, [preprocessing], options, look=look):
        for item in batch:
            assert isinstance(item, Prepared)
            yield item.arrays[preprocessing][None]


def _rows(
    predictor: Predictor[Any], records: Records, options: InputOptions
) -> npt.NDArray[np.float64]:
    found = list(predictions(predictor, [item.path for item in records], options))
    return np.array([list(p.probabilities.values()) for p in found if isinstance(p, Prediction)])


def _quantise(whole: Path, small: Path, arrays: list[npt.NDArray[np.float32]]) -> None:
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise OptionError(f"int8 needs {error.name}: pip install 'skinxai[onnx]'.") from error

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """The calibration images, one after the other."""

        def __init__(self) -> None:
            self._images = iter(arrays)

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            image = next(self._images, None)
            return None if image is None else {IMAGES: image}

    prepared = whole.with_name("prepared.onnx")
    quant_pre_process(whole, prepared, skip_symbolic_shape=True)
    parsed = onnx.load(prepared)
    kept = [
        node.name
        for node in parsed.graph.node
        if node.op_type in ("Gemm", "MatMul") or KERNEL in node.input
    ]
    quantization.quantize_static(
        prepared, small, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
        nodes_to_exclude=kept,
    )  # fmt: skip
    made = onnx.load(small)
    own = [each for each in made.opset_import if each.domain in ("", "ai.onnx")]
    del made.opset_import[:]  # it lists domains that no operator is of
    made.opset_import.extend(own)
    onnx.checker.check_model(made)
    metadata = {each.key: each.value for each in onnx.load(whole).metadata_props}
    del made.metadata_props[:]
    for key, value in (metadata | {PRECISION: "int8", SEAL: UNSEALED.decode()}).items():
        made.metadata_props.add(key=key, value=value)
    small.write_bytes(seal(made.SerializeToString(deterministic=True)))
