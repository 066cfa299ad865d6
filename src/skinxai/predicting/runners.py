"""What runs a graph: ONNX Runtime, or OpenVINO. On the processor."""

import math
import threading
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from skinxai.errors import IntegrityError, OptionError, did_you_mean
from skinxai.graphs import IMAGES
from skinxai.graphs.budget import largest
from skinxai.graphs.exported import openvino_core
from skinxai.memory import is_out_of_memory
from skinxai.plain_text import counted
from skinxai.predicting.gpu_drivers import has_gpu

Arrays = dict[str, npt.NDArray[np.float32]]


class Runner(Protocol):
    """A compiled graph that threads share."""

    backend: str
    """What computes, for results."""
    names: list[str]
    """Of the outputs."""
    precision: str
    """Of most of its arithmetic."""
    versions: dict[str, str]
    """Of the package that computes."""

    def __call__(self, images: npt.NDArray[np.float32]) -> Arrays:
        """Outputs by name, of images ``(N, 3, h, w)`` float32."""


class OnnxRuntime:
    """ONNX Runtime.

    Args:
        graph: ONNX.
        weights: none; the graph holds its own.
        precision: of most of its arithmetic, for results.
    """

    package: ClassVar[str] = "onnxruntime"

    @staticmethod
    def try_import() -> None:
        """Import the package; an `ImportError` where it is not installed."""
        import onnxruntime  # noqa: F401

    def __init__(self, graph: bytes, weights: bytes = b"", precision: str = "float32") -> None:
        _need("onnx")
        import onnxruntime

        onnxruntime.disable_telemetry_events()  # its older builds for Windows heed no variable
        if precision not in ("float32", "int8"):
            raise OptionError(f"backend 'onnx' must compute in float32, got {precision!r}.")
        if weights:
            raise OptionError(
                "backend 'onnx' reads *.onnx, not *.xml",
                python="pass backend='openvino'",
                command="give --backend openvino",
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # what it says of its own optimisations is not for users
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of many kinds, none public
            raise IntegrityError(f"ONNX Runtime could not load the graph: {error}") from error
        self._graph, self.precision = graph, precision
        self.names = [each.name for each in self._session.get_outputs()]
        self.versions = {"onnxruntime": onnxruntime.__version__}
        self.backend = f"onnxruntime {onnxruntime.__version__} cpu {precision}"

    def __call__(self, images: npt.NDArray[np.float32]) -> Arrays:
        """Outputs by name."""
        try:
            found = self._session.run(None, {IMAGES: images})
        except Exception as error:  # of many kinds, none public
            if "allocat" in str(error):
                raise MemoryError(str(error)) from error
            raise IntegrityError(f"ONNX Runtime could not run the graph: {error}") from error
        return _one_row_each(dict(zip(self.names, found, strict=True)), len(images))

    def __reduce__(self) -> tuple[Any, ...]:
        return OnnxRuntime, (self._graph, b"", self.precision)


class OpenVino:
    """OpenVINO, one image at a time: activations of one stay in the processor's cache.

    Args:
        graph: ONNX, or the XML of OpenVINO's own format.
        weights: of that format.
        precision: of most of its arithmetic, for results.
    """

    package: ClassVar[str] = "openvino"

    @staticmethod
    def try_import() -> None:
        """Import the package; an `ImportError` where it is not installed."""
        import openvino  # noqa: F401

    def __init__(self, graph: bytes, weights: bytes = b"", precision: str = "float32") -> None:
        _need("openvino")
        import openvino

        core = openvino_core()
        if precision not in ("float32", "bfloat16", "int8"):
            raise OptionError(
                f"backend 'openvino' must compute in float32 or bfloat16, got {precision!r}."
            )
        # Left to itself it computes in bfloat16 where the processor can.
        hint = "bf16" if precision == "bfloat16" else "f32"
        settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        try:
            model = core.read_model(graph, weights) if weights else core.read_model(graph)
            shape = model.input(IMAGES).partial_shape
            shape[0] = 1  # known sizes are faster
            model.reshape({IMAGES: shape})
            _check_sizes(model, largest(*(shape[axis].get_length() for axis in (2, 3))))
            self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise IntegrityError(f"OpenVINO could not load the graph: {error}") from error
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        if precision == "bfloat16" and used != openvino.Type.bf16:  # the processor has none
            precision = "float32"
        self._graph, self._weights, self.precision = graph, weights, precision
        self.names = [output.get_any_name() for output in self._compiled.outputs]
        self._requests = threading.local()  # a request serves one thread at a time
        version = openvino.__version__.partition("-")[0]
        self.versions = {"openvino": version}
        self.backend = f"openvino {version} cpu {precision}"

    def __call__(self, images: npt.NDArray[np.float32]) -> Arrays:
        """Outputs by name."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        found: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in self.names}
        for image in images:
            try:
                outputs = self._requests.own.infer({IMAGES: image[None]})
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                raise IntegrityError(f"OpenVINO could not run the graph: {error}") from error
            for name, values in zip(self.names, outputs.values(), strict=True):
                found[name].append(np.array(values))
        outputs = {name: np.concatenate(rows) for name, rows in found.items()}
        return _one_row_each(outputs, len(images))

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenVino, (self._graph, self._weights, self.precision)


def _one_row_each(outputs: Arrays, images: int) -> Arrays:
    """Refuse a graph that computes more or fewer rows than it got images."""
    for name, values in outputs.items():
        if not values.ndim or len(values) != images:
            raise IntegrityError(
                f"a graph must compute one row for each image, got the shape {values.shape} of "
                f"{name!r} for {counted(images, 'image')}; export the model again."
            )
    return outputs


def _check_sizes(model: Any, most: int) -> None:
    """Refuse a graph with a value that is too large, or of unknown size, for one image."""
    for operation in model.get_ops():
        for output in operation.outputs():
            shape = output.get_partial_shape()
            if operation.get_type_name() != "Constant" and (
                shape.is_dynamic or math.prod(shape.to_shape()) > most
            ):
                raise IntegrityError(
                    f"a graph must compute values of at most {most} elements for an image, but "
                    f"{operation.get_type_name()} would have {shape}; export the model again."
                )


RUNNERS: dict[str, type[OnnxRuntime] | type[OpenVino]] = {
    "onnx": OnnxRuntime,
    "openvino": OpenVino,
}


def check_backend(backend: str) -> None:
    """Refuse what cannot predict on this machine, before a model is fetched or opened.

    Raises:
        OptionError: another name, or a runtime that is not installed.
    """
    if backend not in ("torch", "auto", *RUNNERS):
        raise OptionError(
            f"backend must be 'torch', 'auto', 'onnx' or 'openvino', got {backend!r}."
            f"{did_you_mean(str(backend).lower(), ('torch', 'auto', *RUNNERS))}"
        )
    if backend in RUNNERS:
        _need(backend)


def choose(backend: str, *, has_graph: bool, device: str) -> str:
    """``"torch"``, or a name in `RUNNERS`.

    Args:
        backend: one of them, or ``"auto"``: torch on a GPU; on the processor OpenVINO where it is
            installed and the model has a graph, else torch, which is faster than ONNX Runtime here.
        has_graph: whether the model's folder, or each member's, has one that can answer.
        device: ``"auto"`` (the GPU where there is one), ``"cpu"``, ``"cuda"`` …
    """
    if backend != "auto":
        return backend
    if not (has_graph and installed("openvino")):
        return "torch"
    on_processor = not has_gpu() if device == "auto" else device == "cpu"
    return "openvino" if on_processor else "torch"


def installed(backend: str) -> bool:
    """Whether the package of a backend in `RUNNERS` can be imported."""
    try:
        RUNNERS[backend].try_import()
    except ImportError:
        return False
    return True


def _need(backend: str) -> None:
    if not installed(backend):
        raise OptionError(
            f"backend {backend!r} needs the package {RUNNERS[backend].package}: pip install "
            f"'skinxai[{backend}]'."
        )
