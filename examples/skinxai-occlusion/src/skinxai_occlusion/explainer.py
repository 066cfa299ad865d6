"""Occlusion: how far does the score drop when a patch is hidden?"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from skinxai import Attribution, Explainer
from skinxai.errors import OptionError


@dataclass(frozen=True)
class OcclusionOptions:
    """``patches``: the image is cut into patches × patches squares, each hidden once."""

    patches: int = 8

    def __post_init__(self) -> None:
        if type(self.patches) is not int or not 2 <= self.patches <= 64:
            raise OptionError(f"patches must be an integer from 2 to 64, got {self.patches!r}.")


@final
class Occlusion(Explainer):
    """Zeiler & Fergus, ECCV 2014, section 4.2, with the image's own mean colour as the cover."""

    options_type = OcclusionOptions

    @torch.no_grad()
    def attribute(
        self, images: Tensor, target: Tensor, *, options: OcclusionOptions
    ) -> Attribution:
        count, _, height, width = images.shape
        rows = torch.linspace(0, height, options.patches + 1).round().int().tolist()
        columns = torch.linspace(0, width, options.patches + 1).round().int().tolist()
        cover = images.mean(dim=(2, 3), keepdim=True)
        drops = images.new_zeros(count, options.patches, options.patches)
        whole = self._score(images, target)
        for i in range(options.patches):
            for j in range(options.patches):
                hidden = images.clone()
                hidden[:, :, rows[i] : rows[i + 1], columns[j] : columns[j + 1]] = cover
                drops[:, i, j] = whole - self._score(hidden, target)
        return Attribution(maps={"occlusion": drops})

    def _score(self, images: Tensor, target: Tensor) -> Tensor:
        logits = self.model.pool_and_classify(self.model.features(images))
        return logits.gather(1, target[:, None])[:, 0]
