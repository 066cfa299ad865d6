"""`Classifier`: the face of everything else. Imports no torch until a model is loaded."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np
import numpy.typing as npt

from skinxai.data.records import Records
from skinxai.errors import OptionError
from skinxai.explaining.choosing import explained
from skinxai.explaining.explain_options import ExplainOptions
from skinxai.explaining.signatures import as_explain, as_nearest, as_predict, as_stream
from skinxai.model import Model
from skinxai.predicting.inputs import InputOptions, Prepared, keywords_of, prepared_batches, several
from skinxai.results import Evaluation, ItemError

if TYPE_CHECKING:
    from PIL import Image

    from skinxai.predicting.inputs import AnyInputs, Inputs
    from skinxai.reporting.case_report import CaseReport
    from skinxai.results.observation import Monitor


class Classifier(Model):
    """One trained model, or an ensemble of several, and everything that is needed to use it.

    Make one with `from_pretrained`. Threads may share it: nothing is changed.

    A research tool, not a medical device.
    """

    @as_predict
    def predict(
        self, images: Any, *, tta: bool = False, operating_point: str | None = None,
        dropout_passes: int = 0, monitor: Monitor | None = None, **inputs: Any,
    ) -> Any:  # fmt: skip
        """Predict class probabilities; an ensemble returns the weighted mean of its members'.

        Args:
            images: one image (a path, bytes, a file object, a PIL image, a NumPy array or a
                torch tensor), or many: a folder, a glob, a list or any iterable of images.
            tta: average over the four flips of each image; four times the time.
            operating_point: name of one that `calibrate` made, which makes the ``decision``; the
                model's default one by default.
            dropout_passes: how many times dropout thins the networks, for the ``uncertainty``
                (Gal & Ghahramani, ICML 2016); probabilities stay as they are. ``0``: members and
                views give the uncertainty, where there are several. By torch, whatever predicts.
            monitor: is told of each image that is answered, such as a
                `skinxai.monitoring.DriftMonitor`.
            **inputs: see `skinxai.predicting.inputs.InputOptions`.

        Returns:
            A `Prediction`, or a list in the images' order, with an `ItemError` in the place of
            each bad one where ``on_error="return"``.

        Raises:
            InputError: an image that cannot be used.
            NonFiniteOutputError: the network's logits are not finite.
            ModelError: an operating point, of a model that has none; or ``dropout_passes``, of a
                network without dropout.
            UnknownNameError: no such operating point.
        """
        options, _ = InputOptions.take(inputs, *keywords_of(self.predict))
        single, many, _ = several(images, options.progress)
        model = self._in_use.at(operating_point)
        results = list(
            model.predictions(
                many, options, tta=tta, dropout_passes=dropout_passes, monitor=monitor
            )
        )
        return results[0] if single else results

    def prepare(self, images: Any, **inputs: Unpack[AnyInputs]) -> list[Prepared | ItemError]:
        """Read images and transform them, so that `predict` need not, in the caller's thread.

        What it returns are images for `predict` of this model: a server reads each upload in a
        thread of its own, and predicts those of several visitors in one batch.

        Args:
            images: as in `predict`.
            **inputs: input options.

        Returns:
            A list in the images' order, of one image too, with an `ItemError` in the place of each
            bad one where ``on_error="return"``.

        Raises:
            InputError: an image that cannot be used.
        """
        options, _ = InputOptions.take(inputs)
        many, predictor = several(images, options.progress)[1], self._in_use.predictor
        batches = prepared_batches(
            many, predictor.preprocessings, options, measured=predictor.measured
        )
        return [item for batch in batches for item in batch]

    @as_stream
    def stream(
        self, images: Any, *, explain: str | None = None, tta: bool = False,
        operating_point: str | None = None, dropout_passes: int = 0,
        monitor: Monitor | None = None, **inputs: Any,
    ) -> Iterator[Any]:  # fmt: skip
        """Predict one image after the other, lazily and in constant memory.

        Args:
            images: as in `predict`.
            explain: a method; then pairs ``(Prediction, Explanation)`` are yielded, and an
                `ItemError` alone for a bad image.
            tta: as in `predict` and `explain`.
            operating_point: as in `predict`.
            dropout_passes: as in `predict`; not with ``explain``.
            monitor: as in `predict`; not with ``explain``.
            **inputs: input options; with ``explain`` also those of `explain` and of the method.
        """
        model = self._in_use.at(operating_point)
        if explain is None:
            options, _ = InputOptions.take(inputs, *keywords_of(self.stream))
            many = several(images, options.progress)[1]
            return model.predictions(
                many, options, tta=tta, dropout_passes=dropout_passes, monitor=monitor
            )
        if monitor is not None:
            raise OptionError("monitor must be left out with explain; give it to predict().")
        if dropout_passes:
            raise OptionError(
                "dropout_passes must be left out with explain; ask predict() for it, or explain "
                "with a method such as mc_dropout."
            )
        asked, rest = ExplainOptions.take(inputs | {"tta": tta}, "isolate")
        named = {*ExplainOptions.names(), "explain", "operating_point"} - {"isolate"}
        return explained(model, images, explain, asked, rest, named)[1]

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
        single, found = explained(
            self._in_use, images, method, asked, inputs_and_options, keywords_of(self.explain)
        )
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

        named = keywords_of(self.compare)
        asked = questions(methods, targets, method, inputs_and_options, named)
        found = explanations_of_one(self.explain, image, asked)
        return compare(found, columns=columns, alpha=alpha, uniform=uniform)

    def report(
        self, image: Any, *, methods: Sequence[str] | None = None, tta: bool = False,
        operating_point: str | None = None, dropout_passes: int = 0, coverage: float = 0.9,
        neighbours: int = 5, title: str = "", date: datetime.date | None = None,
        **inputs_and_options: Any,
    ) -> CaseReport:  # fmt: skip
        """Collect all that the model can say of one image on a page, HTML or PDF.

        What the model has not, such as a calibration, is missing on the page, or a sentence says
        so. The image's file name is not on the page: give a title where you want one.

        Args:
            image: one, as in `predict`.
            methods: one to three methods that explain the most probable class and whose maps are
                compared; by default Grad-CAM, SmoothGrad and occlusion, as far as the network
                fits them.
            tta: as in `predict` and `explain`.
            operating_point: as in `predict`.
            dropout_passes: as in `predict`.
            coverage: of the prediction set, in (0, 1).
            neighbours: most training lesions; 0 for none.
            title: of the page, such as the case's number.
            date: on the page; today by default.
            **inputs_and_options: input options, ``timeout``, the seconds of all maps together, and
                the methods' own.

        Raises:
            InputError: an image that cannot be used.
            OptionError: several images, an argument outside its rule, or a method without a map.
            ExplainError: a method that was named and that the network does not fit.
            ModelError, UnknownNameError: as in `predict`.
        """
        from skinxai.explaining.case_reports import CaseOptions, case_report

        asked = CaseOptions(
            methods, tta, operating_point, dropout_passes, coverage, neighbours, title, date
        )
        return case_report(self, self._in_use, image, asked, inputs_and_options)

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
        options, _ = InputOptions.take(inputs, *keywords_of(self.index))
        found = index(self.torch_predictor, records, self.trained_on, options, dimensions)
        return self._of(self._in_use.with_neighbours(found))

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
            ModelError: an ensemble, a model without embeddings of its lesions (`index`), or a
                network that was trained on after they were made.
            OptionError: k below 1 or above the number of lesions.
        """
        from skinxai.explaining.by_example import nearest

        options, _ = InputOptions.take(inputs, *keywords_of(self.nearest))
        single, many, _ = several(images, options.progress)
        found = nearest(self.torch_predictor, self.neighbours, many, options, k, records)
        return found[0] if single else found

    def calibrate(
        self, records: Records, *, method: str = "temperature", sensitivity: float | None = None,
        specificity: float | None = None, operating_point: str | None = None,
        not_copies: Collection[str] = (), **inputs: Unpack[Inputs],
    ) -> Self:  # fmt: skip
        """Return the same model with calibrated probabilities and operating points.

        What is fitted is saved with the model and used by `predict` and `evaluate`, with and
        without test-time augmentation, by every backend. The classes' order does not change by
        ``"temperature"``. Where the label set declares malignant classes, two operating points are
        chosen, ``"screening"`` (a sensitivity of at least 0.95 on these lesions) and
        ``"balanced"`` (the largest sum of sensitivity and specificity), and predictions have a
        ``decision``: ``"abstain"`` for an image whose quality is unlike that of these images.

        The model folder also keeps hashes and fingerprints of the images, so that `evaluate` can
        tell them from others. A fingerprint gives away a coarse relief of its image.

        Args:
            records: images that took no part in training, such as the validation part, some
                hundreds or more; never those that the model will be judged by.
            method: ``"temperature"``, one number (Guo et al., ICML 2017), or ``"vector"``, a slope
                and an offset for each class, which needs more images and may change the top class.
            sensitivity: of an operating point of your own, named e.g. ``"sensitivity 0.90"``.
            specificity: of one, named e.g. ``"specificity 0.80"``.
            operating_point: the one that decides where `predict` is given none; ``"screening"`` by
                default.
            not_copies: as in `evaluate`.
            **inputs: input options; ``on_error`` must be ``"raise"``.

        Raises:
            LeakageError: the test part, images that the model was trained on, or copies of them.
            CalibrationError: images of one class, or no malignant or no benign lesion.
            ModelError: an exported file, or a network of `from_module`.
            OptionError: other labels, an unknown method, or a model that does not compute in
                float32.
            UnknownNameError: no such operating point.

        Warns:
            SkinxaiWarning: a model that does not say which images it was trained on.
        """
        from skinxai.predicting.calibrating import Wanted, calibrated

        options, _ = InputOptions.take(inputs, *keywords_of(self.calibrate))
        wanted = Wanted(method, sensitivity, specificity, operating_point)
        made = self._of(calibrated(self._in_use, records, options, wanted, not_copies))
        return made._with_own_card()

    def with_reference(
        self, images: Any, *, not_copies: Collection[str] = (), **inputs: Unpack[Inputs]
    ) -> Self:
        """Return the same model with a reference of other images, for `skinxai.monitoring`.

        `calibrate` makes a reference of its images. One's own clinic, with other cameras, differs
        from them from the first day on: with its first some hundred images as the reference,
        alarms tell of what changes there later.

        Args:
            images: as in `predict`, or `Records`, whose labels and lesions are used. They took no
                part in training: the network is surer of those that did.
            not_copies: ids of records, or names of images as predictions have them in ``source``,
                that are wrongly taken for copies of training images; look at them first.
            **inputs: input options; ``on_error`` must be ``"raise"``.

        Raises:
            LeakageError: images that the model was trained on, or copies of them.
            ModelError: a model that was not calibrated.
            OptionError: records with other labels, no image, or a name in ``not_copies`` that is
                none.

        Warns:
            SkinxaiWarning: a model that does not say which images it was trained on.
        """
        from skinxai.predicting.referring import referenced

        options, _ = InputOptions.take(inputs, *keywords_of(self.with_reference))
        return self._of(referenced(self._in_use, images, options, not_copies))

    def evaluate(
        self, records: Records, *, against: Classifier | None = None, hardest: int = 0,
        skin_tone: bool = False, resamples: int = 2000, seed: int = 0, tta: bool = False,
        not_copies: Collection[str] = (), **inputs: Unpack[Inputs],
    ) -> Evaluation:  # fmt: skip
        """Predict labelled images and evaluate the answers; intervals are clustered by lesion.

        The evaluation is marked as leaked where one of ``records`` is an image that the model was
        trained on, or looks like a copy of one; ``verdict`` says so, and what is not known. Of a
        calibrated model, ``decisions`` says how many images each operating point refers, misses,
        spares and abstains from.

        Args:
            records: images that took no part in training or tuning.
            against: another model, which is compared on the same images.
            hardest: how many images of each class with the largest loss are named.
            skin_tone: estimate skin tone from the border of each image, for subgroups; camera and
                light distort it, see `skinxai.assessment.skin_tone.VALIDITY`.
            resamples: bootstrap resamples of the lesions, >= 1.
            seed: of the resampling, 0 to 2⁶³ − 1.
            tta: as in `predict`.
            not_copies: ids of images that are wrongly taken for copies; look at them first.
            **inputs: input options; ``on_error`` must be ``"raise"``.

        Raises:
            OptionError: records with other labels than the model or ``against``, a number outside
                its range, or an id in ``not_copies`` that is none.
            InputError: an image that cannot be read.

        Warns:
            SkinxaiWarning: records of several parts of the split that their data came with.
        """
        from skinxai.predicting.judging import Judged, judge

        options, _ = InputOptions.take(inputs, *keywords_of(self.evaluate))
        how = Judged(resamples, seed, tta, not_copies, hardest, skin_tone)
        other = None if against is None else against._in_use
        return judge(self._in_use, records, options, how, other)
