"""`Explanation`: why one image got the score of one class."""

import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from skinxai.disk.staging import write_together
from skinxai.disk.writing import write_atomic
from skinxai.errors import ExplainError, OutputError
from skinxai.plain_text import MAX_NAME, one_line
from skinxai.results import drawing
from skinxai.results.drawing import encode_png
from skinxai.results.sheets import Panel, sheet


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why one image got the score of one class.

    Args:
        maps: read-only, name → float32 ``(H, W)`` in pixels of the upright source image, raw
            values; the first is the heatmap. Empty for methods that have only scores.
        scores: read-only, name → float.
        target: code of the explained class.
        against: code of the class whose score was subtracted, or ``None``.
        score: ``"logit"`` or ``"probability"``: which number was explained; ``"none"`` for methods
            that look at no class's score.
        method: name in `skinxai.explainers`.
        layer: where the network was split.
        options: of the method; those of an ensemble's have ``ensemble``, which says what was
            averaged, of which members, with which weights.
        source: which image.
        model: ``name@revision``.
        backend: what computed it.
        versions: of skinxai, torch and the method's plugin.
        seconds: spent on the image's batch, divided by its images.
        pixels: the upright source image, RGB uint8 ``(H, W, 3)``.
        warnings: notes from reading the image, and what speaks against it, as in
            `Prediction.doubts`: a map of a picture that shows no lesion means nothing.
    """

    maps: Mapping[str, npt.NDArray[np.float32]] = field(repr=False)
    scores: Mapping[str, float]
    target: str
    against: str | None
    score: str
    method: str
    layer: str
    options: Mapping[str, Any]
    source: str
    model: str
    backend: str
    versions: Mapping[str, str]
    seconds: float
    pixels: npt.NDArray[np.uint8] = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def heatmap(self) -> npt.NDArray[np.float32] | None:
        """The first map, or ``None`` for methods that have only scores."""
        return next(iter(self.maps.values()), None)

    @property
    def degenerate(self) -> bool:
        """Whether the heatmap is constant, so that it says nothing, e.g. of a saturated score."""
        return self.heatmap is not None and bool(self.heatmap.min() == self.heatmap.max())

    def overlay(self, alpha: float = 0.5, *, uniform: bool = False) -> Image.Image:
        """The heatmap over the image, from its own minimum (dark) to its own maximum (bright).

        A map with values below 0, by more than rounding, is purple below 0, white at 0 and orange
        above. The opacity follows the map: the image shows unchanged where the map is at its
        minimum or, in such a map, where it is 0.

        Args:
            alpha: share of colour where the map is strongest, 0–1; 0 shows the image alone.
            uniform: give every pixel the share ``alpha``, whatever the map's value.

        Raises:
            ExplainError: the method has no map.
        """
        if self.heatmap is None:
            raise ExplainError(f"overlay needs a heatmap; method {self.method!r} has only scores.")
        return drawing.overlay(self.pixels, self.heatmap, alpha, uniform=uniform)

    def sheet(self, alpha: float = 0.5, *, uniform: bool = False) -> Image.Image:
        """The image, and beside it each map: overlay, contour of its top tenth, colour bar.

        Args:
            alpha: of the overlays, as in `overlay`.
            uniform: of the overlays, as in `overlay`.
        """
        return compare([self], alpha=alpha, uniform=uniform)

    def save(
        self, path: str | os.PathLike[str], *, alpha: float = 0.5, uniform: bool = False
    ) -> None:
        """Write the overlay as PNG, or everything into a folder.

        A path that ends in ``.png`` gets the overlay, with model, method and target in its text
        fields. Any other path becomes a folder with ``overlay.png``, ``sheet.png`` (see
        `sheet`), one ``.npy`` for each map and ``explanation.json``; where the folder holds an
        explanation already, all of these are exchanged or none. Other files of the folder stay;
        ``explanation.json`` names the maps that belong to it.

        Args:
            path: ends in ``.png``, or is a folder.
            alpha: of the overlays, as in `overlay`.
            uniform: of the overlays, as in `overlay`.

        Raises:
            OutputError: the path cannot be written, has another image suffix, or is the image
                that was explained.
        """
        target = Path(path)
        if target.is_file() and Path(self.source).is_file() and target.samefile(self.source):
            raise OutputError(f"path must not be the explained image itself, got {str(target)!r}.")
        if target.suffix.lower() == ".png":
            write_atomic(target, self.png(alpha, uniform=uniform))
            return
        if target.suffix.lower() in {".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp", ".bmp"}:
            raise OutputError(f"path must end in .png or be a folder, got {str(target)!r}.")
        write_together(target, self.files(alpha, uniform=uniform))

    def png(self, alpha: float = 0.5, *, uniform: bool = False) -> bytes:
        """The overlay as `save` writes it into a PNG, with model, method and target in its fields.

        Args:
            alpha: of the overlay, as in `overlay`.
            uniform: of the overlay, as in `overlay`.
        """
        names = ("model", "method", "target", "against", "score", "degenerate")
        notes = {name: str(getattr(self, name)) for name in names}
        return encode_png(self.overlay(alpha, uniform=uniform), notes)

    def files(self, alpha: float = 0.5, *, uniform: bool = False) -> dict[str, bytes]:
        """What `save` writes into a folder, name → bytes.

        Args:
            alpha: of the overlays, as in `overlay`.
            uniform: of the overlays, as in `overlay`.
        """
        found: dict[str, bytes] = {}
        for name, values in self.maps.items():
            buffer = io.BytesIO()
            np.save(buffer, values, allow_pickle=False)
            found[f"{name}.npy"] = buffer.getvalue()
        if self.heatmap is not None:
            found["overlay.png"] = self.png(alpha, uniform=uniform)
            found["sheet.png"] = encode_png(self.sheet(alpha, uniform=uniform))
        found["explanation.json"] = json.dumps(self.to_dict(), indent=2).encode() + b"\n"
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the maps as shapes, their values are in `save`'s folder.

        Options that JSON does not have, such as a plugin's array, are text that describes them.
        """
        return {
            "source": self.source,
            "target": self.target,
            "against": self.against,
            "score": self.score,
            "method": self.method,
            "layer": self.layer,
            "options": {name: _plain(value) for name, value in self.options.items()},
            "scores": dict(self.scores),
            "degenerate": self.degenerate,
            "warnings": list(self.warnings),
            "maps": {name: list(values.shape) for name, values in self.maps.items()},
            "model": self.model,
            "backend": self.backend,
            "versions": dict(self.versions),
            "seconds": self.seconds,
        }

    def __repr__(self) -> str:
        size = "no map" if self.heatmap is None else "map {}×{}".format(*self.heatmap.shape)
        size = f"constant {size}" if self.degenerate else size
        scores = "".join(f", {name}={value:.3g}" for name, value in self.scores.items())
        against = "" if self.against is None else f" against {self.against!r}"
        of = f" of the {self.score} of {self.target!r}{against}" if self.score != "none" else ""
        notes = "".join(f"; {text}" for text in self.warnings)
        return (
            f"Explanation({self.method}{of}, {size}{scores}; "
            f"source={self.source!r}, model={self.model!r}{notes})"
        )

    def _repr_png_(self) -> bytes | None:
        return None if self.heatmap is None else self.png()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value) if isinstance(value, os.PathLike) else one_line(repr(value), MAX_NAME)


def compare(
    explanations: Sequence[Explanation], *, columns: int = 4, alpha: float = 0.5,
    uniform: bool = False,
) -> Image.Image:  # fmt: skip
    """Explanations side by side, the image first: of methods, of classes, of images.

    Args:
        explanations: at least one; the image is drawn again where it changes.
        columns: most panels in a row.
        alpha: of the overlays, as in `Explanation.overlay`.
        uniform: of the overlays, as there.

    Raises:
        OptionError: no explanation.
    """
    panels: list[Panel] = []
    shown: npt.NDArray[np.uint8] | None = None
    for each in explanations:
        if shown is None or not np.array_equal(shown, each.pixels):
            panels.append(Panel(each.pixels, title=f"{Path(each.source).name}\n"))
            shown = each.pixels
        against = "" if each.against is None else f" rather than {each.against}"
        asked = "of no class" if each.score == "none" else f"{each.target}{against}, {each.score}"
        for name, values in each.maps.items():
            method = each.method if len(each.maps) == 1 else f"{each.method} {name}"
            panels.append(Panel(each.pixels, values, f"{method}\n{asked}"))
    return sheet(panels, columns=columns, alpha=alpha, uniform=uniform)
