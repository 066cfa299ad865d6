"""NumPy arrays and torch tensors to RGB uint8. Imports no torch."""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.errors import InputDtypeError, InputRangeError, InputShapeError, OptionError
from skinxai.images.limits import check_size

RGB = npt.NDArray[np.uint8]
ROUNDING = 1e-6
"""How far floating values may lie outside their range, in widths of it."""


def is_tensor(value: Any) -> bool:
    """Whether ``value`` is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    known = getattr(torch, "Tensor", None)  # none while another thread is importing torch
    return known is not None and isinstance(value, known)


def check_value_range(value_range: Any) -> None:
    """Refuse a ``value_range`` that is not two finite numbers, low before high."""
    if value_range is None:
        return
    try:
        low, high = (float(end) for end in value_range)
    except (TypeError, ValueError):
        low = high = 0.0
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise OptionError(f"value_range must be (low, high) with low < high, got {value_range!r}.")


def array_to_rgb(
    array: Any,
    *,
    layout: str,
    value_range: tuple[float, float] | None,
    max_pixels: int,
    min_side: int,
) -> RGB:
    """Array or tensor, as `read_image` takes it, to RGB uint8 ``(H, W, 3)``; it is never changed.

    Raises:
        InputShapeError: another shape.
        InputDtypeError: another type, or a tensor without dense values.
        InputRangeError: values outside the range, or not finite.
    """
    values = _tensor_values(array) if is_tensor(array) else _plain(array)
    values = _channels_last(values, layout)
    check_size(values.shape[1], values.shape[0], max_pixels=max_pixels, min_side=min_side)
    pixels = to_uint8(values, value_range)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 4:
        pixels = on_white(pixels)
    return np.ascontiguousarray(pixels)


def on_white(rgba: RGB) -> RGB:
    """Composite RGBA on white in integers: opaque pixels keep every bit.

    Args:
        rgba: uint8 ``(H, W, 4)``.

    Returns:
        uint8 ``(H, W, 3)``.
    """
    alpha = rgba[..., 3:].astype(np.uint32)
    mixed = rgba[..., :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def to_uint8(
    values: npt.NDArray[Any], value_range: tuple[float, float] | None, what: str = "array"
) -> RGB:
    """Values of any range to 0–255, rounded.

    Nothing is clipped but what floating-point arithmetic leaves of an end of the range: up to
    `ROUNDING` of its width.

    Raises:
        InputDtypeError: a type whose range is not known.
        InputRangeError: values outside the range, or not finite.
    """
    kind = values.dtype.kind
    if kind not in "uif":
        raise InputDtypeError(
            f"array must be uint8 or floating, got {values.dtype}; convert it to one of them."
        )
    if value_range is None and kind in "ui" and values.dtype != np.uint8:
        raise InputDtypeError(
            f"array must be uint8 or floating, got {values.dtype}; convert it, or say which "
            f"values are black and white with value_range=(low, high)."
        )
    if kind == "f" and not (finite := np.isfinite(values)).all():
        first = tuple(int(i) for i in np.unravel_index(finite.argmin(), finite.shape))
        raise InputRangeError(f"{what} must be finite, got {values[first]} at index {first}.")
    if value_range is None and values.dtype == np.uint8:
        return np.array(values)
    low, high = (0.0, 1.0) if value_range is None else map(float, value_range)
    least, most = float(values.min()), float(values.max())
    allowed = ROUNDING * (high - low) if kind == "f" else 0.0
    if least < low - allowed or most > high + allowed:
        raise InputRangeError(_out_of_range(what, least, most, low, high, value_range is None))
    scaled = (values.astype(np.float64) - low) * (255.0 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def _out_of_range(
    what: str, least: float, most: float, low: float, high: float, default: bool
) -> str:
    text = f"{what} values must be in {low:g} to {high:g}, got {least:.9g} to {most:.9g}"
    if not default:
        return f"{text}; correct value_range."
    if least < low:
        return f"{text}; pass the raw image: normalised ones are not accepted."
    return f"{text}; convert to uint8, or pass value_range=(low, high)."


def _channels_last(values: npt.NDArray[Any], layout: str) -> npt.NDArray[Any]:
    shape = values.shape
    if values.ndim == 2:
        values = values[..., None]
    elif values.ndim == 3 and layout == "CHW":
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] in (1, 3, 4) and values.size:
        return values
    remedy = "pass one image at a time"
    if values.dtype.kind in "OSU":
        remedy = "for an array of images or paths pass array.tolist()"
    elif values.ndim == 4:
        remedy = "for a batch pass list(array)"
    elif len(shape) == 3 and layout == "HWC" and shape[0] in (1, 3, 4):
        remedy = 'for channels first pass layout="CHW"'
    expected = "(H, W), (H, W, 1|3|4)" if layout == "HWC" else "(H, W), (1|3|4, H, W)"
    raise InputShapeError(f"array must have the shape {expected}, got {shape}; {remedy}.")


def _plain(array: Any) -> npt.NDArray[Any]:
    if type(array) not in (np.ndarray, np.memmap):
        raise InputDtypeError(
            f"array must be a plain NumPy array, got {type(array).__name__}; convert it with "
            f"numpy.array() once you know that no value is lost."
        )
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and mapped.size() < len(mapped):  # of the file, and of the map
        raise InputShapeError(
            f"memory-mapped file must hold the whole array, but it has been cut to "
            f"{mapped.size()} bytes; open it again."
        )
    return np.asarray(array)


def _tensor_values(tensor: Any) -> npt.NDArray[Any]:
    torch = sys.modules["torch"]
    if (
        tensor.is_sparse
        or tensor.is_quantized
        or tensor.device.type == "meta"
        or (tensor.layout != torch.strided)
    ):
        raise InputDtypeError(
            f"tensor must be dense and hold values, got layout {tensor.layout} on "
            f"{tensor.device}, quantized {tensor.is_quantized}; convert it first."
        )
    tensor = tensor.detach().cpu()
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    return np.asarray(tensor.resolve_conj().resolve_neg().numpy())
