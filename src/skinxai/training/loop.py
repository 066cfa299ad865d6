"""The loop over epochs and batches."""

import itertools
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from skinxai.disk.writing import write_json
from skinxai.errors import DatasetImageError, NonFiniteLossError, TrainingError
from skinxai.interruption import Interruption
from skinxai.plain_text import counted, quoted
from skinxai.progress import bar, say
from skinxai.training.callbacks import Callback
from skinxai.training.data_checks import most_skipped
from skinxai.training.loaders import Batch, Failure
from skinxai.training.optimising import learning_rate
from skinxai.training.run import Run
from skinxai.training.run_folder import as_logged
from skinxai.training.shares import Share
from skinxai.training.validation import validate


@dataclass(frozen=True)
class Loop:
    """The loop of one run, from its present state to its end."""

    run: Run
    callbacks: Sequence[Callback]
    interruption: Interruption

    def __call__(self) -> None:
        """Train until the last epoch, until patience is exhausted, or until a signal."""
        run = self.run
        config, progress, steps_each = run.config, run.state.progress, run.steps_each
        every = 60 * config.checkpoint_minutes
        with bar(
            None,
            total=config.epochs * len(run.train),
            initial=progress.epoch * len(run.train) + progress.images,
            unit="image",
            smoothing=0.05,
        ) as shown:
            while progress.epoch < config.epochs and not _patience_is_over(run):
                last = saved = time.perf_counter()
                rate = learning_rate(config, (progress.epoch + 1) * steps_each - 1, steps_each)
                for batch in run.training_batches():
                    share = run.ranks.share(len(batch.target), batch.failures)
                    self._account_for(share.failures)
                    number = progress.epoch * steps_each + progress.step
                    rate = learning_rate(config, number, steps_each)
                    learnt = share.count if share.count > 1 else 0  # rest: unreadable
                    loss = self._step(batch, share, number, rate) if learnt else float("nan")
                    now = time.perf_counter()
                    progress.step += 1
                    progress.images += learnt
                    progress.total_loss += loss * learnt if learnt else 0.0
                    progress.seconds, last = progress.seconds + now - last, now
                    shown.update(share.count)
                    shown.set_postfix(_shown(run), refresh=False)
                    self.tell("on_step", number + 1, loss, rate)
                    stop, due = run.ranks.largest(self._signal(), int(now - saved > every))
                    if stop or due:
                        run.checkpoint()
                        saved = now
                    if stop:
                        self._stop(stop)
                row = self._end_epoch(rate)
                say(_line(row, config.epochs))
                self.tell("on_epoch", row)
                (stop,) = run.ranks.largest(self._signal())
                if stop:
                    self._stop(stop)

    def _signal(self) -> int:
        """The signal that has come, or 0; read once, as it may come at any line."""
        return self.interruption.received or 0

    def _stop(self, number: int) -> None:
        """Say that the checkpoint is written and how to resume, then end as the signal demands."""
        folder = self.run.folder.path
        name = signal.Signals(number).name
        stopped = f"{name}: training has stopped, and its checkpoint is in {folder}. Go on with"
        say(
            f"{stopped} Trainer.resume({str(folder)!r}).",
            command=f"{stopped} the same command and --resume.",
            error=True,
        )
        self.interruption.stop(number)

    def _step(self, batch: Batch, share: Share, number: int, rate: float) -> float:
        """Do one optimiser step; a value that is not finite is an error that names the batch."""
        run = self.run
        try:
            return run.step(
                run.input_of(batch), batch.target.to(run.device, non_blocking=True), number, rate,
                batch.positions, share,
            )  # fmt: skip
        except NonFiniteLossError as error:
            every = itertools.chain(*run.ranks.gather(batch.positions))
            ids = [run.train[position].image_id for position in every]
            path = run.folder.path / "failed_batch.json"
            content = {"step": number + 1, "learning_rate": rate, "image_ids": ids}
            if run.ranks.first:
                write_json(path, content)
            raise NonFiniteLossError(
                f"{error} in epoch {run.state.progress.epoch + 1}, step "
                f"{run.state.progress.step + 1}; the weights were not changed, and {path} names "
                f"the batch",
                python=f"lower it with Trainer.resume({str(run.folder.path)!r}, learning_rate=…)",
                command="give the same command with --resume and a lower --learning-rate",
            ) from error

    def _end_epoch(self, rate: float) -> dict[str, float]:
        """Validate, log the figures, keep the best weights and write a checkpoint of all that."""
        run = self.run
        started, progress = time.perf_counter(), run.state.progress
        metrics = validate(
            run.state.whole_average(), self._checked(), run.model_config.preprocessing,
            len(run.train.labels), run.device, run.folder.note, run.ranks.total,
        )  # fmt: skip
        seconds = progress.seconds + time.perf_counter() - started
        row = {
            "epoch": progress.epoch + 1,
            "loss": progress.total_loss / max(1, progress.images),
            "accuracy": metrics.accuracy,
            "balanced_accuracy": metrics.balanced_accuracy,
            "macro_f1": metrics.macro_f1,
            "learning_rate": rate,
            "images_per_second": progress.images / seconds,
            "micro_batch": run.config.batch_size / progress.accumulate,
        }
        progress.log.append(row)
        progress.epoch, progress.step, progress.images = progress.epoch + 1, 0, 0
        progress.total_loss = progress.seconds = 0.0
        reached = as_logged(metrics.macro_f1)  # so that the log's first highest epoch is kept
        better = reached > progress.best[0]
        if better:
            progress.best = (reached, progress.epoch)
            run.state.keep_best()
        run.checkpoint()
        if better:
            run.write_model()
        run.folder.write_log(progress.log)
        return row

    def _checked(self) -> Iterator[Batch]:
        run = self.run
        for batch in run.validation_batches():
            share = run.ranks.share(len(batch.target), batch.failures)
            (stop,) = run.ranks.largest(self._signal())
            if stop:  # validation changes nothing: it begins again
                run.checkpoint()
                self._stop(stop)
            self._account_for(share.failures, val=True)
            yield batch

    def _account_for(self, failures: Sequence[Failure], *, val: bool = False) -> None:
        """Handle images that could be read before training began but no longer."""
        run, progress = self.run, self.run.state.progress
        records = run.val if val else run.train
        for failure in failures:
            record = records[failure.position]
            sentence = (
                f"image {quoted(record.image_id)} ({record.path}) must stay readable while "
                f"training: {failure.reason}"
            )
            self.run.folder.note(sentence)
            if record.image_id not in progress.skipped:
                progress.skipped.append(record.image_id)
            skipped = sum(item.image_id in progress.skipped for item in records)
            if run.config.unreadable == "raise" or skipped > most_skipped(records):
                run.checkpoint()
                raise DatasetImageError(
                    f"{sentence}; mend the file and resume the run, or let "
                    f"{counted(most_skipped(records), 'such image')} pass",
                    python="resume it with unreadable='skip'",
                    command="give the same command with --resume --unreadable skip",
                )

    def tell(self, method: str, *values: Any) -> None:
        """Call a method of every callback; one that raises ends the run after a checkpoint.

        The callbacks of the first rank are called, and no others.
        """
        failed: tuple[str, Exception] | None = None
        for callback in self.callbacks if self.run.ranks.first else ():
            try:
                getattr(callback, method)(*values)
            except Exception as error:  # a callback may raise anything
                failed = f"{type(callback).__name__}.{method}", error
                break
        (any_failed,) = self.run.ranks.largest(int(failed is not None))
        if any_failed:
            self.run.checkpoint()
            what, cause = failed or (f"{method} of rank 0", None)
            raised = f"{type(cause).__name__}: {cause}" if cause else "an error"
            raise TrainingError(
                f"callback {what} raised {raised}; a checkpoint was written, resume the run."
            ) from cause


def _patience_is_over(run: Run) -> bool:
    patience, progress = run.config.patience, run.state.progress
    return patience is not None and progress.epoch - progress.best[1] >= patience


def _line(row: dict[str, float], epochs: int) -> str:
    """One line about an epoch for people; ``log.csv`` has all figures."""
    return (
        f"epoch {row['epoch']:.0f} of {epochs}: loss {row['loss']:.3f}; validation: balanced "
        f"accuracy {row['balanced_accuracy']:.3f}, macro-F1 {row['macro_f1']:.3f}, accuracy "
        f"{row['accuracy']:.3f}; {row['images_per_second']:.1f} images a second"
    )


def _shown(run: Run) -> dict[str, str]:
    progress = run.state.progress
    best = f"{progress.log[-1]['macro_f1']:.3f}" if progress.log else "–"
    return {
        "epoch": str(progress.epoch + 1),
        "loss": f"{progress.total_loss / max(1, progress.images):.3f}",
        "macro-F1": best,
    }
