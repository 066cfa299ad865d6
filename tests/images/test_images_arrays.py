"""Arrays and tensors: what their numbers mean is never guessed."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from picture_files import gradient
from places import ROOT

from skinxai import read_image
from skinxai.errors import InputDtypeError, InputRangeError, InputShapeError, OptionError

PIXELS = gradient()
FLOAT = (PIXELS / 255).astype(np.float32)
WIDE = PIXELS.astype(np.uint16) * 257


class Subclass(np.ndarray):
    pass


def bad_value(value: float) -> np.ndarray:
    array = FLOAT.copy()
    array[3, 5, 1] = value
    return array


def structured() -> np.ndarray:
    return np.zeros((40, 40), [("r", "u1"), ("g", "u1"), ("b", "u1")])


ACCEPTED = {
    "rows, columns, channels": (PIXELS, {}),
    "channels first, uint8": (PIXELS.transpose(2, 0, 1), {"layout": "CHW"}),
    "channels first, float": (FLOAT.transpose(2, 0, 1), {"layout": "CHW"}),
    "float16": (torch.from_numpy(PIXELS / 255).half(), {}),
    "float32": (FLOAT, {}),
    "float64": (PIXELS / 255, {}),
    "0 to 255": (PIXELS.astype(np.float32), {"value_range": (0, 255)}),
    "-1 to 1": (FLOAT * 2 - 1, {"value_range": (-1, 1)}),
    "uint16": (WIDE, {"value_range": (0, 65535)}),
    "int64": (PIXELS.astype(np.int64), {"value_range": (0, 255)}),
    "strided": (np.repeat(PIXELS, 2, axis=1)[:, ::2], {}),
    "negative": (PIXELS[::-1, ::-1].copy()[::-1, ::-1], {}),
    "big-endian": (FLOAT.astype(">f4"), {}),
    "fortran": (np.asfortranarray(PIXELS), {}),
    "tensor": (torch.from_numpy(PIXELS.copy()), {}),
    "grad": (torch.from_numpy(FLOAT.copy()).requires_grad_(), {}),
    "bfloat16": (torch.from_numpy(np.where(PIXELS > 99, 1.0, 0.0)).bfloat16(), {}),
}


def test_an_image_is_read_while_another_thread_imports_torch(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))  # as it is halfway
    pixels = np.zeros((40, 50, 3), np.uint8)
    assert np.array_equal(read_image(pixels).pixels, pixels)


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case: str) -> None:
    array, keywords = ACCEPTED[case]
    before = array.clone() if isinstance(array, torch.Tensor) else array.copy()
    expected = np.where(PIXELS > 99, 255, 0) if case == "bfloat16" else PIXELS
    found = read_image(array, **keywords).pixels
    assert found.dtype == np.uint8 and found.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(found, expected)
    assert (array == before).all()
    found[:] = 0  # the result is a copy: writing to it leaves the input alone
    assert (array == before).all()


REFUSED = {
    "channels first": (PIXELS.transpose(2, 0, 1), InputShapeError, 'pass layout="CHW"'),
    "0 to 255 in floats": (PIXELS.astype(np.float32), InputRangeError, "convert to uint8"),
    "normalised": (FLOAT * 2 - 1, InputRangeError, "normalised ones are not accepted"),
    "uint16": (WIDE, InputDtypeError, "got uint16.*value_range"),
    "int32": (PIXELS.astype(np.int32), InputDtypeError, "got int32"),
    "int64": (PIXELS.astype(np.int64), InputDtypeError, "got int64"),
    "bool": (PIXELS > 99, InputDtypeError, "got bool"),
    "complex": (FLOAT + 0j, InputDtypeError, "got complex64"),
    "object": (PIXELS.astype(object), InputDtypeError, "got object"),
    "text": (PIXELS.astype(str), InputDtypeError, "got <U"),
    "structured": (structured(), InputDtypeError, "got"),
    "nan": (bad_value(np.nan), InputRangeError, r"finite, got nan at index \(3, 5, 1\)"),
    "inf": (bad_value(np.inf), InputRangeError, r"finite, got inf at index \(3, 5, 1\)"),
    "minus": (bad_value(-np.inf), InputRangeError, "finite, got -inf"),
    "no-rows": (PIXELS[:0], InputShapeError, r"got \(0, 64, 3\)"),
    "no-columns": (PIXELS[:, :0], InputShapeError, r"got \(48, 0, 3\)"),
    "two": (PIXELS[..., :2], InputShapeError, r"got \(48, 64, 2\)"),
    "batch": (PIXELS[None], InputShapeError, r"pass list\(array\)"),
    "5d": (PIXELS[None, None], InputShapeError, "pass one image at a time"),
    "meta": (torch.empty(48, 64, 3, device="meta"), InputDtypeError, "on meta"),
    "sparse": (torch.from_numpy(FLOAT).to_sparse(), InputDtypeError, "sparse"),
    "subclass": (PIXELS.view(Subclass), InputDtypeError, "got Subclass"),
    "masked": (np.ma.masked_array(PIXELS), InputDtypeError, "got MaskedArray"),
    "pandas": (pd.DataFrame(PIXELS[..., 0]), InputDtypeError, "got DataFrame"),
    "size-0": (torch.empty(0), InputShapeError, r"got \(0,\)"),
    "scalar": (np.float32(0.5), InputDtypeError, "got float32"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    array, error, words = REFUSED[case]
    with pytest.raises(error, match=words) as caught:
        read_image(array)
    assert type(caught.value) is error


def test_bgr_cannot_be_told_and_is_documented() -> None:
    np.testing.assert_array_equal(read_image(PIXELS[..., ::-1]).pixels, PIXELS[..., ::-1])
    page = ROOT / "docs/reference/images.md"
    assert "BGR" in page.read_text() and "array[..., ::-1]" in page.read_text()


def test_grey_and_alpha() -> None:
    grey = PIXELS[..., 0]
    for array in (grey, grey[..., None]):
        np.testing.assert_array_equal(read_image(array).pixels, grey[..., None].repeat(3, 2))
    rgba = np.dstack([PIXELS, np.full((48, 64), 255, np.uint8)])
    rgba[0, 0, 3] = 0
    found = read_image(rgba).pixels
    assert (found[0, 0] == 255).all()
    np.testing.assert_array_equal(found[1:], PIXELS[1:])


def test_read_only() -> None:
    array = PIXELS.copy()
    array.flags.writeable = False
    np.testing.assert_array_equal(read_image(array).pixels, PIXELS)


def test_inference_mode_keeps_no_graph() -> None:
    with torch.inference_mode():
        tensor = torch.from_numpy(PIXELS.copy())
        np.testing.assert_array_equal(read_image(tensor).pixels, PIXELS)


@pytest.mark.filterwarnings("ignore:.*quantiz")
def test_quantized() -> None:
    tensor = torch.quantize_per_tensor(torch.from_numpy(FLOAT.copy()), 1 / 255, 0, torch.quint8)
    with pytest.raises(InputDtypeError, match="quantized True"):
        read_image(tensor)


def test_memory_map_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "image.raw"
    PIXELS.tofile(path)
    array = np.memmap(path, np.uint8, "r", shape=PIXELS.shape)
    np.testing.assert_array_equal(read_image(array).pixels, PIXELS)
    with path.open("r+b") as file:
        file.truncate(100)
    with pytest.raises(InputShapeError, match="cut to 100 bytes"):
        read_image(array)  # without the check: the process is killed by SIGBUS
    del array


@pytest.mark.parametrize("value", [(1, 0), (0, np.nan), 255, (0, 1, 2), ("a", "b")])
def test_value_range_itself_is_checked(value: object) -> None:
    with pytest.raises(OptionError, match="value_range must be"):
        read_image(PIXELS, value_range=value)


def test_layout_itself_is_checked() -> None:
    with pytest.raises(OptionError, match="layout must be 'HWC' or 'CHW', got 'NHWC'"):
        read_image(PIXELS, layout="NHWC")


def test_values_beyond_rounding_are_refused() -> None:
    pixels = np.full((40, 40, 3), 0.5)
    pixels[0, 0, 0] = 1.004
    with pytest.raises(InputRangeError):
        read_image(pixels)
