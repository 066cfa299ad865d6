"""Errors of training runs."""

from skinxai.errors.root import SkinxaiError


class TrainingError(SkinxaiError):
    """A training run that cannot go on."""

    code = "training"


class NonFiniteLossError(TrainingError):
    """NaN or infinite loss, gradients or weights."""

    code = "non_finite_loss"


class CheckpointWriteError(TrainingError):
    """A checkpoint that cannot be written; ``errno`` says why."""

    code = "checkpoint_write"

    def __init__(self, message: str, errno: int | None = None) -> None:
        self.errno = errno
        super().__init__(message)


class CheckpointCorruptError(TrainingError):
    """A checkpoint that is damaged or of another network."""

    code = "checkpoint_corrupt"


class ResumeMismatchError(TrainingError):
    """A run resumed with other data, labels or network."""

    code = "resume_mismatch"


class WorkerCrashError(TrainingError):
    """A decoding process that died or hangs."""

    code = "worker_crash"


class RankLostError(TrainingError):
    """Another process of the run that has ended or does not answer."""

    code = "rank_lost"
