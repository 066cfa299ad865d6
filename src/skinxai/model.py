"""`Model`: where a classifier comes from, what it says of itself, and where it can be written."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from skinxai.configs import EnsembleConfig, ModelConfig, PreprocessConfig
from skinxai.errors import SkinxaiWarning
from skinxai.flags import check_flags
from skinxai.images.sources import iter_sources
from skinxai.labels import LabelSet
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.predicting.in_use import ModelInUse
from skinxai.predicting.inputs import InputOptions
from skinxai.predicting.opened_models import ModelName, opened
from skinxai.results import Evaluation

if TYPE_CHECKING:
    from torch import Tensor, nn

    from skinxai.backbones.network import SkinClassifier
    from skinxai.checkpoints import LoadedEnsemble, LoadedModel
    from skinxai.exporting.parity import Parity
    from skinxai.model_folders.neighbours import Neighbours
    from skinxai.predicting.inputs import Inputs
    from skinxai.predicting.torch_predictor import TorchPredictor
    from skinxai.trust.calibration import Calibration
    from skinxai.trust.reference_sample import ReferenceSample


class Model:
    """One trained model, or an ensemble of several. `Classifier` adds what it can be asked."""

    def __init__(self, loaded: LoadedModel | LoadedEnsemble, *, device: str = "auto") -> None:
        self._in_use = ModelInUse.of_loaded(loaded, device)

    @classmethod
    def _of(cls, parts: ModelInUse) -> Self:
        made = cls.__new__(cls)
        made._in_use = parts
        return made

    def _with_own_card(self) -> Self:
        """The same, whose card says how it was calibrated, where it is a generated one."""
        from skinxai.reporting.card_changes import with_calibration

        if self.calibration is None:
            return self
        parts = self._in_use
        parts = parts.with_loaded(
            replace(parts.loaded, card=with_calibration(parts.card, self.calibration))
        )
        parts.card = parts.loaded.card
        return self._of(parts)

    @classmethod
    def from_pretrained(
        cls, model: ModelName | list[ModelName] | tuple[ModelName, ...] = None, *,
        revision: str | None = None, device: str = "auto", backend: str | None = None,
        precision: str = "float32", compile: bool = False, check: bool = False,
        cache_dir: str | os.PathLike[str] | None = None, local_files_only: bool = False,
        token: str | None = None,
    ) -> Self:  # fmt: skip
        """Load a model, after every file was checked against its manifest.

        Args:
            model: ``None`` or ``"bundled"``; the folder of a model or of an ensemble; a file that
                `export` wrote; ``"org/name"`` or ``"org/name@revision"`` on the Hugging Face Hub;
                or a list of these, an ensemble in which each has the same weight.
            revision: of a repository, a commit of 40 digits, or a tag or branch, which may change
                and warns; of a folder, what the manifest's digest must begin with.
            device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"`` …
            backend: ``"torch"``, ``"onnx"``, ``"openvino"``, or ``"auto"`` (torch on a GPU;
                on the processor OpenVINO where it is installed and the model has a graph, see
                `with_graph`). By default torch, or the runtime that an exported file's suffix
                names.
            precision: of predictions: ``"float32"``; ``"bfloat16"``, by torch or OpenVINO; or
                ``"float16"`` on CUDA. The last two move probabilities by some hundredths.
                Explanations are always computed in float32.
            compile: compile the network for predictions, which takes half a minute and needs a C++
                compiler.
            check: compare the answer for a drawn picture with the one that was stored with the
                model, to see whether this machine's packages build the same network.
            cache_dir: where downloads are kept; the Hub's own cache by default.
            local_files_only: never go online.
            token: of the Hugging Face Hub; ``HF_TOKEN`` by default.

        Raises:
            ModelNotFoundError: no such model.
            HubError: the Hub does not answer, or not as it should.
            IntegrityError: a damaged or changed model, or another revision.
            UnsafeFormatError: pickled weights.
            ModelError: a backend that needs a graph, of a model without one; with ``check``, a
                probability that differs by more than 0.001, or a model that keeps no answer.
            ModelConfigError: models of a list with different labels.
            OptionError: an unknown backend, or one that is not installed; an absent device.
        """
        check_flags(compile=compile, check=check, local_files_only=local_files_only)
        found = opened(
            model, revision=revision, device=device, backend=backend, precision=precision,
            compiled=compile, check=check,
            hub={"cache_dir": cache_dir, "local_files_only": local_files_only, "token": token},
        )  # fmt: skip
        return cls._of(found)

    @classmethod
    def from_module(
        cls, module: nn.Module, labels: LabelSet | Sequence[str], preprocessing: PreprocessConfig,
        features: Callable[[Tensor], Tensor], head: Callable[[Tensor], Tensor], *,
        grid: Callable[[Tensor], Tensor] | None = None, name: str = "module",
        device: str = "auto",
    ) -> Self:  # fmt: skip
        """Wrap a network of your own, to predict and explain with it.

        The network is tried with images of noise. It answers in evaluation mode and with its
        current weights, and its train flags stay as they are: train it and use it in turns.

        Args:
            module: holds all weights; images are cast to their type, and are contiguous in memory.
                Explanations of half precision are made by a float32 copy.
            labels: label codes in logit order.
            preprocessing: what the network expects.
            features: method or submodule: images ``(N, 3, H, W)`` → features.
            head: method or submodule: features → logits ``(N, K)``. A module that it or
                ``features`` names and ``module`` does not hold is put into evaluation mode as well.
            grid: features → ``(N, C, h, w)``, as a view of them, for class activation maps, where
                the features are no such map: ``lambda x: x.permute(0, 3, 1, 2)``, for example.
            name: for `model`.
            device: as in `from_pretrained`.

        Raises:
            OptionError: an argument of another kind.
            ModelError: features or a head that raise, or a head that does not return logits.
            NonFiniteOutputError: logits that are NaN or infinite.

        Warns:
            SkinxaiWarning: rows that sum to 1 already, as after a softmax, or come from a sigmoid,
                in head or in ``module``; a head of features that differs from what
                ``module(images)`` returns; or answers that depend on the batch.
        """
        from skinxai.checkpoints import wrapping

        loaded = wrapping.wrapped(module, labels, preprocessing, features, head, grid, name)
        made = cls(loaded, device=device)
        if note := wrapping.try_out(loaded):
            warnings.warn(note, SkinxaiWarning, stacklevel=2)
        return made

    @property
    def torch_predictor(self) -> TorchPredictor:
        """Torch's networks, for tools that measure or export; an exported file has none."""
        return self._in_use.torch_predictor

    @property
    def _loaded(self) -> LoadedModel | LoadedEnsemble:
        return self._in_use.loaded

    @property
    def labels(self) -> tuple[str, ...]:
        """Label codes in logit order."""
        return self.config.labels.codes

    @property
    def config(self) -> ModelConfig | EnsembleConfig:
        """Frozen config; an ensemble's has its label set and its members."""
        return self._in_use.config

    @property
    def model(self) -> str:
        """``name@revision``; the revision is a digest of every file.

        After `from_module` and `calibrate` it is ``unsaved``: no folder answers like this.
        """
        return self._in_use.described.model

    @property
    def card(self) -> str:
        """The model card, Markdown."""
        return self._in_use.card

    @property
    def trained_on(self) -> TrainedOn | None:
        """Hashes of the training images, ``None`` where the model, or a member, does not say."""
        return self._loaded.trained_on

    @property
    def calibration(self) -> Calibration | None:
        """What `calibrate` fitted: temperature and operating points; ``None`` where it did not."""
        return self._in_use.described.calibration

    @property
    def reference(self) -> ReferenceSample | None:
        """What answers look like while nothing has drifted; made by `calibrate`, else ``None``."""
        return self._in_use.reference

    @property
    def neighbours(self) -> Neighbours | None:
        """Embeddings of the training lesions, where the model has them; see `index`."""
        return self._loaded.neighbours

    @property
    def network(self) -> SkinClassifier:
        """The torch module; after a change to it, the classifier refuses to answer and to be saved.

        Answers come from a copy of it (`folded`). Changes through ``.data`` are not noticed.

        Raises:
            ModelError: an ensemble, which has several.
        """
        return self.torch_predictor.single("Classifier.network").network

    @property
    def num_parameters(self) -> int:
        """Number of weights, of all members together."""
        networks = [member.network for member in self.torch_predictor.members]
        return sum(weight.numel() for network in networks for weight in network.parameters())

    @property
    def backend(self) -> str:
        """What predicts, e.g. ``"torch cpu float32"``."""
        return self._in_use.described.backend

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, labels={list(self.labels)})"

    def with_graph(self, images: Any = None, **inputs: Unpack[Inputs]) -> Self:
        """Return the same model with a graph, for the backends ``"onnx"`` and ``"openvino"``.

        Args:
            images: real images for the comparison with torch; by default the sample images.
            **inputs: input options; ``on_error`` must be ``"raise"``.

        Raises:
            ExportError: a network that cannot be exported, or a graph with other labels, or whose
                probabilities, embeddings or Grad-CAM differ by more than 0.001.
            ModelError: an ensemble: give its members graphs.
            OptionError: the packages that write a graph are not installed.
        """
        from skinxai.exporting.exported_files import checked_graph
        from skinxai.exporting.parity import PARITY

        self.torch_predictor.single("with_graph()")
        options, _ = InputOptions.take(asdict(PARITY) | inputs)
        (loaded,) = self._loaded.members
        many = None if images is None else list(iter_sources(images)[1])
        made = checked_graph(self.torch_predictor, loaded, many, options)
        return self._of(self._in_use.with_loaded(made))

    def export(
        self, path: str | os.PathLike[str], *, format: str | None = None, images: Any = None,
        **inputs: Unpack[Inputs],
    ) -> Parity:  # fmt: skip
        """Write the model as one file for other programs, after a comparison with torch.

        It takes ``images``, float32 ``(N, 3, H, W)`` as `PreprocessConfig` says, and gives
        ``logits`` ``(N, K)`` and, where the head is the mean over space and a linear layer,
        ``class_activation_maps`` ``(N, K, h, w)``, whose positive part is Grad-CAM.

        Args:
            path: ``*.onnx``, or ``*.xml`` for OpenVINO, which puts a ``*.bin`` beside it.
            format: ``"onnx"`` or ``"openvino"``, for a path without a suffix.
            images: real images for the comparison; by default the sample images.
            **inputs: input options; ``on_error`` must be ``"raise"``.

        Returns:
            How much its answers differ.

        Raises:
            ExportError: as in `with_graph`; nothing is written.
            ModelError: an ensemble.
            OptionError: another suffix or format, or packages that are not installed.
            OutputError: the file cannot be written.

        Warns:
            SkinxaiWarning: a calibrated model, whose file is not.
        """
        from skinxai.exporting.exported_files import export
        from skinxai.exporting.parity import PARITY

        self.torch_predictor.single("export()")
        options, _ = InputOptions.take(asdict(PARITY) | inputs)
        (loaded,) = self._loaded.members
        many = None if images is None else iter_sources(images)[1]
        parity = export(self.torch_predictor, loaded, Path(path), many, format, options)
        if loaded.calibration is not None:
            warnings.warn(
                "the exported file has no calibration: its probabilities are the softmax of the "
                "logits, and it decides nothing; a model folder with a graph keeps both.",
                SkinxaiWarning, stacklevel=2,
            )  # fmt: skip
        return parity

    def save_pretrained(self, folder: str | os.PathLike[str], *, name: str | None = None) -> str:
        """Write the model folder, or the ensemble's with all members, and return its revision.

        Args:
            folder: created where it does not exist.
            name: a new name for the model.

        Raises:
            ModelError: the network's builder is no registered backbone, or the network was changed
                after it was loaded.
            OutputError: the folder cannot be written.
        """
        self._in_use.check_unchanged()
        return self._loaded.save(os.fspath(folder), name)

    def push_to_hub(
        self, repo_id: str, *, private: bool = False, revision: str | None = None,
        evaluation: Evaluation | None = None, message: str = "Upload a skinxai model",
        token: str | None = None,
    ) -> str:  # fmt: skip
        """Upload the model folder to the Hugging Face Hub, in one commit, and return its name.

        The card gets the Hub's metadata, where it has none, and the lines that load the model.
        Files of an earlier upload that this model does not have are removed from the branch.

        Args:
            repo_id: ``"org/name"``; made where it does not exist.
            private: of a new repository; one that is public already is refused.
            revision: branch; made where it does not exist.
            evaluation: on images that took no part in training, whose figures the card gets: those
                for the Hub's pages, and the tables of `skinxai.reporting.card_of`.
            message: of the commit.
            token: that may write; ``HF_TOKEN`` or the one of ``hf auth login`` by default.

        Returns:
            ``"org/name@commit"``, which `from_pretrained` takes.

        Raises:
            HubError: the Hub does not answer, or refuses.
            ModelError: a network that cannot be saved, as in `save_pretrained`.
            OptionError: an evaluation of another model, or for a card that has metadata already;
                ``private`` for a public repository, or a name that it cannot have.
            LeakageError: an evaluation on images that were in training.
        """
        from skinxai.model_folders.hub_metadata import with_metadata
        from skinxai.model_folders.uploading import upload_saved
        from skinxai.reporting.card_changes import with_evaluation

        check_flags(private=private)
        self._in_use.check_unchanged()
        members = [member.config for member in self._loaded.members]
        text = self.card if evaluation is None else with_evaluation(self.card, evaluation)
        card = with_metadata(text, self.model, members, repo_id, evaluation, revision)
        save = replace(self._loaded, card=card).save
        return upload_saved(
            save, repo_id, private=private, revision=revision, message=message, token=token
        )
