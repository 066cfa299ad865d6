"""What a `CaseReport` holds, asked of a classifier; nothing of it is shown here."""

import datetime
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import combinations
from typing import Any, Protocol

from skinxai import explainers
from skinxai.assessment.faithfulness import rank_correlation
from skinxai.errors import ExplainError, ExplainTimeoutError, OptionError
from skinxai.explaining.by_graph import GRAPH_METHODS
from skinxai.explaining.explain_options import ExplainOptions
from skinxai.explaining.side_by_side import check_map
from skinxai.images.pixels import pixel_hash
from skinxai.images.reading import SourceImage, read_image
from skinxai.images.sources import iter_sources
from skinxai.model_folders.trained_on import Look
from skinxai.numeric import plain_fields, whole
from skinxai.plain_text import MAX_NAME, broken_rule
from skinxai.predicting.in_use import ModelInUse
from skinxai.predicting.inputs import InputOptions, check_names
from skinxai.readonly import ReadOnly
from skinxai.reporting.case_report import CaseReport
from skinxai.results import Explanation, Neighbour, Prediction
from skinxai.results.sheets import cells
from skinxai.version import __version__

METHODS = ("gradcam", "smoothgrad", "occlusion")
"""One of each family: class activation maps, gradients, perturbations."""
MOST = 3


class Asked(Protocol):
    """The calls of `Classifier` that a report is made of."""

    @property
    def predict(self) -> Any:
        """`Classifier.predict`."""

    @property
    def explain(self) -> Any:
        """`Classifier.explain`."""

    @property
    def nearest(self) -> Any:
        """`Classifier.nearest`."""


@dataclass(frozen=True)
class CaseOptions:
    """What is asked; see `Classifier.report`."""

    methods: Sequence[str] | None = None
    tta: bool = False
    operating_point: str | None = None
    dropout_passes: int = 0
    coverage: float = 0.9
    neighbours: int = 5
    title: str = ""
    date: datetime.date | None = None

    def __post_init__(self) -> None:
        plain_fields(self)
        given: Any = self.methods
        listed = isinstance(given, Collection) and not isinstance(given, str | bytes)
        if given is not None and not (
            listed and 1 <= len(given) <= MOST and len(set(given)) == len(given)
        ):
            raise OptionError(f"methods must be one to {MOST} different names, got {given!r}.")
        whole("neighbours", self.neighbours, 0)
        if not isinstance(self.date, datetime.date | None):
            raise OptionError(f"date must be a datetime.date, got {self.date!r}.")
        if type(self.coverage) not in (int, float) or not 0 < self.coverage < 1:
            raise OptionError(f"coverage must be in (0, 1), got {self.coverage!r}.")
        if broken := broken_rule("title", self.title, MAX_NAME):
            raise OptionError(broken)


def case_report(
    classifier: Asked, model: ModelInUse, image: Any, asked: CaseOptions,
    keywords: Mapping[str, Any],
) -> CaseReport:  # fmt: skip
    """Predict, explain and compare one image; see `Classifier.report`."""
    if not iter_sources(image)[0]:
        raise OptionError(
            f"image must be a single one in report(), got {type(image).__name__} of several; call "
            f"it for each of them."
        )
    options, chosen = _questions(model, asked, keywords)
    source = read_image(
        image, layout=options.layout, value_range=options.value_range,
        max_pixels=options.max_pixels,
    )  # fmt: skip
    source = replace(source, source="")  # a file's name may name a patient
    limit = {"max_pixels": options.max_pixels, "progress": options.progress}
    prediction: Prediction = classifier.predict(
        source, tta=asked.tta, operating_point=asked.operating_point,
        dropout_passes=asked.dropout_passes, **limit,
    )  # fmt: skip
    absent: dict[str, str] = {}
    common = limit | {"tta": asked.tta, "target": prediction.label}
    named = asked.methods is not None
    explain = _within(keywords.get("timeout"), partial(classifier.explain, source, **common))
    maps = _maps(explain, chosen, absent, named)
    looking = next((each.method for each in maps if each.score != "none"), None)
    against = None
    if looking is not None:
        other = prediction.top(2)[1][0]
        against = explain(method=looking, against=other, **chosen[looking])
    digest = pixel_hash(source.pixels)
    trained_on = None if model.exported else model.loaded.trained_on
    seen = None
    if trained_on is not None:
        seen = trained_on.seen({"": Look.at(source.pixels, digest)}, progress=False)
    copy = None if seen is None or (seen.notes and not seen.copies) else bool(seen.copies)
    calibration = model.predictor.calibration
    quality = point = None
    if calibration is not None:
        limits = calibration.quality
        quality = tuple(limits.sentence(flag, v) for flag, v in prediction.quality.items())
        if prediction.operating_point is not None:
            point = calibration.fitted(tta=asked.tta).operating_points[prediction.operating_point]
    names = {each.training_data.get("name", "") for each in model.configs}
    versions = {"skinxai": __version__} | (dict(maps[0].versions) if maps else {})
    return CaseReport(
        prediction=prediction, maps=maps, against=against, agreement=ReadOnly(_agreement(maps)),
        nearest=_nearest(classifier, model, source, asked.neighbours, limit, absent),
        quality=quality, operating_point=point,
        prediction_set=prediction.prediction_set(asked.coverage) if prediction.sets else None,
        coverage=asked.coverage,
        trained_on_it=None if seen is None else bool(seen.exact),
        trained_on_copy=copy,
        training_data=tuple(sorted(filter(None, names))), absent=ReadOnly(absent),
        title=asked.title, date=asked.date or datetime.date.today(), pixels=source.pixels,
        pixels_sha256=digest, versions=ReadOnly(versions),
    )  # fmt: skip


