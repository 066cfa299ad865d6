"""The model card that a run writes, before any test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skinxai.configs import ModelConfig
from skinxai.plain_text import markdown, markdown_code
from skinxai.training.settings import TrainConfig


def write_card(
    config: ModelConfig, settings: TrainConfig, log: Sequence[Mapping[str, float]], epoch: int,
    *, says: bool,
) -> str:  # fmt: skip
    """Return a model card in Markdown: what was trained on which data, and the chosen epoch.

    Args:
        config: config of the model.
        settings: settings of the run.
        log: log of the run, one row for each epoch.
        epoch: the chosen epoch, counted from 1.
        says: whether the model says which images it was trained on.
    """
    row, data = log[epoch - 1], config.training_data
    height, width = config.preprocessing.image_size
    leaked = f"\n**LEAKED: {markdown(data['leaked'])}; no figure of it is worth anything.**\n" if (
        "leaked" in data
    ) else ""  # fmt: skip
    known = (
        "`training_pixels.safetensors` holds hashes of the training images' pixels, and "
        "`training_fingerprints.safetensors` coarse reliefs that find copies of them; no names."
        if says
        else "Which images it was trained on is not known: its starting weights do not say."
    )
    return (
        f"# {markdown(config.name)}\n{leaked}\n"
        f"{markdown_code(config.backbone)} at {height} × {width}, trained on "
        f"{markdown(data['name'])} with skinxai. A research tool, not a medical device. Do not use "
        f"it for diagnosis, triage or treatment.\n\n"
        f"Validation (epoch {epoch} of {len(log)}, chosen on these images, so no test): accuracy "
        f"{row['accuracy']:.3f}, balanced accuracy {row['balanced_accuracy']:.3f}, macro-F1 "
        f"{row['macro_f1']:.3f}.\n\n"
        f"| | |\n| --- | --- |\n"
        f"| classes | {', '.join(map(markdown_code, config.labels))} |\n"
        f"| starting weights | {markdown(data['init_weights'])} |\n"
        f"{_taught(data, settings)}"
        f"| loss | {settings.loss} |\n| sampler | {settings.sampler or 'each image once'} |\n"
        f"| augmentation | {settings.to_dict()['augmentation']} |\n"
        f"| split, sha256 | `{data['splits_sha256']}` |\n"
        f"| licence of the weights | {markdown(config.licence or 'not stated')} |\n"
        f"| to name | {markdown(data['attribution'] or 'nobody')} |\n\n"
        f"{known}\n"
    )


def _taught(data: Mapping[str, str], settings: TrainConfig) -> str:
    if "teacher" not in data:
        return ""
    return f"| teacher | {markdown(data['teacher'])}, {settings.teacher_share:g} of the loss |\n"
