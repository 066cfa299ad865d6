"""What a comparison of methods asks: which images, which methods with which budgets."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from skinxai import explainers
from skinxai.benchmarking.lesion_masks import masked
from skinxai.data.records import Record, Records
from skinxai.numeric import plain_fields, whole, whole_seed

CHEAP = 50  # passes of the network: methods with fewer are asked about more images


@dataclass(frozen=True)
class Plan:
    """Settings of a comparison; a resumed one must have the same.

    Args:
        budget: most network passes that a method with a budget takes for one image.
        lesions: how many lesions cheap methods are asked about, one image of each.
        stratified: how many lesions, of all classes alike, every method is asked about.
        checked: how many of these randomisation, noise and seeds are tried on.
        steps: of the deletion and insertion curves.
        seed: of the choice of images and of all noise.
    """

    budget: int = 200
    lesions: int = 500
    stratified: int = 70
    checked: int = 14
    steps: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        plain_fields(self)
        for name, value in asdict(self).items():
            if name != "seed":
                whole(name, value, 0 if name == "checked" else 1)
        whole_seed(self.seed)

    def options(self, method: str) -> dict[str, Any]:
        """Of a method: its defaults, with ``budget`` at most the plan's."""
        kind = explainers.get(method).options_type
        own = asdict(kind())
        if "budget" in own:
            own["budget"] = min(own["budget"] or self.budget, self.budget)
        return own

    def images(self, records: Records, masks: Path) -> list[Record]:
        """One image of each lesion, the stratified ones first; the same whatever the rows' order.

        The stratified ones come class by class in turn, as long as each has any.

        Raises:
            DatasetError: no image with a mask, or two images that one mask would be of.
        """
        draws = np.random.default_rng(self.seed)
        first: dict[str, Record] = {}
        for item in sorted(masked(records, masks), key=lambda item: item.image_id):
            first.setdefault(item.lesion_id, item)
        lesions = [first[key] for key in sorted(first)]
        shuffled = [lesions[k] for k in draws.permutation(len(lesions))]
        classes = [[item for item in shuffled if item.label == code] for code in records.labels]
        turns = itertools.chain.from_iterable(itertools.zip_longest(*classes))
        chosen = [item for item in turns if item is not None][: self.stratified]
        rest = [item for item in shuffled if item not in chosen]
        return [*chosen, *rest][: max(self.lesions, self.stratified)]


def is_cheap(options: Mapping[str, Any]) -> bool:
    """Whether a method with these options takes fewer than `CHEAP` passes for an image."""
    return passes_of(options) < CHEAP


def passes_of(options: Mapping[str, Any]) -> int:
    """Network passes for one image: the budget, or one."""
    return int(options.get("budget", 1))


def check_methods(names: Iterable[str]) -> list[str]:
    """The names, each once, after a look at the registry.

    Raises:
        UnknownNameError: no such method.
    """
    found = list(dict.fromkeys(names))
    for name in found:
        explainers.get(name)
    return found


def seeded(method: str) -> bool:
    """Whether a method has a seed."""
    return any(field.name == "seed" for field in fields(explainers.get(method).options_type))
