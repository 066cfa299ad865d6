"""`Trainer`: one visible loop from labelled images to a model folder."""

from __future__ import annotations

import copy
import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from skinxai import backbones, checkpoints, losses
from skinxai.assessment.metrics import ClassificationMetrics, confusion_matrix, metrics_of
from skinxai.classifier import Classifier
from skinxai.configs import ModelConfig, PreprocessConfig, TrainConfig
from skinxai.data.records import Records
from skinxai.data.splits import Splits
from skinxai.errors import LeakageError, TrainingError
from skinxai.models import SkinClassifier
from skinxai.training.initial_weights import load_initial_weights
from skinxai.training.loaders import TrainingImages, batches, epoch_order
from skinxai.training.precision import choose_precision
from skinxai.training.run_folder import precision_name, write_card, write_log
from skinxai.training.schedule import decay_groups, learning_rate, update_average
from skinxai.training.state import RunState
from skinxai.writing import write_atomic

CHECKPOINT = "checkpoints/last.safetensors"


class Trainer:
    """Fine-tunes a backbone on labelled images; one run, one folder.

    Args:
        backbone: name in `skinxai.backbones`.
        loss: name in `skinxai.losses`.
        sampler: ``None`` (each image once an epoch), ``"square_root"`` or ``"balanced"``.
        amp: ``True`` measures whether bfloat16 is faster on this CPU and says so;
            ``"bfloat16"``, ``"float16"`` and ``False`` fix it.
        epochs: passes over the training part.
        batch_size: images in one step.
        learning_rate: highest of a cosine schedule with 5 % warm-up (AdamW, Loshchilov &
            Hutter, ICLR 2019).
        weight_decay: of matrices and kernels; vectors have none.
        drop_rate: dropout before the classifier, kept in the model's config.
        average_decay: of the exponential moving average of the weights, which is what is
            validated and saved.
        image_size: ``(height, width)`` of the network's input.
        init_weights: ``"imagenet"``, ``"bundled"``, a model folder, a ``.safetensors`` file, or
            ``None`` for random weights.
        output_dir: the run folder.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        seed: of weights, order and augmentation.
        workers: decoding processes; ``"auto"`` leaves one core to the network.
    """

    def __init__(
        self,
        backbone: str = "efficientnet_b0",
        *,
        loss: str = "cross_entropy",
        sampler: str | None = None,
        amp: bool | str = True,
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.02,
        drop_rate: float = 0.2,
        average_decay: float = 0.998,
        image_size: tuple[int, int] = (192, 256),
        init_weights: str | os.PathLike[str] | None = "imagenet",
        output_dir: str | os.PathLike[str] = "runs/skinxai",
        device: str = "auto",
        seed: int = 0,
        workers: int | str = "auto",
    ) -> None:
        if workers == "auto":
            workers = max(0, min(8, (os.cpu_count() or 1) - 1))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.config = TrainConfig(
            backbone, loss, sampler, amp, epochs, batch_size, learning_rate, weight_decay,
            drop_rate, average_decay, image_size,
            None if init_weights is None else os.fspath(init_weights), device, seed, int(workers),
        )  # fmt: skip
        self.output_dir = Path(output_dir)
        self._resumed = False

    @classmethod
    def resume(cls, run_folder: str | os.PathLike[str]) -> Self:
        """Go on where a killed run stopped, after its last finished epoch.

        On one CPU the result has the same bits as a run that was never stopped.

        Raises:
            TrainingError: no ``train.json`` with settings in the folder.
        """
        path = Path(run_folder) / "train.json"
        try:
            values = json.loads(path.read_text())["settings"]
            trainer = cls(**values, output_dir=run_folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{str(path)!r} must hold a run's settings: {error}") from error
        trainer._resumed = True
        return trainer

    def fit(self, train: Records, val: Records) -> Classifier:
        """Train, keep the epoch with the best validation macro-F1, and return it.

        Args:
            train: images to learn from.
            val: images to choose the epoch on; no lesion of ``train``.

        Raises:
            LeakageError: shared lesions, or a test part.
            TrainingError: a run folder in use, a class without images, or a loss that is not
                finite.
        """
        config = self.config
        _check_parts(train, val)
        if not self._resumed and (self.output_dir / "train.json").exists():
            raise TrainingError(
                f"output_dir must be a new folder, {str(self.output_dir)!r} holds a run; "
                f"go on with Trainer.resume({str(self.output_dir)!r})."
            )
        torch.manual_seed(config.seed)
        device = torch.device(config.device)
        loss_function = losses.get(config.loss)
        model = backbones.build(config.backbone, len(train.labels), config.drop_rate)
        mean, std, source = load_initial_weights(model, config.backbone, config.init_weights)
        preprocessing = PreprocessConfig(config.image_size, mean, std)
        model.to(device).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(decay_groups(model, config.weight_decay))
        state = RunState(model, copy.deepcopy(model), optimizer)
        images, checks = TrainingImages(train, preprocessing), TrainingImages(val, preprocessing)
        if self._resumed and (self.output_dir / CHECKPOINT).exists():
            state.restore(self.output_dir / CHECKPOINT)
        precision = self._precision(model, images, device)
        self._write_settings(train, val, precision, source)
        scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
        steps_each = math.ceil(len(train) / config.batch_size)
        model_config = self._model_config(train, preprocessing)

        for epoch in range(state.epoch, config.epochs):
            order = epoch_order(train, config.sampler, config.seed, epoch)
            loader = batches(
                images, order, config.batch_size, config.workers, augment_seed=(config.seed, epoch)
            )
            started, total = time.perf_counter(), 0.0
            bar = tqdm(loader, f"epoch {epoch + 1}/{config.epochs}", steps_each, unit="batch")
            for step, (batch, target) in enumerate(bar):
                model.train()
                rate = learning_rate(config, epoch * steps_each + step, steps_each)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                batch = batch.to(device, memory_format=torch.channels_last)
                with torch.autocast(device.type, precision, enabled=precision is not None):
                    logits = model(batch)
                loss = loss_function(logits.float(), target.to(device))
                if not bool(torch.isfinite(loss)):
                    raise TrainingError(
                        f"loss must stay finite, got {loss.item()} in epoch {epoch + 1}, step "
                        f"{step + 1}; lower learning_rate and resume from {CHECKPOINT}."
                    )
                optimizer.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                update_average(state.average, model, epoch * steps_each + step, config)
                total += float(loss.detach())
                bar.set_postfix(loss=f"{total / (step + 1):.3f}", rate=f"{rate:.1e}")
            metrics = _validate(state.average, checks, val, config, device)
            seconds = time.perf_counter() - started
            row = {
                "epoch": epoch + 1,
                "loss": total / steps_each,
                "accuracy": metrics.accuracy,
                "balanced_accuracy": metrics.balanced_accuracy,
                "macro_f1": metrics.macro_f1,
                "images_per_second": len(train) / seconds,
            }
            state.epoch, state.log = epoch + 1, (*state.log, row)
            if metrics.macro_f1 > state.best[0]:
                state.best = (metrics.macro_f1, epoch + 1)
                card = write_card(model_config, state.log, state.best[1])
                checkpoints.save(str(self.output_dir), state.average, model_config, card)
            (self.output_dir / "checkpoints").mkdir(exist_ok=True)
            state.save(self.output_dir / CHECKPOINT)
            write_log(self.output_dir / "log.csv", state.log)
            tqdm.write(", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        return Classifier.from_pretrained(self.output_dir, device=config.device)

    def _precision(
        self, model: SkinClassifier, images: TrainingImages, device: torch.device
    ) -> torch.dtype | None:
        """A resumed run keeps what it began with, so that its bits stay the same."""
        path = self.output_dir / "train.json"
        if self._resumed and path.exists():
            chosen = json.loads(path.read_text())["precision"]
            return None if chosen == "float32" else getattr(torch, chosen)
        count = min(self.config.batch_size, len(images))
        batch = torch.stack([images[i, None][0] for i in range(count)])
        batch = batch.to(device, memory_format=torch.channels_last)
        precision = choose_precision(self.config.amp, model.train(), batch, device)
        tqdm.write(f"training in {precision_name(precision)} on {device}")
        return precision

    def _write_settings(
        self, train: Records, val: Records, precision: torch.dtype | None, source: str
    ) -> None:
        if self._resumed:
            return
        self.output_dir.mkdir(parents=True, exist_ok=True)
        values = {
            "settings": asdict(self.config),
            "precision": precision_name(precision),
            "init_weights": source,
            "data": {"name": train.name, "train": train.class_counts(), "val": val.class_counts()},
            "torch": torch.__version__,
        }
        write_atomic(self.output_dir / "train.json", json.dumps(values, indent=2).encode())
        empty = train.subset([])
        Splits(train, val, empty).to_csv(self.output_dir / "splits.csv")

    def _model_config(self, train: Records, preprocessing: PreprocessConfig) -> ModelConfig:
        data = {"name": train.name, "licence": train.licence, "attribution": train.attribution}
        if train.leaked:
            data["leaked"] = "images of one lesion or patient are in several parts"
        return ModelConfig(
            name=self.output_dir.name,
            backbone=self.config.backbone,
            labels=train.labels,
            preprocessing=preprocessing,
            drop_rate=self.config.drop_rate,
            training_data=data,
            licence=train.licence,
        )


def _check_parts(train: Records, val: Records) -> None:
    for name, records in (("train", train), ("val", val)):
        if records.part == "test":
            raise LeakageError(
                f"{name} must not be the test part: what is learnt or chosen on it says nothing "
                f"about other images."
            )
    shared = {item.lesion_id for item in train} & {item.lesion_id for item in val}
    if shared and not (train.leaked and val.leaked):
        raise LeakageError(
            f"train and val must share no lesion, {len(shared)} are in both, e.g. "
            f"{min(shared)!r}; split with skinxai.data.split()."
        )
    if absent := [c for c, n in zip(train.labels, train.class_counts(), strict=True) if not n]:
        raise TrainingError(f"train must hold images of every class, it has none of {absent}.")
    if train.labels != val.labels:
        raise TrainingError(f"train and val must have one label set, got {train.labels.codes} "
                            f"and {val.labels.codes}.")  # fmt: skip
    if not len(train) or not len(val):
        raise TrainingError(f"train and val must hold images, got {len(train)} and {len(val)}.")


@torch.inference_mode()
def _validate(
    model: nn.Module, images: TrainingImages, val: Records, config: TrainConfig,
    device: torch.device,
) -> ClassificationMetrics:  # fmt: skip
    model.eval()
    predicted: list[Tensor] = []
    positions = list(range(len(val)))
    for batch, _ in batches(images, positions, config.batch_size, config.workers):
        logits = model(batch.to(device, memory_format=torch.channels_last))
        predicted.append(logits.argmax(dim=1).cpu())
    guesses = torch.cat(predicted).numpy().astype(np.int64)
    return metrics_of(confusion_matrix(val.targets(), guesses, len(val.labels)))
