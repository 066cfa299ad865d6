"""`Study`: the trials of a search in a SQLite file; the only file with Optuna."""

import json
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from skinxai.disk.writing import make_folder
from skinxai.errors import OptionError, ResumeMismatchError, TrainingError
from skinxai.experiments.search_space import Choice, Space, setting
from skinxai.plain_text import counted
from skinxai.training.run_folder import STUDY

FILE, NAME, RUNS = STUDY, "skinxai", "trials"
TENTHS, START, FREE = 10, 5, 3
PATIENCE = 60.0  # seconds for another process to end its writing


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Args:
        number: from 1; Optuna counts from 0.
        state: ``complete``, ``pruned``, ``failed`` or ``running``.
        macro_f1: best validation macro-F1 of a complete trial; ``None`` of another.
        reached: best validation macro-F1 that it reported; ``None`` if it reported none.
        drawn: the drawn values, by setting.
        reason: why it failed; else empty.
    """

    number: int
    state: str
    macro_f1: float | None
    reached: float | None
    drawn: Mapping[str, Any]
    reason: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """The drawn values as settings of `Trainer`."""
        return {n: v for name, value in self.drawn.items() for n, v in setting(name, value).items()}


class Turn:
    """A trial that this process trains; no other process can take it."""

    def __init__(self, trial: Any, lock: FileLock, prune: bool) -> None:
        self._trial, self._lock, self._prune = trial, lock, prune
        self.number: int = trial.number + 1
        self.settings = Trial(self.number, "running", None, None, trial.params).settings

    def release(self) -> None:
        """Let other processes take the trial, if it has not ended."""
        self._lock.release()

    def is_hopeless(self, macro_f1: float, share: float) -> bool:
        """Report the best macro-F1 so far after a share of the epochs; whether to give it up.

        It is given up where it is below the median of what earlier trials had reached at the same
        tenth of their epochs, after five trials and three tenths.
        """
        tenth = int(TENTHS * share + 1e-9)
        known = self._trial.study.trials[self.number - 1].intermediate_values
        if tenth in known:  # of a run that was stopped, and is trained on
            return False
        self._trial.report(macro_f1, tenth)
        return self._prune and share < 1 and bool(self._trial.should_prune())


class Study:
    """The study of a search, in ``study.db`` of its folder.

    Args:
        folder: folder of the search.
        space: what is searched.
        seed: seed of the draws; each trial draws with the seed and its number, so that a
            restarted search does not repeat its first draws.
        identity: what the search is: another one in the same file is refused.

    Raises:
        OptionError: if Optuna is not installed.
        ResumeMismatchError: if the file holds another search.
        TrainingError: if the file is damaged, or another process does not let it go.
    """

    def __init__(
        self, folder: Path, space: Space, seed: int, identity: Mapping[str, Any], prune: bool
    ) -> None:
        try:
            import optuna
        except ImportError as error:
            raise OptionError("a search needs Optuna; run pip install 'skinxai[tune]'.") from error
        self._optuna, self._folder, self._space = optuna, folder, space
        self._seed, self._prune, self._path = seed, prune, folder / FILE
        make_folder(folder / RUNS)
        with self.locked(), self._typed():
            self._check_whole()
            before = optuna.logging.get_verbosity()
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            try:
                storage = optuna.storages.RDBStorage(
                    f"sqlite:///{self._path.absolute()}",
                    engine_kwargs={"connect_args": {"timeout": PATIENCE}},
                )
                pruner = optuna.pruners.MedianPruner(START, FREE)
                self._study = optuna.create_study(
                    storage=storage, study_name=NAME, direction="maximize", load_if_exists=True,
                    pruner=pruner,
                )  # fmt: skip
            finally:
                optuna.logging.set_verbosity(before)
            self._check_same(identity)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Context in which no other process chooses a trial or writes the results."""
        try:
            with FileLock(self._folder / ".study.lock", timeout=PATIENCE):
                yield
        except Timeout as error:
            raise self._held() from error

    def turn(self, most: int) -> Turn | None:
        """A trial to train: one whose process died, or a new one; ``None`` if there are enough."""
        with self.locked(), self._typed():
            trials = self._study.get_trials(deepcopy=False)
            for each in trials:
                if each.state.name == "RUNNING" and (lock := self._take(each.number + 1)):
                    return Turn(self._optuna.trial.Trial(self._study, each._trial_id), lock,
                                self._prune)  # fmt: skip
            if len(trials) >= most:
                return None
            number = len(trials)
            lock = self._take(number + 1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
                self._study.sampler = self._optuna.samplers.TPESampler(
                    seed=(self._seed * 1_000_003 + number) % 2**32, constant_liar=True
                )
            trial = self._study.ask(self._distributions())
            if lock is None or trial.number != number:
                raise self._held()
            return Turn(trial, lock, self._prune)

    def end(self, turn: Turn, macro_f1: float | None, *, reason: str = "") -> None:
        """Record a trial's end: complete with a figure, failed with a reason, or else pruned."""
        states = self._optuna.trial.TrialState
        with self._typed():
            if reason:
                turn._trial.set_user_attr("reason", reason)
            state = (
                states.FAIL if reason else states.PRUNED if macro_f1 is None else states.COMPLETE
            )
            self._study.tell(turn._trial, macro_f1, state=state)

    def trials(self) -> tuple[Trial, ...]:
        """All trials, in order."""
        words = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        with self._typed():
            found = self._study.get_trials(deepcopy=False)
        return tuple(
            Trial(
                each.number + 1, words.get(each.state.name, "running"),
                each.value if each.state.name == "COMPLETE" else None,
                max(each.intermediate_values.values(), default=None), dict(each.params),
                str(each.user_attrs.get("reason", "")),
            )
            for each in found
        )  # fmt: skip

    def _take(self, number: int) -> FileLock | None:
        """The lock of a trial, which its process holds as long as it lives."""
        lock = FileLock(self._folder / RUNS / f".{number:04d}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def _distributions(self) -> dict[str, Any]:
        made = self._optuna.distributions
        found: dict[str, Any] = {}
        for name, values in self._space.items():
            if isinstance(values, Choice):
                found[name] = made.CategoricalDistribution(values.values)
            elif values.whole:
                found[name] = made.IntDistribution(int(values.low), int(values.high))
            else:
                found[name] = made.FloatDistribution(values.low, values.high, log=values.log)
        return found

    def _check_whole(self) -> None:
        runs = [each for each in (self._folder / RUNS).iterdir() if each.is_dir()]
        if not self._path.exists():
            if runs:
                raise TrainingError(
                    f"{str(self._folder)!r} holds {counted(len(runs), 'trial')}, but its {FILE} is "
                    f"gone; put it back or start a new search in another folder."
                )
            return
        with sqlite3.connect(self._path, timeout=PATIENCE) as file:
            answer = file.execute("PRAGMA quick_check").fetchone()
        file.close()
        if answer != ("ok",):
            raise sqlite3.DatabaseError(str(answer[0]))

    def _check_same(self, identity: Mapping[str, Any]) -> None:
        plain = json.loads(json.dumps(identity))
        known = self._study.user_attrs.get("identity")
        if known is None:
            if self._study.get_trials(deepcopy=False):
                raise ResumeMismatchError(
                    f"{str(self._path)!r} must hold a search of skinxai, but it holds another "
                    f"study; give another folder."
                )
            self._study.set_user_attr("identity", plain)
            return
        for part, values in plain.items():
            before = known.get(part)
            if before != values:
                names = sorted(n for n in {*values, *(before or {})}
                               if (before or {}).get(n) != values.get(n))  # fmt: skip
                raise ResumeMismatchError(
                    f"a search goes on with the {part} it began with, but {names} differ in "
                    f"{str(self._path)!r}; give the same ones, or another folder for a new search."
                )

    @contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # SQLAlchemy's errors hold that of SQLite
            own = error if isinstance(error, sqlite3.Error) else getattr(error, "orig", None)
            own = own or getattr(error.__cause__, "orig", None)
            if not isinstance(own, sqlite3.Error):
                raise
            if "locked" in str(own) or "busy" in str(own):
                raise self._held() from error
            raise TrainingError(
                f"{str(self._path)!r} must be the study of a search, but SQLite says: {own}; start "
                f"a new search in another folder."
            ) from error

    def _held(self) -> TrainingError:
        return TrainingError(
            f"{str(self._path)!r} is locked by another process for {PATIENCE:g} seconds; wait for "
            f"it, then give the same command again."
        )
