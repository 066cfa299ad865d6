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
        """Torch's networks with their preprocessing, for tools that measure or export a model.

        Raises:
            ModelError: an exported file, which has no network.
        """
        return self._in_use.torch_predictor

    @property
    def _loaded(self) -> LoadedModel | LoadedEnsemble:
        return self._in_use.loaded

    @classmethod
    def from_pretrained(
        cls,
        model: ModelName | list[ModelName] | tuple[ModelName, ...] = None,
        *,
        revision: str | None = None,
        device: str = "auto",
        backend: str | None = None,
        precision: str = "float32",
        compile: bool = False,
        check: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> Self:
        """Load a model, after every file was checked against its manifest.

        Args:
            model: ``None`` or ``"bundled"`` for the bundled model, the folder of a model or of an
                ensemble (`skinxai.model_folders.ensembles.write_ensemble`), or ``"org/name"`` or
                ``"org/name@revision"`` on the Hugging Face Hub; also a file that `export` wrote.
                A list of folders and names is an ensemble: the mean of their probabilities, each
                with the same weight.
            revision: of a repository of the Hub: a commit of 40 digits, a tag or a branch, which
                may change and warns. Of a folder: refuse a model of another revision (a prefix
                of the manifest's digest).
            device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"`` …
            backend: the runtime that predicts: ``"torch"``, ``"onnx"``, ``"openvino"``, or
                ``"auto"`` (OpenVINO if it is installed and the model has a graph, else torch). The
                default is torch, or for an exported file the runtime that its suffix names: ONNX
                Runtime for ``.onnx``, OpenVINO for ``.xml``. ONNX Runtime and OpenVINO need a
                model with a graph (`with_graph`), compute on the processor, and import torch only
                when something needs it. Every result names its backend.
            precision: of predictions: ``"float32"``; ``"bfloat16"``, through torch or OpenVINO,
                which is faster where the processor supports it; or ``"float16"`` on CUDA. The last
                two change the answers: bfloat16 moves the bundled model's probabilities by a few
                hundredths. Explanations are always computed in float32.
            compile: compile the network for predictions with ``torch.compile``. This takes a
                minute when the model is loaded, and needs a C++ compiler. Copies and pickled
                classifiers are not compiled.
            check: compare the model's answer for a drawn picture with the answer that was stored
                when it was saved (``probe.json``), to see whether the packages of this machine
                build the same network.
            cache_dir: where downloads are kept; the Hub's own cache by default.
            local_files_only: never use the network.
            token: of the Hugging Face Hub; ``HF_TOKEN`` by default.

        Raises:
            ModelNotFoundError: no such model.
            HubError: the Hub does not answer, or not as it should.
            IntegrityError: a damaged or changed model, or another revision.
            UnsafeFormatError: pickled weights.
            ModelError: a backend that needs a graph, of a model without one; with ``check``, a
                probability that differs by more than 0.001, or a model that keeps no answer.
            ModelConfigError: models of a list with different labels.
            OptionError: an unknown backend, or one whose package is not installed; a device that
                this machine does not have.
        """
        opened = ModelInUse.opened(
            model, revision=revision, device=device, backend=backend, precision=precision,
            compiled=compile, check=check,
            hub={"cache_dir": cache_dir, "local_files_only": local_files_only, "token": token},
        )  # fmt: skip
        return cls._of(opened)

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        labels: LabelSet | Sequence[str],
        preprocessing: PreprocessConfig,
        features: Callable[[Tensor], Tensor],
        head: Callable[[Tensor], Tensor],
        *,
        grid: Callable[[Tensor], Tensor] | None = None,
        name: str = "module",
        device: str = "auto",
    ) -> Self:
        """Wrap a network of your own, to predict and explain with it.

        The network is tried once, with an image of noise. It always answers in evaluation mode and
        with its current weights, whatever its train flags are. The flags stay as they are and no
        statistics are written, so that you can train the network and use it in turns (not at the
        same time).

        Args:
            module: holds all weights; images are cast to their type. Half precision predicts;
                explanations are made by a float32 copy, which needs features and head that are
                methods or submodules.
            labels: label codes in logit order.
            preprocessing: what the network expects.
            features: method or submodule: images ``(N, 3, H, W)`` → features.
            head: method or submodule: features → logits ``(N, K)``.
            grid: features → ``(N, C, h, w)``, as a view of them, for class activation maps;
                needed where the features are not such a map already, such as
                ``lambda features: features.permute(0, 3, 1, 2)`` where the channels come last.
            name: for `model`.
            device: as in `from_pretrained`.

        Raises:
            OptionError: an argument of another kind, such as torchvision's transforms as
                ``preprocessing``.
            ModelError: features or a head that raise, or a head that returns something other than
                logits: a tuple, a dict, another number of classes.
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
        """Frozen config: label set, preprocessing, backbone, training data, licence.

        That of an ensemble has the label set, and the members' folders, revisions and weights.
        """
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
        """Hashes of the images that the weights were trained on: ``pixel_hash in trained_on``.

        ``None`` where the model folder does not say. Of an ensemble: the members' together, and
        ``None`` where one of them does not say.
        """
        return self._loaded.trained_on

    @property
    def neighbours(self) -> Neighbours | None:
        """Embeddings of the training lesions, where the model has them; see `index`."""
        return self._loaded.neighbours

    @property
    def network(self) -> SkinClassifier:
        """The torch module: do not change it.

        Predictions and explanations come from a copy whose weights need no gradient, and in which
        batch normalisation is folded into the convolutions before it (`folded`). After a change
        to this module the copy refuses to answer; a change through ``.data`` is not noticed,
        because torch hides it. A network given to `from_module` answers itself, in evaluation
        mode.

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
            A `Prediction` for one image; a list in the images' order for many, with an
            `ItemError` in the place of each bad one where ``on_error="return"``.

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
            explain: name of a method; then pairs ``(Prediction, Explanation)`` are yielded, and
                an `ItemError` alone for a bad image.
            tta: as in `predict` and `explain`.
            **inputs: input options; with ``explain`` also the method's own options, and
                ``target``, ``against``, ``score``, ``all_classes`` and ``timeout`` of `explain`.
        """
        if explain is None:
            options, _ = InputOptions.take(inputs)
            many = several(images, options.progress)[1]
            return predictions(self._in_use.predictor, many, options, tta=tta)
        asked, rest = ExplainOptions.take(inputs | {"tta": tta}, "isolate")
        return explained(self._in_use, images, explain, asked, rest)[1]

    @as_explain
    def explain(
        self,
        images: Any,
        method: str = "gradcam",
        *,
        target: str | Sequence[str] | None = None,
        against: str | None = None,
        score: str = "logit",
        all_classes: bool = False,
        tta: bool = False,
        timeout: float | None = None,
        isolate: str | None = None,
        **inputs_and_options: Any,
    ) -> Any:
        """Explain why an image got the score of a class.

        Of an ensemble, every member explains the same class, by default the one with the
        ensemble's highest probability, and the maps are averaged with the members' weights in
        pixels of the source. The score is the weighted mean of the members' logits (whose order
        may differ from that of the mean probabilities) or, with ``score="probability"``, the
        mean probability that `predict` returns. Both are linear in the members, so the mean of
        their maps is the map of that score for methods that are linear in the gradient, such as
        integrated gradients; Grad-CAM sets negative values of each member's map to zero before.
        The result's ``options["ensemble"]`` says what was averaged.

        Backends other than torch compute Grad-CAM of a logit themselves, if their graph has class
        activation maps. Everything else is predicted and explained by torch; the result's
        ``backend`` says which did.

        Args:
            images: as in `predict`.
            method: name in `skinxai.explainers`.
            target: a label, one label for each image, or ``None`` for each image's top class.
            against: a label whose score is subtracted, to ask why the target rather than this
                label. Without a target, the top class among the others is explained.
            score: ``"logit"``, uncalibrated, or ``"probability"``.
            all_classes: explain every class: a dict label → `Explanation` for each image.
            tta: explain the mean score of the four flips: the four maps are flipped back and
                averaged. With ``score="probability"`` it is what `predict` returns with ``tta``.
            timeout: seconds for one batch, after which no further network pass begins.
            isolate: ``"process"`` explains in a new process, so that a plugin that crashes or
                ends its process does not harm this one. It takes some seconds more.
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
            del keywords["isolate"]  # there is no third process
            return explain_in_process(self.explain, isolate, images, method, **keywords)
        single, found = explained(self._in_use, images, method, asked, inputs_and_options)
        results = [item if isinstance(item, ItemError) else item[1] for item in found]
        return results[0] if single else results

    def compare(
        self,
        image: Any,
        methods: Sequence[str] | None = None,
        *,
        targets: Sequence[str] | None = None,
        method: str = "gradcam",
        columns: int = 4,
        alpha: float = 0.5,
        uniform: bool = False,
        **inputs_and_options: Any,
    ) -> Image.Image:
        """Draw one image and several explanations of it side by side.

        Args:
            image: one, as in `predict`.
            methods: names in `skinxai.explainers`, each of which explains the same class.
            targets: labels, each of which ``method`` explains. Give either this or ``methods``.
            method: the method that explains ``targets``.
            columns: most panels in a row.
            alpha: of the overlays, as in `Explanation.overlay`.
            uniform: of the overlays, as there.
            **inputs_and_options: input options, keywords of `explain` (``target``, ``against``,
                ``score``, ``tta``, ``timeout``, ``isolate``), and the methods' own options, each
                of which goes to the methods that have it.

        Returns:
            A PIL image. Colours of two panels cannot be compared: each map is drawn from its own
            minimum to its own maximum, which its bar names.

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
        """Compute the pooled features of a single model, one row for each image.

        Args:
            images: as in `predict`.
            **inputs: input options; ``on_error`` must be ``"raise"``.

        Returns:
            float32 ``(N, D)``; one image gives ``(1, D)``.

        Raises:
            ModelError: an ensemble: its members have features of their own.
        """
        from skinxai.predicting.torch_predictor import embeddings

        options, _ = InputOptions.take(inputs)
        return embeddings(self.torch_predictor, several(images, options.progress)[1], options)

    def index(self, records: Records, *, dimensions: int = 192, **inputs: Unpack[Inputs]) -> Self:
        """Return the same model with embeddings of its training lesions, for `nearest`.

        `save_pretrained` writes them to ``neighbours.safetensors``: one vector for each lesion,
        projected on the first principal components, in eight bits.

        Args:
            records: the images it was trained on; the first of each lesion is taken.
            dimensions: number of components to keep; fewer make a smaller file and find fewer of
                the true neighbours.
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

        `save_pretrained` writes it to ``graph.safetensors``, which holds the operations without
        the weights; these stay in ``model.safetensors``. The graph is compared with torch in each
        installed backend: the labels must be the same, and probabilities and Grad-CAM must agree
        within 0.001.

        Args:
            images: real images for the comparison; by default the sample images.
            **inputs: input options; ``on_error`` must be ``"raise"``.

        Raises:
            ExportError: a network that cannot be exported, or whose graph answers otherwise.
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

        Its input is ``images``, float32 ``(N, 3, H, W)`` as `PreprocessConfig` says; its outputs
        are ``logits`` ``(N, K)`` and, where the network's head is the mean over space and a linear
        layer, ``class_activation_maps`` ``(N, K, h, w)``: their positive part is Grad-CAM. Labels,
        preprocessing and the model's name are in the metadata, and `from_pretrained` takes it.

        Args:
            path: ``*.onnx``, or ``*.xml`` for OpenVINO, which puts a ``*.bin`` beside it.
            format: ``"onnx"`` or ``"openvino"`` for a path without a suffix, to which ``.onnx`` or
                ``.xml`` is added; ``None``: the suffix names it.
            images: real images for the comparison; by default the sample images.
            **inputs: input options; ``on_error`` must be ``"raise"``.

        Returns:
            How much its answers differ.

        Raises:
            ExportError: a network that cannot be exported, or probabilities or Grad-CAM that
                differ by more than 0.001, or other labels; nothing is written.
            ModelError: an ensemble.
            OptionError: another suffix, a format that is not the suffix's, or the packages that
                write it are not installed.
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
            records: training images, to find the lesions' pictures; without them a neighbour has
                a label, a distance and, as its id, a hash of its pixels.
            **inputs: input options.

        Returns:
            A list of k `Neighbour`, nearest first, for one image; a list of such lists for many.

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

        If the model records which images it was trained on, and one of ``records`` is among them
        or looks like a copy of one of them (re-encoded, resized, turned, cropped to 70 % of the
        area or of another brightness), the evaluation is marked as leaked and ``seen`` names the
        images. ``seen.notes`` says what could not be looked for.

        Args:
            records: images that took no part in training or tuning.
            resamples: bootstrap resamples of the lesions.
            seed: of the resampling.
            tta: as in `predict`.
            not_copies: ids of images that are wrongly taken for copies of training images. Look at
                them first. Images with the pixels of a training image count in any case.
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
        self,
        repo_id: str,
        *,
        private: bool = False,
        revision: str | None = None,
        evaluation: Evaluation | None = None,
        message: str = "Upload a skinxai model",
        token: str | None = None,
    ) -> str:
        """Upload the model folder to the Hugging Face Hub, in one commit.

        The card gets what the Hub reads (library, task, licence, training data, base model, the
        evaluation's figures) and the lines that load the model, where it has none yet.

        Args:
            repo_id: ``"org/name"``; made where it does not exist.
            private: of a new repository.
            revision: branch; made where it does not exist.
            evaluation: on images that took no part in training.
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
