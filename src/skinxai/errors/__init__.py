"""Every error that skinxai raises.

Each has a stable ``code`` for programs and one sentence for people, which names the thing,
the rule, the value and the remedy::

    SkinxaiError
    ├── InputError                an image, an array or a path that cannot be used
    │   ├── ImageDecodeError          damaged, truncated or empty image data
    │   ├── ImageTooLargeError        more pixels or bytes than the limit
    │   ├── ImageTooSmallError        fewer pixels than a lesion needs
    │   ├── UnsupportedImageError     a format or kind that is not read
    │   ├── InputShapeError           an array of the wrong shape
    │   ├── InputDtypeError           an array, or an object, of the wrong type
    │   ├── InputRangeError           array values outside the declared range, or not finite
    │   ├── InputNotFoundError        no such file
    │   ├── InputPathError            a path that is no regular file or cannot be followed
    │   ├── InputPermissionError      a file that may not be read
    │   ├── NoInputsError             a folder or pattern without any image
    │   └── UrlBlockedError           a URL, or a kind of URL, that is not allowed
    ├── OutputError               a result that cannot be written where it was asked for
    │   └── PartsError                parts of answers that are missing, damaged or of another run
    ├── OptionError               an argument outside its rule
    ├── UnknownNameError          a name that no registry, label set or model has
    ├── DatasetError              records, labels or splits that cannot be used
    │   ├── DatasetSchemaError        missing columns, doubled rows, damaged tables
    │   ├── DatasetLabelError         labels that are empty, unknown or contradict each other
    │   ├── DatasetPathError          listed files that are missing or outside their folder
    │   ├── DatasetImageError         images that cannot be read
    │   ├── LeakageError              one lesion, patient or image in two parts, or a part misused
    │   └── CalibrationError          images that a model cannot be calibrated on
    ├── ModelError                a model that cannot be used
    │   ├── ModelNotFoundError        no such model folder or Hub name
    │   ├── HubError                  the Hub does not answer, or not as it should
    │   ├── IntegrityError            files that do not agree with the manifest or the weights
    │   ├── UnsafeFormatError         weights in a format that can run code
    │   ├── ModelConfigError          a config that breaks its schema
    │   ├── ExportError               a network that cannot be exported, or whose export differs
    │   └── NonFiniteOutputError      NaN or infinite logits
    ├── ExplainError              an explanation that cannot be made
    │   └── ExplainTimeoutError       no time left for all network passes
    ├── PluginError               a plugin that breaks its contract
    │   └── PluginMannersError        an explainer that left the network or the process changed
    ├── StoreError                cases and labels that cannot be kept or read
    │   ├── StoreUnavailableError     a database that does not answer, or is locked
    │   ├── StoreFullError            no room on the disk of the database or of the images
    │   ├── StoreVersionError         a database of a newer version
    │   ├── StoreConflictError        another case has this id already
    │   └── UnknownCaseError          no case has this id
    ├── OutOfMemoryError          no memory even for the smallest part of a batch
    └── TrainingError             a training run that cannot go on
        ├── NonFiniteLossError        NaN or infinite loss, gradients or weights
        ├── CheckpointWriteError      a checkpoint that cannot be written
        ├── CheckpointCorruptError    a checkpoint that is damaged or of another network
        ├── ResumeMismatchError       a run resumed with other data, labels or network
        ├── WorkerCrashError          a decoding process that died or hangs
        └── RankLostError             another process of the run that has ended or does not answer
"""

from skinxai.errors.call_errors import (
    OptionError,
    OutOfMemoryError,
    OutputError,
    PartsError,
    UnknownNameError,
)
from skinxai.errors.dataset_errors import (
    CalibrationError,
    DatasetError,
    DatasetImageError,
    DatasetLabelError,
    DatasetPathError,
    DatasetSchemaError,
    LeakageError,
)
from skinxai.errors.input_errors import (
    ImageDecodeError,
    ImageTooLargeError,
    ImageTooSmallError,
    InputDtypeError,
    InputError,
    InputNotFoundError,
    InputPathError,
    InputPermissionError,
    InputRangeError,
    InputShapeError,
    NoInputsError,
    UnsupportedImageError,
    UrlBlockedError,
)
from skinxai.errors.model_errors import (
    ExplainError,
    ExplainTimeoutError,
    ExportError,
    HubError,
    IntegrityError,
    ModelConfigError,
    ModelError,
    ModelNotFoundError,
    NonFiniteOutputError,
    PluginError,
    PluginMannersError,
    UnsafeFormatError,
)
from skinxai.errors.root import (
    SkinxaiError,
    SkinxaiWarning,
)
from skinxai.errors.store_errors import (
    StoreConflictError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    StoreVersionError,
    UnknownCaseError,
)
from skinxai.errors.suggestions import (
    closest,
    did_you_mean,
)
from skinxai.errors.training_errors import (
    CheckpointCorruptError,
    CheckpointWriteError,
    NonFiniteLossError,
    RankLostError,
    ResumeMismatchError,
    TrainingError,
    WorkerCrashError,
)

__all__ = [  # noqa: RUF022  (in the order of the tree, which the reference follows)
    "SkinxaiWarning", "SkinxaiError", "InputError", "ImageDecodeError", "ImageTooLargeError",
    "ImageTooSmallError", "UnsupportedImageError", "InputShapeError", "InputDtypeError",
    "InputRangeError", "InputNotFoundError", "InputPathError", "InputPermissionError",
    "NoInputsError", "UrlBlockedError", "OutputError", "PartsError", "OptionError",
    "UnknownNameError", "DatasetError", "DatasetSchemaError", "DatasetLabelError",
    "DatasetPathError", "DatasetImageError", "LeakageError", "CalibrationError", "ModelError",
    "ModelNotFoundError", "HubError", "IntegrityError", "UnsafeFormatError", "ModelConfigError",
    "ExportError", "NonFiniteOutputError", "ExplainError", "ExplainTimeoutError", "PluginError",
    "PluginMannersError", "StoreError", "StoreUnavailableError", "StoreFullError",
    "StoreVersionError", "StoreConflictError", "UnknownCaseError", "OutOfMemoryError",
    "TrainingError", "NonFiniteLossError", "CheckpointWriteError", "CheckpointCorruptError",
    "ResumeMismatchError", "WorkerCrashError", "RankLostError", "closest", "did_you_mean",
]  # fmt: skip
