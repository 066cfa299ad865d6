"""A fitted head to a model: the backbone with that head, its config and its card."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai import checkpoints
from skinxai.checkpoints import LoadedModel
from skinxai.classifier import Classifier
from skinxai.configs import ModelConfig
from skinxai.data.records import Records
from skinxai.data.splits import Splits
from skinxai.disk.writing import make_folder, write_atomic
from skinxai.errors import ModelError
from skinxai.model_folders.files import UNSAVED
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.predicting.inputs import InputOptions
from skinxai.probing.frozen_features import Features, source_images
from skinxai.probing.frozen_network import FrozenNetwork
from skinxai.probing.head_layer import set_head
from skinxai.probing.logistic import LinearHead
from skinxai.probing.selecting import Choice
from skinxai.reporting.model_cards import CardFacts, card

RESULT = "probing.json"
"""What tells the folder of a probe from that of another model."""
NEAR = 1e-4
"""Largest difference between the model's probabilities and those of the fitted head."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted head, and what was chosen for it; the other fields are those of `Probed`.

    Args:
        head: fitted on the whole training part.
        linear: the choice of C.
        neighbours: the choice of k.
        rows: probabilities of the judged images by the linear probe and by the neighbours.
    """

    head: LinearHead
    linear: Choice
    neighbours: Choice
    rows: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    chosen_on: str
    judged_on: str
    independent: bool

    @property
    def note(self) -> str:
        """What the figures are of, in one sentence without a full stop."""
        found = f"figures of {self.judged_on}; C and k were chosen on {self.chosen_on}"
        if not self.independent:
            found += ", so that they are a little too good"
        if (end := self.linear.at_end) is not None:
            how = "weak" if end else "strong"
            found += (
                f"; C = {self.linear.value:g} is the {how}est regularisation that was tried, and a "
                f"{how}er one may be better"
            )
        return found


def fitted_classifier(
    network: FrozenNetwork, splits: Splits, fitted: Fitted, trained_on: TrainedOn | None,
    balanced: bool, flips: bool, out: Path | None, device: str,
) -> Classifier:  # fmt: skip
    """The network with the fitted head, saved where there is a folder."""
    set_head(network.network.cpu(), fitted.head.weight, fitted.head.bias)
    config = network.config
    if out is not None:
        make_folder(out)
        write_atomic(out / RESULT, b'{"finished": false}\n')  # a kill leaves a probe's folder
        for old in ("evaluation.html", "evaluation.json"):  # of an earlier probe
            (out / old).unlink(missing_ok=True)
        data = {**config.training_data, "splits_sha256": splits.to_csv(out / "splits.csv")}
        config = replace(config, training_data=data)
    text = _card(config, fitted, trained_on, balanced=balanced, flips=flips)
    if out is None:
        loaded = LoadedModel(network.network, config, text, UNSAVED, trained_on)
        return Classifier(loaded, device=device)
    checkpoints.save(str(out), network.network, config, text, trained_on)
    return Classifier.from_pretrained(out, device=device)


def _card(
    config: ModelConfig, fitted: Fitted, trained_on: TrainedOn | None, *, balanced: bool,
    flips: bool,
) -> str:  # fmt: skip
    choice, where = fitted.chosen_on, "there"
    if not fitted.independent:
        choice, where = "these images, so no test", f"on {fitted.judged_on}"
    chosen = next(each for each in fitted.linear.tried if each.value == fitted.linear.value)
    run = {
        "training": "linear probe: the backbone stays as it was, and a multinomial logistic "
        f"regression on its standardised features is the head, C = {fitted.linear.value:g}",
        "class weights": "balanced" if balanced else "none",
        "augmentation": "four flips" if flips else "none",
    }
    validation = f"C was chosen on {choice}: macro-F1 {chosen.macro_f1:.3f} {where}."
    return card(
        CardFacts(
            model=config.name, labels=config.labels, members=(config,), trained_on=trained_on,
            run=run, validation=validation,
        )
    )  # fmt: skip


def check_answers(
    classifier: Classifier, network: FrozenNetwork, train: Records, learnt: Features,
    head: LinearHead, options: InputOptions,
) -> None:  # fmt: skip
    """Refuse a model whose probabilities are not those of the fitted head."""
    few = train.subset([item.image_id for item in train[:8]], leaked=train.leaked)
    images: list[Any] = list(source_images(few, network.config.preprocessing))
    answers = classifier.predict(images, max_pixels=options.max_pixels, progress=False)
    found = np.array([list(each.probabilities.values()) for each in answers])
    difference = float(np.abs(found - head.probabilities(learnt.rows[: len(few), 0])).max())
    if not difference <= NEAR:
        raise ModelError(
            f"the model's probabilities must be those of the fitted head within {NEAR:g}, but they "
            f"differ by {difference:.2g}; delete the cached features and probe again."
        )
