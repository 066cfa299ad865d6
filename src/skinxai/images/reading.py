"""`read_image`: the one way from anything to RGB pixels."""

import os
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from skinxai import plugins
from skinxai.disk.tar_members import read_stored, stored_size
from skinxai.errors import (
    ImageDecodeError,
    InputDtypeError,
    InputNotFoundError,
    InputPathError,
    InputPermissionError,
    OptionError,
    PluginError,
    SkinxaiError,
    UnsupportedImageError,
    UrlBlockedError,
)
from skinxai.images.arrays import array_to_rgb, check_value_range, is_tensor
from skinxai.images.decoding import decode, decode_opened
from skinxai.images.limits import (
    MAX_BYTES,
    MAX_PIXELS,
    MIN_SIDE,
    check_bytes,
    check_max_pixels,
    check_size,
)
from skinxai.images.sources import describe
from skinxai.plain_text import quoted

_URL = re.compile(r"(?i)([a-z][a-z0-9+.-]+):(//|[^\\/])")


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An image as everything in skinxai sees it. Metadata of the file is not kept.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``, upright.
        source: printable name.
        format: of the file, where there was one.
        warnings: notes, ``"code: what happened"``.
    """

    pixels: npt.NDArray[np.uint8]
    source: str
    format: str | None = None
    warnings: tuple[str, ...] = ()


def read_image(
    image: Any,
    *,
    layout: str = "HWC",
    value_range: tuple[float, float] | None = None,
    max_pixels: int = MAX_PIXELS,
    min_side: int = MIN_SIDE,
) -> SourceImage:
    """Read one image: EXIF orientation applied, alpha on white, 16 bits scaled.

    Args:
        image: a path, also of a file in a plain tar (``x.tar/1.jpg``), bytes, a binary file
            object, a PIL image, a NumPy array or a torch tensor (uint8 0–255 or floating 0–1;
            ``(H, W)``, ``(H, W, 3)`` RGB, ``(H, W, 4)`` RGBA), or what this function returned. A
            PIL image that `PIL.Image.open` gave and that is not loaded yet is read from its file,
            as its path would be.
        layout: ``"CHW"`` for arrays with channels first.
        value_range: ``(low, high)``: what stands for black and white in arrays of other types or
            ranges, and in grey images of 16 or 32 bits a pixel.
        max_pixels: most pixels that are decoded, >= 1; checked on the header.
        min_side: fewest pixels of a side.

    Raises:
        InputError: one of its subclasses, which says what came and what to do.
        OptionError: an argument outside its rule.
    """
    if layout not in ("HWC", "CHW"):
        raise OptionError(f"layout must be 'HWC' or 'CHW', got {layout!r}.")
    check_value_range(value_range)
    max_pixels = check_max_pixels(max_pixels)
    source = describe(image)
    if isinstance(image, SourceImage):
        size = image.pixels.size  # it was let through when it was read
        pixels = array_to_rgb(
            image.pixels, layout="HWC", value_range=None, max_pixels=size, min_side=1
        )
        return replace(image, pixels=pixels)
    if isinstance(image, Image.Image):
        pixels, format, notes = decode_opened(image, value_range, max_pixels, min_side)
        return SourceImage(pixels, source, format, notes)
    if isinstance(image, np.ndarray) or is_tensor(image):
        pixels = array_to_rgb(
            image, layout=layout, value_range=value_range, max_pixels=max_pixels, min_side=min_side
        )
        return SourceImage(pixels, source)
    try:
        data = _data(image, source)
        pixels, format, notes = decode(
            data, value_range=value_range, max_pixels=max_pixels, min_side=min_side
        )
    except (InputDtypeError, UnsupportedImageError) as error:
        answer = _by_plugin(image, source)
        if answer is None:
            raise error.prefixed(source) from error.__cause__
        return SourceImage(_checked(answer, max_pixels, min_side), source, "plugin")
    except SkinxaiError as error:
        if source in str(error):
            raise
        raise error.prefixed(source) from error.__cause__
    return SourceImage(pixels, source, format, notes)


def _remedy(image: Any) -> str:
    if not hasattr(image, "iloc"):
        return "convert it to one of them"
    own = "its values" if hasattr(image, "tolist") else "those of one of its columns"
    return f"for several images pass {own} as a list, with tolist()"


def _by_plugin(image: Any, source: str) -> Any:
    try:
        return plugins.read_image_hook(image)
    except SkinxaiError:
        raise
    except Exception as error:  # a plugin may raise anything, and must not stop other images
        raise PluginError(
            f"skinxai_read_image of a plugin raised {type(error).__name__} for {source}: {error}"
        ) from error


def _data(image: Any, source: str) -> bytes:
    if isinstance(image, str | os.PathLike):
        return _file(image, source)
    if isinstance(image, bytes | bytearray | memoryview):
        check_bytes(len(image))
        return bytes(image)
    if callable(getattr(image, "read", None)):
        try:
            data = image.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            raise ImageDecodeError(f"file object must be readable: {error}.") from error
        if not isinstance(data, bytes):
            raise InputDtypeError(
                f"file object must be opened in binary mode, but its read() gave "
                f"{type(data).__name__}; open it with 'rb'."
            )
        check_bytes(len(data))
        return data
    raise InputDtypeError(
        f"image must be a path, bytes, a binary file object, a PIL image, a NumPy array or a torch "
        f"tensor, got {type(image).__name__}; {_remedy(image)}."
    )


def _file(path: Any, source: str) -> bytes:
    text, name = os.fspath(path), quoted(source)
    if isinstance(text, str) and _URL.match(text) and not os.path.lexists(text):
        raise UrlBlockedError(f"URL {source} is not read; download the file and pass its path.")
    try:
        check_bytes(stored_size(text))
        return read_stored(text, MAX_BYTES)
    except FileNotFoundError as error:
        raise InputNotFoundError(f"found no image file at {name}; check the path.") from error
    except PermissionError as error:
        raise InputPermissionError(
            f"image file {name} cannot be read; change its permissions."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte
        reason = getattr(error, "strerror", None) or str(error)
        raise InputPathError(f"{name} does not lead to an image file: {reason}.") from error


def _checked(answer: Any, max_pixels: int, min_side: int) -> npt.NDArray[np.uint8]:
    if not (isinstance(answer, np.ndarray) and answer.dtype == np.uint8 and answer.ndim == 3
            and answer.shape[2] == 3):  # fmt: skip
        raise PluginError(
            f"skinxai_read_image must return RGB uint8 (H, W, 3), got {describe(answer)}."
        )
    check_size(answer.shape[1], answer.shape[0], max_pixels=max_pixels, min_side=min_side)
    return np.ascontiguousarray(answer)
