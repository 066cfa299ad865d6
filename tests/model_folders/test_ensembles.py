"""An ensemble answers with the weighted mean of its members."""

import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import uncalibrated
from torch import nn

from skinxai import (
    Classifier,
    Prediction,
    backbones,
    checkpoints,
    plugins,
    read_image,
)
from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.backbones.network import OwnFunction, SkinClassifier
from skinxai.checkpoints import LoadedEnsemble, LoadedModel
from skinxai.configs import EnsembleConfig, MemberConfig, ModelConfig, PreprocessConfig
from skinxai.data import Record, Records, TrainedOn
from skinxai.errors import InputShapeError, ModelError, NonFiniteOutputError
from skinxai.labels import HAM10000_LABELS, LabelSet
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.predicting import inputs

WEIGHTS = (0.2, 0.3, 0.5)


class Tiny(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU())
        self.classifier = nn.Linear(8, num_classes)


def build_tiny(name: str, num_classes: int, drop_rate: float) -> SkinClassifier:
    return SkinClassifier(
        Tiny(num_classes),
        lambda network, images: network.features(images),
        lambda network, features: network.classifier(features.mean(dim=(2, 3))),
    )


@pytest.fixture(scope="module", autouse=True)
def tiny():
    backbones.register("tiny-for-ensembles")(build_tiny)
    yield
    plugins.backbones.remove(["tiny-for-ensembles"])


def write(
    folder: Path,
    seed: int,
    size: tuple[int, int],
    *,
    backbone: str = "tiny-for-ensembles",
    labels: LabelSet = HAM10000_LABELS,
    mean: float = 0.5,
    hashes: tuple[str, ...] | None = None,
) -> Path:
    """A model folder of random weights that tells colours apart."""
    torch.manual_seed(seed)
    model = backbones.build(backbone, len(labels))
    head = model.network.classifier
    with torch.no_grad():
        colours = (torch.rand(16, 3, 1, 1) * 0.7 + 0.2 - mean) / 0.5
        logits = model(colours.expand(-1, 3, *size))
        head.bias.sub_(logits.mean(dim=0))
        head.weight.mul_(6 / logits.std())
        head.bias.mul_(6 / logits.std())
    preprocessing = PreprocessConfig(size, mean=(mean,) * 3)
    config = ModelConfig(folder.name, backbone, labels, preprocessing, licence="CC0-1.0")
    known = None if hashes is None else TrainedOn.from_hashes(hashes)
    checkpoints.save(str(folder), model, config, f"Card of {folder.name}.", known)
    return folder


@pytest.fixture(scope="module")
def folders(tiny, tmp_path_factory) -> tuple[Path, ...]:
    place = tmp_path_factory.mktemp("members")
    return (
        write(place / "a", 1, (64, 96), hashes=(64 * "a", 64 * "b")),
        write(
            place / "b",
            2,
            (96, 128),
            backbone="timm/test_efficientnet",
            mean=0.4,
            hashes=(64 * "c",),
        ),
        write(place / "c", 3, (64, 96), hashes=(64 * "b",)),  # the first one's size
    )