def _questions(
    model: ModelInUse, asked: CaseOptions, keywords: Mapping[str, Any]
) -> tuple[InputOptions, dict[str, dict[str, Any]]]:
    """Input options, and method → its own keywords."""
    methods = asked.methods
    if methods is None and model.exported:
        methods = GRAPH_METHODS if model.graph is not None and model.graph.maps else ()
    own = {name: _options_of(name) for name in (METHODS if methods is None else methods)}
    reading = {each.name for each in fields(InputOptions)} - {"batch_size", "on_error"}
    known = reading.union(("timeout",), *own.values())
    check_names(keywords, {*known, *(each.name for each in fields(CaseOptions))})
    options, rest = InputOptions.take(keywords, *known)
    return options, {
        name: {k: v for k, v in rest.items() if k in names} for name, names in own.items()
    }


def _within(
    seconds: float | None, explain: Callable[..., Explanation]
) -> Callable[..., Explanation]:
    """``explain``, whose calls together have so many seconds."""
    if seconds is None:
        return explain
    ExplainOptions(timeout=seconds)
    end = time.monotonic() + seconds

    def timed(**keywords: Any) -> Explanation:
        return explain(timeout=max(end - time.monotonic(), 1e-9), **keywords)

    return timed


def _options_of(method: str) -> set[str]:
    if method in GRAPH_METHODS:  # it has none, and torch would be loaded to ask
        return set()
    return {each.name for each in fields(explainers.get(method).options_type)}


def _maps(
    explain: Callable[..., Explanation], chosen: Mapping[str, Mapping[str, Any]],
    absent: dict[str, str], named: bool,
) -> tuple[Explanation, ...]:  # fmt: skip
    """Of each method; those that nobody named are left out where the network does not fit them."""
    found = []
    for method, keywords in chosen.items():
        try:
            made = explain(method=method, **keywords)
        except ExplainError as error:
            if named or isinstance(error, ExplainTimeoutError):
                raise
            absent.setdefault("maps", str(error))
            continue
        check_map(made)
        found.append(made)
    if not chosen:
        absent["maps"] = "The exported file of this model has no class activation maps."
    return tuple(found)


def _agreement(maps: Sequence[Explanation]) -> dict[tuple[str, str], float]:
    coarse = {each.method: cells(each.heatmap) for each in maps if each.heatmap is not None}
    return {
        (one, two): rank_correlation(coarse[one], coarse[two])
        for one, two in combinations(coarse, 2)
    }


def _nearest(
    classifier: Asked, model: ModelInUse, source: SourceImage, count: int,
    limit: Mapping[str, Any], absent: dict[str, str],
) -> tuple[Neighbour, ...]:  # fmt: skip
    if not count:
        return ()
    if model.exported:
        absent["nearest"] = "An exported file has no training lesions to compare with."
        return ()
    if (known := model.loaded.neighbours) is None:
        absent["nearest"] = (
            "An ensemble has no training lesions of its own to compare with."
            if len(model.configs) > 1
            else "The model's folder has no training lesions to compare with."
        )
        return ()
    return tuple(classifier.nearest(source, min(count, len(known)), **limit))
