"""`Classifier`: the face of everything else. Imports no torch until a model is loaded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np
import numpy.typing as npt

from skinxai.configs import EnsembleConfig, ModelConfig, PreprocessConfig
from skinxai.data.records import Records
from skinxai.errors import SkinxaiWarning
from skinxai.explaining.choosing import explained
from skinxai.explaining.explain_options import ExplainOptions
from skinxai.explaining.signatures import as_explain, as_nearest, as_predict, as_stream
from skinxai.images.sources import iter_sources
from skinxai.labels import LabelSet
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.predicting.in_use import ModelInUse, ModelName
from skinxai.predicting.inputs import InputOptions, several
from skinxai.predicting.predictor import predictions
from skinxai.results import Evaluation, ItemError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from skinxai.backbones.network import SkinClassifier
    from skinxai.checkpoints import LoadedEnsemble, LoadedModel
    from skinxai.exporting.onnx_graphs import Parity
    from skinxai.model_folders.neighbours import Neighbours
    from skinxai.predicting.inputs import Inputs
    from skinxai.predicting.torch_predictor import TorchPredictor


class Classifier:
    """One trained model, or an ensemble of several, and everything that is needed to use it.

    Make one with `from_pretrained`. Threads may share it: nothing is changed.

    A research tool, not a medical device.
    """

    def __init__(self, loaded: LoadedModel | LoadedEnsemble, *, device: str = "auto") -> None:
        self._in_use = ModelInUse.of_loaded(loaded, device)

    @classmethod
    def _of(cls, parts: ModelInUse) -> Self:
        made = cls.__new__(cls)
        made._in_use = parts
        return made

    @property
    def torch_predictor(self) -> TorchPredictor:
        """Torch's networks, for tools that measure or export; an exported file has none."""
        return self._in_use.torch_predictor

    @property
    def _loaded(self) -> LoadedModel | LoadedEnsemble:
        return self._in_use.loaded

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
            backend: ``"torch"``, ``"onnx"``, ``"openvino"``, or ``"auto"`` (OpenVINO where it is
                installed and the model has a graph, see `with_graph`). By default torch, or the
                runtime that an exported file's suffix names.
            precision: of predictions: ``"float32"``; ``"bfloat16"``, by torch or OpenVINO; or
                ``"float16"`` on CUDA. The last two move probabilities by some hundredths.
                Explanations are always computed in float32.
            compile: compile the network for predictions, which takes a minute and a C++ compiler.
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
        opened = ModelInUse.opened(
            model, revision=revision, device=device, backend=backend, precision=precision,
            compiled=compile, check=check,
            hub={"cache_dir": cache_dir, "local_files_only": local_files_only, "token": token},
        )  # fmt: skip
        return cls._of(opened)

    @classmethod
    def from_module(
        cls, module: nn.Module, labels: LabelSet | Sequence[str], preprocessing: PreprocessConfig,
        features: Callable[[Tensor], Tensor], head: Callable[[Tensor], Tensor], *,
        grid: Callable[[Tensor], Tensor] | None = None, name: str = "module",
        device: str = "auto",
    ) -> Self:  # fmt: skip
        """Wrap a network of your own, to predict and explain with it.

        The network is tried once, with an image of noise. It answers in evaluation mode and with
        its current weights, and its train flags stay as they are: train it and use it in turns.

        Args:
            module: holds all weights; images are cast to their type. Explanations of half
                precision are made by a float32 copy.
            labels: label codes in logit order.
            preprocessing: what the network expects.
            features: method or submodule: images ``(N, 3, H, W)`` → features.
            head: method or submodule: features → logits ``(N, K)``.
            grid: features → ``(N, C, h, w)``, as a view of them, for class activation maps, where
                the features are no such map: ``lambda x: x.permute(0, 3, 1, 2)``, for example.
            name: for `model`.
            device: as in `from_pretrained`.

        Raises:
            OptionError: an argument of another kind.
            ModelError: features or a head that raise, or a head that does not return logits.
            NonFiniteOutputError: logits that are NaN or infinite.

        Warns:
            SkinxaiWarning: rows that sum to 1 already, as after a softmax; or a head of features
                that differs from what ``module(images)`` returns.
        """
        from skinxai.checkpoints import wrapping

        loaded = wrapping.wrapped(module, labels, preprocessing, features, head, grid, name)
        made = cls(loaded, device=device)
        if note := wrapping.try_out(loaded):
            warnings.warn(note, SkinxaiWarning, stacklevel=2)
        return made

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
        """``name@revision``; the revision is a digest of every file."""
        return self._in_use.predictor.model

    @property
    def card(self) -> str:
        """The model card, Markdown."""
        return self._in_use.card

    @property
    def trained_on(self) -> TrainedOn | None:
        """Hashes of the training images, ``None`` where the model, or a member, does not say."""
        return self._loaded.trained_on

    @property
    def neighbours(self) -> Neighbours | None:
        """Embeddings of the training lesions, where the model has them; see `index`."""
        return self._loaded.neighbours

    @property
    def network(self) -> SkinClassifier:
        """The torch module; after a change to it, the classifier refuses to answer.

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
        return self._in_use.predictor.backend

    def __repr__(self) -> str:
        return f"Classifier(model={self.model!r}, labels={list(self.labels)})"

    @as_predict
    def predict(self, images: Any, *, tta: bool = False, **inputs: Any) -> Any:
        """Predict class probabilities; an ensemble returns the weighted mean of its members'.

        Args:
            images: one image (a path, bytes, a file object, a PIL image, a NumPy array or a
                torch tensor), or many: a folder, a glob, a list or any iterable of images.
            tta: average over the four flips of each image; four times the time.
            **inputs: see `skinxai.predicting.inputs.InputOptions`.

        Returns:
            A `Prediction`, or a list in the images' order, with an `ItemError` in the place of
            each bad one where ``on_error="return"``.

        Raises:
            InputError: an image that cannot be used.
            NonFiniteOutputError: the network's logits are not finite.
        """
        options, _ = InputOptions.take(inputs)
        single, many, _ = several(images, options.progress)
        results = list(predictions(self._in_use.predictor, many, options, tta=tta))
        return results[0] if single else results

    @as_stream
    def stream(
        self, images: Any, *, explain: str | None = None, tta: bool = False, **inputs: Any
    ) -> Iterator[Any]:
        """Predict one image after the other, lazily and in constant memory.

        Args:
            images: as in `predict`.
            explain: a method; then pairs ``(Prediction, Explanation)`` are yielded, and an
                `ItemError` alone for a bad image.
            tta: as in `predict` and `explain`.
            **inputs: input options; with ``explain`` also those of `explain` and of the method.
        """
        if explain is None:
            options, _ = InputOptions.take(inputs)
            many = several(images, options.progress)[1]
            return predictions(self._in_use.predictor, many, options, tta=tta)
        asked, rest = ExplainOptions.take(inputs | {"tta": tta}, "isolate")
        return explained(self._in_use, images, explain, asked, rest)[1]

    @as_explain
    def explain(
        self, images: Any, method: str = "gradcam", *, target: str | Sequence[str] | None = None,
        against: str | None = None, score: str = "logit", all_classes: bool = False,
        tta: bool = False, timeout: float | None = None, isolate: str | None = None,
        **inputs_and_options: Any,
    ) -> Any:  # fmt: skip
        """Explain why an image got the score of a class.

        Of an ensemble, every member explains the same class, and the maps are averaged with the
        members' weights in pixels of the source; ``options["ensemble"]`` of the result says so.
        A graph computes Grad-CAM of a logit itself, torch all else; ``backend`` says which did.

        Args:
            images: as in `predict`.
            method: name in `skinxai.explainers`.
            target: a label, one label for each image, or ``None`` for each image's top class.
            against: a label whose score is subtracted; without a target, the top class among the
                others is explained.
            score: ``"logit"``, uncalibrated, or ``"probability"``, as `predict` returns it; of an
                ensemble, the weighted mean of its members'.
            all_classes: explain every class: a dict label → `Explanation` for each image.
            tta: explain the mean score of the four flips: the maps are flipped back and averaged.
            timeout: seconds for one batch, after which no further network pass begins.
            isolate: ``"process"``: in a new process, which a plugin may crash without harm.
            **inputs_and_options: input options, and the method's own.

        Returns:
            An `Explanation` (or dict) for one image; a list in the images' order for many.

        Raises:
            UnknownNameError: no such method or label.
            OptionError: an unknown option.
            ExplainError: the network or the method cannot explain this.
            ExplainTimeoutError: the time is up; the error has the predictions.
            PluginError: a plugin's method that raised, broke its contract or ended its process.
        """
        asked = ExplainOptions(target, against, score, all_classes, tta, timeout)
        if isolate is not None:
            from skinxai.explaining.isolation import explain_in_process

            keywords = vars(asked) | inputs_and_options
            del keywords["isolate"]  # the new process must not start another
            return explain_in_process(self.explain, isolate, images, method, **keywords)
        single, found = explained(self._in_use, images, method, asked, inputs_and_options)
        results = [item if isinstance(item, ItemError) else item[1] for item in found]
        return results[0] if single else results

    def compare(
        self, image: Any, methods: Sequence[str] | None = None, *,
        targets: Sequence[str] | None = None, method: str = "gradcam", columns: int = 4,
        alpha: float = 0.5, uniform: bool = False, **inputs_and_options: Any,
    ) -> Image.Image:  # fmt: skip
        """Draw one image and several explanations of it side by side.

        Args:
            image: one, as in `predict`.
            methods: names in `skinxai.explainers`, each of which explains the same class.
            targets: labels, each of which ``method`` explains. Give either this or ``methods``.
            method: the method that explains ``targets``.
            columns: most panels in a row.
            alpha: of the overlays, as in `Explanation.overlay`.
            uniform: of the overlays, as there.
            **inputs_and_options: input options, keywords of `explain`, and the methods' own.

        Returns:
            A PIL image. Each map is drawn from its own minimum to its own maximum, which its bar
            names, so that colours of two panels cannot be compared.

        Raises:
            OptionError: several images, both or neither of ``methods`` and ``targets``, an option
                that no method has, or a method without a map.
            UnknownNameError: no such method or label.
        """
        from skinxai.explaining.side_by_side import explanations_of_one, questions
        from skinxai.results import compare

        asked = questions(methods, targets, method, inputs_and_options)
        found = explanations_of_one(self.explain, image, asked)
        return compare(found, columns=columns, alpha=alpha, uniform=uniform)

    def embed(self, images: Any, **inputs: Unpack[Inputs]) -> npt.NDArray[np.float32]:
        """Compute the pooled features of a single model: float32 ``(N, D)``, a row for each image.

        Args:
            images: as in `predict`.
            **inputs: input options; ``on_error`` must be ``"raise"``.

        Raises:
            ModelError: an ensemble: its members have features of their own.
        """
        from skinxai.predicting.torch_predictor import embeddings

        options, _ = InputOptions.take(inputs)
        return embeddings(self.torch_predictor, several(images, options.progress)[1], options)

    def index(self, records: Records, *, dimensions: int = 192, **inputs: Unpack[Inputs]) -> Self:
        """Return the same model with embeddings of its training lesions, for `nearest`.

        Args:
            records: the images it was trained on; the first of each lesion is taken.
            dimensions: principal components to keep, in eight bits each; fewer make a smaller
                file and find fewer of the true neighbours.
            **inputs: input options.

        Raises:
            OptionError: images that the model says it was not trained on.
            ModelError: an ensemble.
        """
        from skinxai.explaining.by_example import index

        self.torch_predictor.single("index()")
        options, _ = InputOptions.take(inputs)
        found = index(self.torch_predictor, records, self.trained_on, options, dimensions)
        (loaded,) = self._loaded.members
        return self._of(self._in_use.with_loaded(replace(loaded, neighbours=found)))

    def with_graph(self, images: Any = None, **inputs: Unpack[Inputs]) -> Self:
        """Return the same model with a graph, for the backends ``"onnx"`` and ``"openvino"``.

        Args:
            images: real images for the comparison with torch; by default the sample images.
            **inputs: input options; ``on_error`` must be ``"raise"``.

        Raises:
            ExportError: a network that cannot be exported, or a graph with other labels, or whose
                probabilities or Grad-CAM differ by more than 0.001.
            ModelError: an ensemble: give its members graphs.
            OptionError: the packages that write a graph are not installed.
        """
        from skinxai.exporting.onnx_graphs import PARITY, checked_graph

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
        """
        from skinxai.exporting.onnx_graphs import PARITY, export

        self.torch_predictor.single("export()")
        options, _ = InputOptions.take(asdict(PARITY) | inputs)
        (loaded,) = self._loaded.members
        many = None if images is None else iter_sources(images)[1]
        return export(self.torch_predictor, loaded, Path(path), many, format, options)

    @as_nearest
    def nearest(
        self, images: Any, k: int = 5, *, records: Records | None = None, **inputs: Any
    ) -> Any:
        """Find the training lesions that the network finds most similar to an image.

        Args:
            images: as in `predict`.
            k: how many lesions.
            records: training images, to find the lesions' pictures; without them a neighbour's id
                is a hash of its pixels.
            **inputs: input options.

        Returns:
            A list of k `Neighbour`, nearest first, or a list of such lists for many images.

        Raises:
            ModelError: an ensemble, or a model without embeddings of its lesions (`index`).
            OptionError: k below 1 or above the number of lesions.
        """
        from skinxai.explaining.by_example import nearest

        options, _ = InputOptions.take(inputs)
        single, many, _ = several(images, options.progress)
        found = nearest(self.torch_predictor, self.neighbours, many, options, k, records)
        return found[0] if single else found

    def evaluate(
        self, records: Records, *, resamples: int = 2000, seed: int = 0, tta: bool = False,
        not_copies: Collection[str] = (), **inputs: Unpack[Inputs],
    ) -> Evaluation:  # fmt: skip
        """Predict labelled images and evaluate the answers; intervals are clustered by lesion.

        The evaluation is marked as leaked where one of ``records`` is an image that the model was
        trained on, or looks like a copy of one; ``seen`` names them, and says what is not known.

        Args:
            records: images that took no part in training or tuning.
            resamples: bootstrap resamples of the lesions.
            seed: of the resampling.
            tta: as in `predict`.
            not_copies: ids of images that are wrongly taken for copies; look at them first.
            **inputs: input options; ``on_error`` must be ``"raise"``.

        Raises:
            OptionError: records with other labels, or an id in ``not_copies`` that is none.
            InputError: an image that cannot be read.

        Warns:
            SkinxaiWarning: records of several parts of the split that their data came with.
        """
        from skinxai.predicting.judging import judge

        options, _ = InputOptions.take(inputs)
        return judge(
            self._in_use, records, options, resamples=resamples, seed=seed, tta=tta,
            not_copies=not_copies,
        )  # fmt: skip

    def save_pretrained(self, folder: str | os.PathLike[str], *, name: str | None = None) -> str:
        """Write the model folder, or the ensemble's with all members, and return its revision.

        Args:
            folder: created where it does not exist.
            name: a new name for the model.

        Raises:
            ModelError: the network's builder is no registered backbone.
            OutputError: the folder cannot be written.
        """
        return self._loaded.save(os.fspath(folder), name)

    def push_to_hub(
        self, repo_id: str, *, private: bool = False, revision: str | None = None,
        evaluation: Evaluation | None = None, message: str = "Upload a skinxai model",
        token: str | None = None,
    ) -> str:  # fmt: skip
        """Upload the model folder to the Hugging Face Hub, in one commit, and return its name.

        The card gets the Hub's metadata and the lines that load the model, where it has none.

        Args:
            repo_id: ``"org/name"``; made where it does not exist.
            private: of a new repository.
            revision: branch; made where it does not exist.
            evaluation: on images that took no part in training, for the card.
            message: of the commit.
            token: that may write; ``HF_TOKEN`` or the one of ``hf auth login`` by default.

        Returns:
            ``"org/name@commit"``, which `from_pretrained` takes.

        Raises:
            HubError: the Hub does not answer, or refuses.
            ModelError: a network that cannot be saved.
            OptionError: an evaluation of another model, or for a card that has metadata already.
            LeakageError: an evaluation on images that were in training.
        """
        from skinxai.model_folders.uploading import upload_saved, with_metadata

        members = [member.config for member in self._loaded.members]
        card = with_metadata(self.card, self.model, members, repo_id, evaluation)
        save = replace(self._loaded, card=card).save
        return upload_saved(
            save, repo_id, private=private, revision=revision, message=message, token=token
        )
