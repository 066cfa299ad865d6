"""A model's config: what it inherits from its training images and from what it learnt from."""

from collections.abc import Sequence

from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.data.records import Records
from skinxai.plain_text import MAX_NAME, each_once, printable
from skinxai.training.initial_weights import InitialWeights
from skinxai.training.teaching import Teacher

Origin = InitialWeights | Teacher


def inherited_config(
    name: str, backbone: str, train: Records, preprocessing: PreprocessConfig,
    origins: Sequence[Origin], *, drop_rate: float, splits_sha256: str = "",
) -> ModelConfig:  # fmt: skip
    """The config of a model that learnt from images and from other models.

    Its licence is that of the images and of every origin together, all of them are to be named,
    and an origin's mark as leaked stays.
    """
    named = "; ".join(each_once(part.attribution for part in (train, *origins)))
    data = {"name": train.name, "licence": train.licence, "attribution": named}
    if splits_sha256:
        data["splits_sha256"] = splits_sha256
    data |= dict(zip(("init_weights", "teacher"), (origin.source for origin in origins),
                     strict=False))  # fmt: skip
    if train.leaked:
        data["leaked"] = "images of one lesion or patient are in several parts"
    elif leaks := [origin.leaked for origin in origins if origin.leaked]:
        data["leaked"] = f"of what it learnt from: {'; '.join(leaks)}"
    return ModelConfig(
        name=printable(name, MAX_NAME),
        backbone=backbone,
        labels=train.labels,
        preprocessing=preprocessing,
        drop_rate=drop_rate,
        training_data=data,
        licence=" AND ".join(each_once(part.licence for part in (train, *origins))),
    )
