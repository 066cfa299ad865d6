"""`Trainer`: one visible loop from labelled images to a model folder."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import torch

from skinxai.backbones.exact_float32 import exact_float32
from skinxai.classifier import Classifier
from skinxai.data.records import Records, check_records
from skinxai.data.splits import Splits
from skinxai.disk.regular_files import MAX_TEXT_BYTES, read_file
from skinxai.errors import NonFiniteLossError, OptionError
from skinxai.interruption import Interruption
from skinxai.reporting import write_evaluation
from skinxai.training.beginning import new_run, resumed_run
from skinxai.training.callbacks import Callback
from skinxai.training.checking import check_names, check_teacher
from skinxai.training.data_checks import check_parts
from skinxai.training.joining import joined
from skinxai.training.launch import Launch
from skinxai.training.loop import Loop
from skinxai.training.process import check_main_guard, kept_memory, made_on_the_cpu, typed_errors
from skinxai.training.randomness import kept_random_states
from skinxai.training.ranks import Ranks
from skinxai.training.run import Run, workers_of
from skinxai.training.run_folder import SETTINGS, RunFolder, held_in, taken
from skinxai.training.settings import TrainConfig, changed_settings

PAGE = "evaluation.html"


class Trainer:
    """Fine-tunes a backbone on labelled images; each run has one folder.

    Args:
        backbone: name in `skinxai.backbones`.
        output_dir: the run folder.
        callbacks: callbacks of the run, see `skinxai.training.callbacks.Callback`.
        **settings: the fields of `skinxai.training.settings.TrainConfig`.

    Raises:
        OptionError: if a setting does not exist, a value is outside its range, one that applies to
            a teacher's answers is given without one, or this machine does not have the device.
        UnknownNameError: if there is no backbone or loss of that name.
    """

    def __init__(
        self,
        backbone: str = "efficientnet_b0",
        *,
        output_dir: str | os.PathLike[str] = "runs/skinxai",
        callbacks: Iterable[Callback] = (),
        **settings: Any,
    ) -> None:
        self.config = TrainConfig.of({"backbone": backbone} | settings)
        check_names(self.config)
        check_teacher(self.config)
        self.folder = RunFolder(Path(output_dir), self.config.keep_checkpoints)
        self._callbacks, self._resumed = tuple(callbacks), False

    @classmethod
    def resume(
        cls, run_folder: str | os.PathLike[str], *, callbacks: Iterable[Callback] = (),
        **changes: Any,
    ) -> Self:  # fmt: skip
        """Continue a stopped run after its newest complete checkpoint.

        On the CPU the result has the same bits as a run that was never stopped.

        Args:
            run_folder: ``output_dir`` of the run.
            callbacks: as in `Trainer`; they are not stored in the run folder.
            **changes: settings that may change during a run, those in
                ``skinxai.training.settings.CHANGEABLE``. Pass an augmentation pipeline
                of your own again.

        Raises:
            TrainingError: if the folder holds no run.
            ResumeMismatchError: if a change would make it another run.
        """
        folder = RunFolder(Path(run_folder))
        known = folder.read_settings()["settings"]
        values = known | changes
        differ = changed_settings(known, values)
        if "epochs" in differ:
            folder.check_epochs(differ["epochs"])
        trainer = cls(**values, output_dir=run_folder, callbacks=callbacks)
        trainer._resumed = True
        if differ and Launch.now().rank == 0:
            folder.note(f"resumed with {json.dumps(differ)}")
        return trainer

    def fit(self, train: Records | Splits, val: Records | None = None) -> Classifier:
        """Train, keep the epoch with the best validation macro-F1, and return it.

        A first SIGTERM, SIGHUP or Ctrl-C ends the step, writes a checkpoint and then ends the
        program; a second one ends it at once.

        Args:
            train: images to learn from; or `Splits`, whose test part is written into
                ``splits.csv`` and not used.
            val: images to choose the epoch on; they share no lesion or patient with ``train``.

        Raises:
            LeakageError: if the parts share lesions or patients, one is a test part, or validation
                images are, or look like copies of, training images of this run, of its starting
                weights or of its teacher.
            DatasetImageError: if images cannot be read; all are named before the first epoch.
            DatasetSchemaError: if an image id is that of one file in ``train`` and of another in
                ``val``.
            TrainingError: if training fails, the run folder is in use, or a script lacks a main
                guard.
            OutOfMemoryError: if memory runs out and smaller micro-batches do not help.
        """
        check_main_guard(workers_of(self.config))
        splits = _splits(train, val)
        check_parts(splits.train, splits.val)
        with made_on_the_cpu(), joined(self.config.device) as ranks:
            return self._fit(splits, ranks)

    def _fit(self, splits: Splits, ranks: Ranks) -> Classifier:
        path, config = self.folder.path, self.config
        held = ranks.from_first(lambda: None if self._resumed else held_in(path))
        if held is not None:
            if held != SETTINGS or not Launch.now().restarts:
                again = f"go on with Trainer.resume({str(path)!r})"
                raise taken(path, held, SETTINGS, python=again)
            known = self.folder.read_settings()["settings"]  # the launcher started it again
            changed_settings(known, config.to_dict() | {"augmentation": config.augmentation})
            self._resumed = True
        threads = torch.get_num_threads()
        folder = RunFolder(path, config.keep_checkpoints, writes=ranks.first)
        with (
            folder.lock(), kept_memory(), kept_random_states(), exact_float32(),
            Interruption(launched=not ranks.alone) as interruption, typed_errors(),
        ):  # fmt: skip
            try:
                begin = resumed_run if self._resumed else new_run
                run = begin(config, folder, splits, ranks)
                torch.set_num_threads(run.state.progress.threads)
                loop = Loop(run, self._callbacks, interruption)
                loop.tell("on_start", path, config.to_dict())
                loop()
            finally:
                torch.set_num_threads(threads)
            classifier = self._finish(run)
            loop.tell("on_end", classifier)
            return classifier

    def _finish(self, run: Run) -> Classifier:
        path, progress = self.folder.path, run.state.progress
        if not progress.best[1]:
            raise NonFiniteLossError("macro-F1 was NaN in every epoch; there is no model to keep.")
        run.write_model()  # its card counts all epochs
        run.ranks.gather(None)  # the others read what the first one has written
        classifier = Classifier.from_pretrained(path, device=str(run.device))
        if run.ranks.first and not _is_judged(path, classifier.model, len(progress.log)):
            skipped = set(progress.skipped)
            read = [item.image_id for item in run.val if item.image_id not in skipped]
            judged = run.val.subset(read)
            size = max(1, min(32, self.config.batch_size // progress.accumulate))
            others = [each for each in self.config.not_copies if each in read]
            evaluation = classifier.evaluate(
                judged, batch_size=size, not_copies=others, progress=False,
                max_pixels=self.config.max_pixels,
            )  # fmt: skip
            (path / PAGE).unlink(missing_ok=True)  # of an epoch before
            write_evaluation(evaluation, path, log=progress.log)
        return classifier


def _splits(train: Records | Splits, val: Records | None) -> Splits:
    if isinstance(train, Splits):
        if val is not None:
            raise OptionError("val must be left out where splits are passed.")
        return train
    check_records(train, "fit()")
    if val is None:
        raise OptionError("val must be passed: the epoch is chosen on it.")
    check_records(val, "fit()")
    return Splits(train, val, train.subset([], part=""))


def _is_judged(path: Path, model: str, epochs: int) -> bool:
    """Whether the folder has an evaluation of this model that shows all epochs."""
    try:
        values = json.loads(read_file(path / "evaluation.json", MAX_TEXT_BYTES))
        return values["model"] == model and len(values["log"]) == epochs and (path / PAGE).exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False