@pytest.fixture(scope="module")
def written(folders, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ensemble") / "three"
    write_ensemble(folder, folders, weights=WEIGHTS, name="three")
    return folder


@pytest.fixture(scope="module")
def ensemble(written) -> Classifier:
    return Classifier.from_pretrained(written)


@pytest.fixture(scope="module")
def members(folders) -> tuple[Classifier, ...]:
    return tuple(Classifier.from_pretrained(folder) for folder in folders)


def rows_of(predictions: list[Prediction]) -> np.ndarray:
    return np.array([list(p.probabilities.values()) for p in predictions])


def expected_rows(members, images, **options) -> np.ndarray:
    each = [rows_of(member.predict(images, **options)) for member in members]
    return sum(weight * rows for weight, rows in zip(WEIGHTS, each, strict=True))


@pytest.mark.parametrize("tta", [False, True])
def test_probabilities_are_the_weighted_mean(ensemble, members, photos, tta) -> None:
    expected = expected_rows(members, photos, tta=tta, batch_size=5)
    found = ensemble.predict(photos, tta=tta, batch_size=5)
    assert np.abs(rows_of(found) - expected).max() < 1e-12
    np.testing.assert_allclose(rows_of(found).sum(axis=1), 1, atol=1e-12)
    assert len({p.label for p in found}) > 1 and rows_of(found).std(axis=0).max() > 0.01
    streamed = list(ensemble.stream(photos, tta=tta, batch_size=5))
    assert streamed == found
    assert [p.source for p in found] == [str(p) for p in photos]
    assert {p.model for p in found} == {ensemble.model}
    own = rows_of(members[0].predict(photos, tta=tta, batch_size=5))
    assert np.abs(own - expected).max() > 0.01  # the members do differ


def test_evaluation_judges_the_mean(ensemble, members, photos) -> None:
    codes = HAM10000_LABELS.codes
    items = tuple(Record(p.stem, p, codes[n % 7]) for n, p in enumerate(photos))
    records = Records(items, HAM10000_LABELS, "photos")
    found = ensemble.evaluate(records, resamples=20, tta=True)
    expected = evaluate_probabilities(
        records.targets(), expected_rows(members, photos, tta=True), [p.stem for p in photos],
        HAM10000_LABELS, model=ensemble.model, data="photos", resamples=20,
    )  # fmt: skip
    assert found.confusion == expected.confusion and not found.leaked
    assert found.brier_score.value == pytest.approx(expected.brier_score.value, abs=1e-12)


def test_each_image_is_read_once(ensemble, photos, monkeypatch) -> None:
    count = itertools.count()

    def counted(image, **options):
        next(count)
        return read_image(image, **options)

    monkeypatch.setattr(inputs, "read_image", counted)
    ensemble.predict(photos[:3])
    assert next(count) == 3
    ensemble.explain([io.BytesIO(photos[0].read_bytes()), photos[1]])
    assert next(count) == 3 + 1 + 2


def test_prepared_images_have_the_input_of_each_member(ensemble, members, photos) -> None:
    prepared = ensemble.prepare(photos[:2])
    assert len(prepared[0].arrays) == 2
    asked = ensemble.predict(photos[:2], tta=True)
    assert ensemble.predict(prepared, tta=True) == asked
    with pytest.raises(InputShapeError, match="prepared for another model"):
        ensemble.predict(members[0].prepare(photos[:1]))


def test_a_stream_never_ends(ensemble, photos) -> None:
    endless = ensemble.stream(itertools.cycle(photos), batch_size=4)
    assert len(list(itertools.islice(endless, 10))) == 10


def test_the_same_model_twice_is_the_model(folders, members, photos, tmp_path) -> None:
    write_ensemble(tmp_path / "twice", [folders[0], folders[0]], name="twice")
    twice = Classifier.from_pretrained(tmp_path / "twice")
    assert [m.folder for m in twice.config.members] == ["members/a", "members/a-2"]
    for tta in (False, True):
        one, other = (rows_of(c.predict(photos[:4], tta=tta)) for c in (members[0], twice))
        np.testing.assert_array_equal(one, other)
    for one, other in zip(members[0].explain(photos[:4]), twice.explain(photos[:4]), strict=True):
        assert one.target == other.target
        np.testing.assert_array_equal(one.heatmap, other.heatmap)


def test_members_have_folders_that_windows_can_make(members, tmp_path) -> None:
    """It opens a device in the place of a reserved name, and leaves out a full stop at the end."""
    names = ["NUL", "con.b0", "nul", 59 * "a" + ".b", "Com1"]
    for number, name in enumerate(names):
        members[0].save_pretrained(tmp_path / str(number), name=name)
    write_ensemble(tmp_path / "all", [tmp_path / str(n) for n in range(len(names))], name="all")
    config = Classifier.from_pretrained(tmp_path / "all").config
    expected = ["model-NUL", "model-con.b0", "model-nul-2", 59 * "a", "model-Com1"]
    assert [member.folder for member in config.members] == [f"members/{n}" for n in expected]


def test_an_ensemble_of_one_is_the_model(folders, members, photos, tmp_path) -> None:
    write_ensemble(tmp_path / "one", folders[:1], name="one")
    one = Classifier.from_pretrained(tmp_path / "one")
    np.testing.assert_array_equal(rows_of(one.predict(photos)), rows_of(members[0].predict(photos)))
    np.testing.assert_array_equal(one.embed(photos[:2]), members[0].embed(photos[:2]))
    assert one.explain(photos[0]).options == {}


def test_with_the_bundled_model(classifier, folders, members, photos, tmp_path) -> None:
    classifier.save_pretrained(tmp_path / "bundled")
    write_ensemble(
        tmp_path / "both", [tmp_path / "bundled", folders[1]], weights=[0.75, 0.25], name="both"
    )
    both = Classifier.from_pretrained(tmp_path / "both")
    first, second = (rows_of(c.predict(photos)) for c in (uncalibrated(classifier), members[1]))
    expected = 0.75 * first + 0.25 * second
    assert np.abs(rows_of(both.predict(photos)) - expected).max() < 1e-12
    assert "CC-BY-NC-4.0" in both.card and "HAM10000" in both.card and "0.75" in both.card


def test_properties(ensemble, members) -> None:
    assert ensemble.labels == HAM10000_LABELS.codes
    assert ensemble.num_parameters == sum(member.num_parameters for member in members)
    name, _, revision = ensemble.model.partition("@")
    assert name == "three" and len(revision) == 12
    assert isinstance(ensemble.config, EnsembleConfig) and ensemble.config.kind == "ensemble"
    assert tuple(m.weight for m in ensemble.config.members) == WEIGHTS
    assert [m.revision[:12] for m in ensemble.config.members] == [
        member.model.partition("@")[2] for member in members
    ]
    hashes = [64 * "a", 64 * "b", 64 * "c"]
    assert ensemble.trained_on == TrainedOn.from_hashes(hashes)


def test_unknown_training_images_are_no_union(folders, tmp_path) -> None:
    silent = write(tmp_path / "silent", 4, (64, 96))
    write_ensemble(tmp_path / "both", [folders[0], silent], name="both")
    assert Classifier.from_pretrained(tmp_path / "both").trained_on is None


def test_what_needs_one_network(ensemble, photos) -> None:
    with pytest.raises(ModelError, match=r"embed\(\) needs a single network.*ensemble of 3"):
        ensemble.embed(photos[0])
    with pytest.raises(ModelError, match=r"Classifier\.network needs a single network"):
        _ = ensemble.network


class Quadratic(nn.Module):
    """Logits that are NaN where the image is white."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def features(self, images):
        return nn.functional.avg_pool2d(images, 8)

    def head(self, features):
        mean = (self.factor * features**2).mean(dim=(1, 2, 3))
        bad = torch.where(features.mean(dim=(1, 2, 3)) > 0.99, torch.nan, 0.0)
        return torch.stack([1 - mean, mean + bad], dim=1)


def hand_made(sizes, weights) -> tuple[tuple[LoadedModel, ...], EnsembleConfig]:
    labels, parts, entries = LabelSet(("a", "b")), [], []
    for number, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        module = Quadratic(1.0 + number)
        network = SkinClassifier(module, OwnFunction(module.features), OwnFunction(module.head))
        preprocessing = PreprocessConfig(size, mean=(0, 0, 0), std=(1, 1, 1))
        config = ModelConfig(f"m{number}", "", labels, preprocessing)
        parts.append(LoadedModel(network, config, "", "unsaved"))
        entries.append(MemberConfig(f"members/m{number}", 64 * "0", weight))
    return tuple(parts), EnsembleConfig("hand-made", labels, tuple(entries))


@pytest.mark.parametrize("call", ["predict", "explain"])
def test_logits_that_are_not_finite_in_any_member(call) -> None:
    parts, config = hand_made([(32, 32), (48, 64)], (0.5, 0.5))
    ensemble = Classifier(LoadedEnsemble(parts, config, "", "unsaved"), device="cpu")
    white, grey, dark = (np.full((64, 64, 3), v, np.uint8) for v in (255, 128, 40))
    answer = getattr(ensemble, call)
    results = answer([grey, white, dark], on_error="return")
    assert [getattr(r, "code", None) for r in results] == [None, "non_finite_output", None]
    with pytest.raises(NonFiniteOutputError):
        answer(white)
    if call == "explain":
        results = answer([grey, white, dark], target="b", on_error="return")
        for result, image in ((results[0], grey), (results[2], dark)):
            assert result.heatmap.max() > 0
            np.testing.assert_array_equal(result.heatmap, answer(image, target="b").heatmap)


def test_threads_share_it(ensemble, photos) -> None:
    def ask(number: int) -> object:
        if number % 3:
            return tuple(ensemble.predict(photos[number % 4]).probabilities.values())
        return ensemble.explain(photos[number % 4], target="mel").heatmap.tobytes()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        serial = [ask(n) for n in range(12)]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(ask, [n % 12 for n in range(48)])) == serial * 4
    finally:
        torch.set_num_threads(threads)
