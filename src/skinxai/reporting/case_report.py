"""`CaseReport`: all that a model can say of one image, and its page as HTML or PDF."""

import datetime
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.disk.writing import write_atomic
from skinxai.errors import OutputError
from skinxai.results import Explanation, Neighbour, Prediction
from skinxai.trust.operating_points import OperatingPoint


@dataclass(frozen=True, eq=False)
class CaseReport:
    """What a model says of one image, from `Classifier.report`.

    A field is ``None`` or empty where the model cannot give it; `absent` has the reason.

    Args:
        prediction: as `Classifier.predict` returns it; its ``source`` is empty, because file names
            may name patients.
        maps: explanations of the most probable class by several methods, the first of which is
            shown beside the image.
        against: why the most probable class rather than the second one.
        agreement: pairs of methods → rank correlation of their maps over a grid of cells, −1 to 1;
            NaN where one of them is constant.
        nearest: training lesions that the network finds most similar, nearest first.
        quality: a sentence for each flag of the image's quality; ``None`` of a model that was not
            calibrated.
        operating_point: the one that decided.
        prediction_set: codes of the classes that cannot be ruled out.
        coverage: of the prediction set, 0–1.
        trained_on_it: whether the model was trained on this image; ``None`` where it does not say.
        trained_on_copy: whether it was trained on another image that looks like a copy of this one,
            such as another size; ``None`` where it does not say.
        training_data: names of the training data, as the model's config has them.
        absent: part of the page → why the model cannot give it, a sentence.
        title: of the page, such as the case's number; empty for none.
        date: printed on the page.
        pixels: the upright image, RGB uint8 ``(H, W, 3)``.
        pixels_sha256: `skinxai.data.pixel_hash` of them.
        versions: of skinxai and of what computed.
    """

    prediction: Prediction
    maps: tuple[Explanation, ...] = field(repr=False)
    against: Explanation | None = field(repr=False)
    agreement: Mapping[tuple[str, str], float]
    nearest: tuple[Neighbour, ...]
    quality: tuple[str, ...] | None
    operating_point: OperatingPoint | None
    prediction_set: tuple[str, ...] | None
    coverage: float
    trained_on_it: bool | None
    trained_on_copy: bool | None
    training_data: tuple[str, ...]
    absent: Mapping[str, str]
    title: str
    date: datetime.date
    pixels: npt.NDArray[np.uint8] = field(repr=False)
    pixels_sha256: str
    versions: Mapping[str, str]

    def html(self) -> str:
        """The page: one file without scripts, which requests nothing from any server."""
        from skinxai.reporting.case_page import case_page

        return case_page(self)

    def pdf(self) -> bytes:
        r"""The page as PDF, one sheet of A4 whose margins also fit Letter; text can be selected.

        The same report gives the same bytes. A character that the embedded font lacks is written
        as an escape such as ``\u75c5``: the font has the Latin alphabets of Western Europe.

        Raises:
            OptionError: the package reportlab is not installed.
        """
        from skinxai.reporting.case_pdf import case_pdf

        return case_pdf(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page.

        Args:
            path: ends in ``.html`` or ``.pdf``.

        Raises:
            OutputError: another suffix, or a path that cannot be written.
            OptionError: a PDF, and the package reportlab is not installed.
        """
        target = Path(path)
        write_atomic(target, self.encoded(target.suffix.lower(), target))

    def encoded(self, suffix: str, path: object = "") -> bytes:
        """Bytes of the page in the format that a suffix names.

        Args:
            suffix: ``".html"`` or ``".pdf"``.
            path: whose suffix it is, for the message.

        Raises:
            OutputError: another suffix.
            OptionError: a PDF, and the package reportlab is not installed.
        """
        if suffix == ".html":
            return self.html().encode()
        if suffix == ".pdf":
            return self.pdf()
        raise OutputError(f"a case report must end in .html or .pdf, got {str(path)!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; maps as their methods and shapes."""
        return {
            "title": self.title,
            "date": self.date.isoformat(),
            "image": {
                "height": self.pixels.shape[0],
                "width": self.pixels.shape[1],
                "pixels_sha256": self.pixels_sha256,
                "trained_on_it": self.trained_on_it,
                "trained_on_copy": self.trained_on_copy,
            },
            "prediction": self.prediction.to_dict(),
            "coverage": self.coverage,
            "prediction_set": None if self.prediction_set is None else list(self.prediction_set),
            "operating_point": self.operating_point and self.operating_point.to_dict(),
            "quality": None if self.quality is None else list(self.quality),
            "maps": [_explained(each) for each in self.maps],
            "against": self.against and _explained(self.against),
            "agreement": [
                {"methods": list(pair), "rank_correlation": None if math.isnan(value) else value}
                for pair, value in self.agreement.items()
            ],
            "nearest": [asdict(each) | {"path": None} for each in self.nearest],
            "training_data": list(self.training_data),
            "absent": dict(self.absent),
            "versions": dict(self.versions),
        }

    def __repr__(self) -> str:
        methods = ", ".join(each.method for each in self.maps) or "no map"
        return f"CaseReport({self.prediction!r}, {methods}, {self.date.isoformat()})"

    def _repr_html_(self) -> str:
        import html

        return (
            f"<iframe sandbox title='Case report' style='width:100%;height:60rem;border:0' "
            f"srcdoc='{html.escape(self.html(), quote=True)}'></iframe>"
        )


def _explained(explanation: Explanation) -> dict[str, Any]:
    """Without what differs from one computation to the next."""
    return {k: v for k, v in explanation.to_dict().items() if k != "seconds"}
