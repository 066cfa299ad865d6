"""Class activation maps that need no gradient: principal components, masked inputs, ablation."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from skinxai.explainers.base import Attribution, Explainer
from skinxai.explainers.rules import check_budget
from skinxai.flags import check_flags
from skinxai.memory import in_parts


@dataclass(frozen=True)
class EigenCAMOptions:
    """Options of Eigen-CAM.

    Args:
        centred: subtract each channel's mean first, as pytorch-grad-cam does and the paper
            does not.
    """

    centred: bool = False

    def __post_init__(self) -> None:
        check_flags(centred=self.centred)


@final
class EigenCAM(Explainer):
    """Eigen-CAM (Muhammad & Yeasin, IJCNN 2020, section III): the first principal component.

    The cells' channels are projected on their first right singular vector. No score takes part:
    the map says where the features are, not what they speak for. The sign, which a singular
    vector leaves open, is the one that makes the projection grow with the sum of the channels.
    """

    uses_target: ClassVar[bool] = False
    options_type = EigenCAMOptions

    @torch.no_grad()
    def attribute(self, images: Tensor, target: Tensor, *, options: EigenCAMOptions) -> Attribution:
        """Maps ``(N, h, w)`` of the last feature map's resolution, signed; see `Explainer`."""
        channels = self.model.grid(self.model.features(images))  # (N, C, h, w)
        cells = channels.flatten(2).transpose(1, 2)  # (N, h·w, C)
        if options.centred:
            cells = cells - cells.mean(dim=1, keepdim=True)
        left, values, _ = torch.linalg.svd(cells, full_matrices=False)
        projection = left[:, :, 0] * values[:, :1]  # (N, h·w)
        sums = cells.sum(dim=2)
        sums = sums - sums.mean(dim=1, keepdim=True) if options.centred else sums
        agrees = (projection * sums).sum(dim=1, keepdim=True) >= 0
        projection = torch.where(agrees, projection, -projection)
        return Attribution(maps={"eigencam": projection.reshape(-1, *channels.shape[2:])})


@dataclass(frozen=True)
class ScoreCAMOptions:
    """Options of Score-CAM.

    Args:
        budget: network passes for each image, >= 1: only so many channels are asked, those
            that vary most over space. ``None``: all, as in the paper.
    """

    budget: int | None = None

    def __post_init__(self) -> None:
        if self.budget is not None:
            check_budget(self.budget)


@final
class ScoreCAM(Explainer):
    """Score-CAM (Wang et al., CVPR Workshops 2020, definitions 2 and 3).

    Each channel, brought to the image's size and to 0–1, masks the preprocessed image; its weight
    is the softmax, over channels, of the score that the masked image gets; the map is the
    rectified weighted sum. The score of the paper's baseline image is the same for all channels,
    and cancels in the softmax. Channels that are constant over space would mask everything: they
    share one pass, with a mask of 0.
    """

    options_type = ScoreCAMOptions

    @torch.no_grad()
    def attribute(self, images: Tensor, target: Tensor, *, options: ScoreCAMOptions) -> Attribution:
        """Maps ``(N, h, w)`` of the last feature map's resolution, >= 0; see `Explainer`."""
        channels = self.model.grid(self.model.features(images))  # (N, C, h, w)
        maps = [
            self._one(image, own, int(position), options)
            for image, own, position in zip(images, channels, target, strict=True)
        ]
        return Attribution(maps={"scorecam": torch.stack(maps)})

    def _one(
        self, image: Tensor, channels: Tensor, target: int, options: ScoreCAMOptions
    ) -> Tensor:
        spread = channels.flatten(1).amax(dim=1) - channels.flatten(1).amin(dim=1)
        asked = (spread > 0).nonzero()[:, 0]
        if options.budget is not None and len(asked) > options.budget:
            asked = spread.topk(options.budget).indices
        if not len(asked):
            return torch.zeros_like(channels[0])

        def masked(part: slice) -> Tensor:
            masks = torch.nn.functional.interpolate(
                channels[asked[part], None], image.shape[1:], mode="bilinear", align_corners=False
            )
            low = masks.amin(dim=(2, 3), keepdim=True)
            high = masks.amax(dim=(2, 3), keepdim=True)
            masks = (masks - low) / (high - low).clamp_min(torch.finfo(masks.dtype).tiny)
            return self.model(masks * image)[:, target]

        scores = in_parts(len(asked), masked)  # (A,)
        if options.budget is None and len(asked) < len(channels):
            every = self.model(torch.zeros_like(image)[None])[:, target].repeat(len(channels))
            every[asked] = scores
            return (every.softmax(dim=0)[:, None, None] * channels).sum(dim=0).relu()
        return (scores.softmax(dim=0)[:, None, None] * channels[asked]).sum(dim=0).relu()


@final
class AblationCAM(Explainer):
    """Ablation-CAM (Desai & Ramaswamy, WACV 2020, equations 5 and 6).

    The weight of a channel is how much the score falls when the channel is set to 0; the map is the
    rectified weighted sum. The paper divides the fall by the score: that scales the map, and
    turns it upside down where the score is negative, so it is left out. Only the head is
    computed again, once a channel.
    """

    @torch.no_grad()
    def attribute(self, images: Tensor, target: Tensor, *, options: Any) -> Attribution:
        """Maps ``(N, h, w)`` of the last feature map's resolution, >= 0; see `Explainer`."""
        features = self.model.features(images)
        channels = self.model.grid(features)  # (N, C, h, w)
        falls = [
            self._without_each(own[None], int(position))
            for own, position in zip(features, target, strict=True)
        ]
        weights = torch.stack(falls)[:, :, None, None]  # (N, C, 1, 1)
        return Attribution(maps={"ablationcam": (weights * channels).sum(dim=1).relu()})

    def _without_each(self, features: Tensor, target: int) -> Tensor:
        """How much the head's score falls ``(C,)`` when one channel after the other is 0."""

        def head(part: slice) -> Tensor:
            count = part.stop - part.start
            batch = features.expand(count + 1, *features.shape[1:]).clone()
            rows = torch.arange(count, device=features.device)
            self.model.grid(batch)[rows, rows + part.start] = 0  # a view of the batch
            scores = self.model.pool_and_classify(batch)[:, target]
            return scores[-1] - scores[:-1]  # in another batch the whole may be rounded otherwise

        return in_parts(self.model.grid(features).shape[1], head)
