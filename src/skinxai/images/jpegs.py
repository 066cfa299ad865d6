"""JPEG data that is not whole: what Pillow would decode without a word.

libjpeg goes on after damage with whatever bits follow, or with grey, and only warns; Pillow does
not pass its warnings on. Here they are errors, and so is what libjpeg does not warn of: scans that
are missing, and data overwritten by zeros.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from skinxai.errors import ImageDecodeError

SIMPLEJPEG = f"simplejpeg {simplejpeg.__version__}"
"""With its version, which has a libjpeg-turbo of its own."""
LONGEST_ZEROS = 15
"""Zero bytes in a row that scans may hold whose zero bits do not stand for flat blocks."""
_IN_SCAN = frozenset({0x00, 0xFF, *range(0xD0, 0xD8)})  # after 0xff: data, a fill byte, restarts
_SOF, _PROGRESSIVE, _ARITHMETIC = (
    frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA}),
    (0xC2, 0xCA),
    (0xC9, 0xCA),
)
_DHT, _EOI, _SOS, _DQT = 0xC4, 0xD9, 0xDA, 0xDB
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
# libjpeg's warnings that mean damage (jerror.h); the others are of headers and harmless
_DAMAGE = re.compile(r"Corrupt JPEG data(?!: bad ICC)|Premature end|Inconsistent progression")
_PADDED = re.compile(r"extraneous bytes before marker 0xd9")


@dataclass
class _Frame:
    """What the headers of one image have said so far."""

    kind: int = 0
    components: Sequence[int] = ()
    whole: set[int] = field(default_factory=set)  # components that came in one scan
    exact: dict[tuple[int, int], int] = field(default_factory=dict)  # (component, k) -> low bit
    first: dict[tuple[int, int], int] = field(default_factory=dict)  # (class, id) -> symbol


def check_jpeg(data: bytes) -> int:
    """Walk all segments and scans of the first image, up to its end marker.

    Returns:
        Where the end marker is, with the fill bytes before it.

    Raises:
        ImageDecodeError: truncated data, a marker where none can be, scans that are missing, a
            quantisation table with zeros, or a scan overwritten by zeros.
    """
    frame, place = _Frame(), 2
    while True:
        start = place
        while data[place : place + 1] == b"\xff":  # one, and fill bytes before it
            place += 1
        marker = data[place] if start < place < len(data) else None
        if marker == _EOI:
            _check_complete(frame)
            return start
        size = int.from_bytes(data[place + 1 : place + 3], "big")
        end = place + 1 + size
        if end > len(data) or place + 3 > len(data):
            raise _truncated()
        if marker is None or not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xD8 or size < 2:
            raise _damaged(f"there is no marker where one must be, at byte {start}")
        body, place = data[place + 3 : end], end
        if marker in _SOF:
            frame.kind, frame.components = marker, body[6::3]
        elif marker == _DHT:
            frame.first |= _first_symbols(body)
        elif marker == _DQT:
            _check_quantisation(body)
        elif marker == _SOS:
            place = _end_of_scan(data, end)
            _check_scan(frame, body, data[end:place])


def decode_jpeg(data: bytes, image: Image.Image) -> npt.NDArray[np.uint8] | None:
    """The pixels of a JPEG file, the same bits as Pillow's; all that libjpeg warns of is an error.

    Args:
        data: of the file, checked by `check_jpeg`.
        image: the file as Pillow opened it, not loaded.

    Returns:
        uint8 ``(H, W, 3)`` or ``(H, W, 1)``, in the image's mode; None where only Pillow can
        decode it.

    Raises:
        ImageDecodeError: damaged data.
    """
    space = _SPACES.get(image.mode)
    if space is None:
        return None
    try:
        pixels = np.asarray(simplejpeg.decode_jpeg(data, space, strict=True))
    except ValueError as error:
        if _PADDED.search(str(error)) and (unpadded := _without_padding(data)) != data:
            return decode_jpeg(unpadded, image)
        if _DAMAGE.search(str(error)):
            raise _damaged(f"libjpeg says {str(error)!r}") from error
        return None  # a kind that TurboJPEG does not read, or one that Pillow will refuse, too
    height, width = pixels.shape[:2]
    if space == "CMYK" or (width, height) != image.size:
        return None  # Pillow knows which files hold inverted inks
    return pixels


def refuse_warnings(data: bytes) -> None:
    """Decode JPEG data for what libjpeg warns of alone."""
    try:
        simplejpeg.decode_jpeg(data, "GRAY", strict=True)
    except ValueError as error:
        if _DAMAGE.search(str(error)):
            raise _damaged(f"libjpeg says {str(error)!r}") from error


def _end_of_scan(data: bytes, place: int) -> int:
    """Where the first marker after ``place`` begins that is no restart, with its fill bytes."""
    found = data.find(b"\xff", place)  # much faster than a regular expression
    while 0 <= found < len(data) - 1:
        if data[found + 1] not in _IN_SCAN:
            while data[found - 1] == 0xFF and found > place:
                found -= 1
            return found
        found = data.find(b"\xff", found + 1)
    raise _truncated()


def _without_padding(data: bytes) -> bytes:
    """Without zero bytes between the last scan and the end marker, which some cameras write."""
    end = check_jpeg(data)
    return data[:end].rstrip(b"\0") + data[end:]


def _first_symbols(body: bytes) -> dict[tuple[int, int], int]:
    """What a run of zero bits stands for, in each Huffman table of a segment."""
    found, place = {}, 0
    while place + 17 < len(body):
        found[body[place] >> 4, body[place] & 15] = body[place + 17]
        place += 17 + sum(body[place + 1 : place + 17])
    return found


def _check_quantisation(body: bytes) -> None:
    place = 0
    while place < len(body):
        width = 2 if body[place] >> 4 else 1
        values = body[place + 1 : place + 1 + 64 * width]
        if 0 in values and any(
            not any(values[i : i + width]) for i in range(0, len(values), width)
        ):
            raise _damaged("a quantisation table holds zeros")
        place += 1 + 64 * width


def _check_scan(frame: _Frame, body: bytes, scan: bytes) -> None:
    count = body[0] if body else 0
    if len(body) != 4 + 2 * count or not count:
        raise _damaged("the header of a scan has a wrong length")
    members, (low, high, bits) = body[1 : 1 + 2 * count], body[-3:]
    progressive = frame.kind in _PROGRESSIVE
    if progressive:
        for component in members[::2]:
            for k in range(low, min(high, 63) + 1):
                frame.exact[component, k] = bits & 15
    else:
        frame.whole.update(members[::2])
        low, bits = 0, 0  # as libjpeg takes it, whatever the header says
    tables = members[1::2]
    if not frame.kind or frame.kind in _ARITHMETIC or bits >> 4:
        return
    if progressive and low == 0:
        flat = all(frame.first.get((0, table >> 4), 0) == 0 for table in tables)
    else:  # end of block, or of a band in many blocks
        ends = (0x00, *((run << 4) for run in range(1, 15) if progressive))
        flat = all(frame.first.get((1, table & 15), 0) in ends for table in tables)
    if not flat and bytes(LONGEST_ZEROS + 1) in scan.rstrip(b"\0"):
        raise _damaged(f"a scan holds more than {LONGEST_ZEROS} zero bytes in a row")


def _check_complete(frame: _Frame) -> None:
    for component in set(frame.components) - frame.whole:
        if any(frame.exact.get((component, k)) != 0 for k in range(64)):
            raise _damaged("scans are missing: it ends before its full quality")


def _truncated() -> ImageDecodeError:
    return ImageDecodeError("JPEG image is truncated before its end marker; get another copy.")


def _damaged(what: str) -> ImageDecodeError:
    return ImageDecodeError(f"JPEG image is damaged: {what}; get another copy.")
