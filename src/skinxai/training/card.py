"""The model card that a run writes, before any test."""

from collections.abc import Mapping, Sequence

from skinxai.configs import ModelConfig
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.reporting.model_cards import CardFacts, card
from skinxai.training.settings import TrainConfig


def write_card(
    config: ModelConfig, settings: TrainConfig, log: Sequence[Mapping[str, float]], epoch: int,
    trained_on: TrainedOn | None,
) -> str:  # fmt: skip
    """Return a model card in Markdown: what was trained on which data, and the chosen epoch.

    The epoch counts from 1, and the log has a row for each.
    """
    row, data = log[epoch - 1], config.training_data
    run = {
        "loss": settings.loss,
        "sampler": settings.sampler or "each image once",
        "augmentation": str(settings.to_dict()["augmentation"]),
    }
    if settings.augment_on == "device":
        run["augmentation computed"] = "on the device, from decoded images in memory"
    if "teacher" in data:
        run["teacher"] = f"{data['teacher']}, {settings.teacher_share:g} of the loss"
        if settings.teacher_answers == "unseen":
            run["teacher"] += ", each image answered by the members that did not learn it"
    validation = (
        f"Validation (epoch {epoch} of {len(log)}, chosen on these images, so no test): accuracy "
        f"{row['accuracy']:.3f}, balanced accuracy {row['balanced_accuracy']:.3f}, macro-F1 "
        f"{row['macro_f1']:.3f}."
    )
    return card(
        CardFacts(
            model=config.name, labels=config.labels, members=(config,), trained_on=trained_on,
            run=run, validation=validation,
        )
    )  # fmt: skip
