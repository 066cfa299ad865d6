"""A linear probe and a vote of neighbours, against scikit-learn and by hand; and their model."""

import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from small_runs import LABELS, coloured, model_folder, rows

from skinxai import Classifier
from skinxai.data import Records
from skinxai.errors import (
    DatasetImageError,
    LeakageError,
    ModelError,
    NonFiniteOutputError,
    OptionError,
    OutOfMemoryError,
    TrainingError,
    UnknownNameError,
)
from skinxai.model_folders.tensors import load_arrays, save_arrays
from skinxai.probing import Candidate, feature_cache, fitted_model, frozen_features, probe
from skinxai.probing.fitted_model import Fitted
from skinxai.probing.frozen_network import FrozenNetwork
from skinxai.probing.head_layer import set_head
from skinxai.probing.logistic import LinearHead, fit_head
from skinxai.probing.selecting import Choice
from skinxai.probing.voting import TEMPERATURE, vote

pytestmark = pytest.mark.usefixtures("small_networks")
FEW = {"resamples": 20, "device": "cpu"}


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> str:
    return str(
        model_folder(tmp_path_factory.mktemp("start") / "small", seed=3, licence="CC-BY-4.0")
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[Records, Records]:
    folder = tmp_path_factory.mktemp("pictures")
    return coloured(folder / "train", 10, 1), coloured(folder / "val", 5, 2)


@pytest.fixture
def watched(monkeypatch) -> list[int]:
    """Images of each forward pass."""
    seen: list[int] = []
    own = FrozenNetwork.features

    def features(self, items, views):
        seen.append(len(items))
        return own(self, items, views)

    monkeypatch.setattr(FrozenNetwork, "features", features)
    return seen


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    target = np.arange(count) % 3
    shifts = draws.normal(0, 1, (3, 5))
    return (draws.normal(0, 1, (count, 5)) * [1, 10, 0.1, 3, 1] + shifts[target]).astype(
        np.float32
    ), target


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_is_that_of_scikit_learn(classes, balanced) -> None:
    features, target = drawn(60, 4)
    features, target = features[target < classes][5:], target[target < classes][5:]
    scaler = StandardScaler().fit(features.astype(np.float64))
    model = LogisticRegression(
        C=0.3, class_weight="balanced" if balanced else None, tol=1e-8, max_iter=5000
    )
    model.fit(scaler.transform(features.astype(np.float64)), target)
    asked, _ = drawn(20, 9)
    wanted = model.predict_proba(scaler.transform(asked.astype(np.float64)))
    head = fit_head(features[:, None], target, classes, 0.3, balanced=balanced)
    np.testing.assert_allclose(head.probabilities(asked), wanted, atol=1e-4)


def test_views_share_the_weight_of_their_image() -> None:
    features, target = drawn(40, 1)
    once = fit_head(features[:, None], target, 3, 1.0)
    twice = fit_head(np.stack([features, features], axis=1), target, 3, 1.0)
    np.testing.assert_allclose(once.weight, twice.weight, atol=1e-4)


def test_votes_are_those_of_scikit_learn_and_by_hand() -> None:
    known, target = drawn(50, 2)
    asked, _ = drawn(11, 3)
    found = vote(known, target, asked, 3, [1, 7])

    def weights(distances):  # of unit vectors: d² = 2 − 2 s
        return np.exp((1 - distances**2 / 2) / TEMPERATURE)

    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (known, asked)]
    for k in (1, 7):
        model = KNeighborsClassifier(k, weights=weights).fit(unit[0], target)
        np.testing.assert_allclose(found[k], model.predict_proba(unit[1]), atol=1e-4)
    two = vote(
        np.eye(2, dtype=np.float32), np.array([0, 1]), np.array([[1, 0]], np.float32), 2, [2]
    )
    np.testing.assert_allclose(two[2], softmax([[1 / TEMPERATURE, 0]], axis=1), rtol=1e-6)


def test_a_model_like_any_other(data, start, tmp_path) -> None:
    train, val = data
    found = probe(train, val, init_weights=start, output_dir=tmp_path / "probed", **FEW)
    again = Classifier.from_pretrained(tmp_path / "probed", device="cpu")
    answers = again.predict([item.path for item in val])
    assert again.model == found.classifier.model and again.config.backbone == "small"
    assert again.config.licence == "CC0-1.0 AND CC-BY-4.0"  # of the images and of the first weights
    features = [np.asarray(again.embed([i.path for i in part])) for part in (train, val)]
    scaler = StandardScaler().fit(features[0].astype(np.float64))
    model = LogisticRegression(C=found.strength, tol=1e-8, max_iter=9000)
    model.fit(scaler.transform(features[0].astype(np.float64)), train.targets())
    wanted = model.predict_proba(scaler.transform(features[1].astype(np.float64)))
    np.testing.assert_allclose(rows(answers), wanted, atol=2e-3)
    right = np.mean([a.label == i.label for a, i in zip(answers, val, strict=True)])
    assert found.linear.accuracy.value == pytest.approx(right) and right > 0.6  # a third is chance
    assert not found.independent and "a little too good" in found.note
    assert any(found.note in note for note in found.linear.notes)
    assert again.explain(val[0].path).heatmap.shape == (40, 56)
    judged = again.evaluate(train, resamples=10)
    assert judged.leaked  # it knows its training images
    assert (tmp_path / "probed/evaluation.html").exists()
    kept = json.loads((tmp_path / "probed/probing.json").read_text())
    assert kept["strength"] == found.strength and kept["model"] == again.model
    text = (tmp_path / "probed/README.md").read_text()
    assert "linear probe" in text and str(train[0].path) not in text


def test_the_backbone_is_not_changed(data, start) -> None:
    found = probe(*data, init_weights=start, **FEW)
    own, before = (
        each._loaded.networks[0].state_dict() if hasattr(each._loaded, "networks")
        else each._loaded.network.state_dict()
        for each in (found.classifier, Classifier.from_pretrained(start, device="cpu"))
    )  # fmt: skip
    changed = {name for name in own if not torch.equal(own[name], before[name])}
    assert changed == {"network.fc.weight", "network.fc.bias"}


def test_folds_make_the_validation_part_independent(data, start) -> None:
    train, val = data
    found = probe(train, val, init_weights=start, folds=3, **FEW)
    assert found.independent and "too good" not in found.note
    alone = probe(train, init_weights=start, folds=3, **FEW)
    assert not alone.independent and alone.strength == found.strength and alone.k == found.k
    assert len(alone.linear.confusion) == 3 and np.sum(alone.linear.confusion) == len(train)


def test_a_head_answers_only_for_folds_that_it_has_not_learnt(data, start) -> None:
    """Where labels are drawn, an image's own neighbour would be the only one to know them."""
    codes, train = list(LABELS.codes), data[0]
    items = tuple(replace(item, label=codes[n * 7 % 10 % 3]) for n, item in enumerate(train))
    found = probe(replace(train, items=items), init_weights=start, folds=3, **FEW)
    assert {each.value: each.macro_f1 for each in found.tried_k}[1] < 0.8


def test_copies_under_other_names_are_in_one_fold(data, start, capsys) -> None:
    """Where labels are drawn, only a copy that was learnt could tell an image's."""
    codes, train = list(LABELS.codes), data[0]
    items = [replace(item, label=codes[n * 7 % 10 % 3]) for n, item in enumerate(train)]
    copies = [replace(item, image_id=f"copy-{item.image_id}", lesion_id="") for item in items]
    both = replace(train, items=(*items, *copies))
    for more in ({}, {"folds": 3}):
        found = probe(both, init_weights=start, **more, **FEW)
        assert {each.value: each.macro_f1 for each in found.tried_k}[1] < 0.8
        assert "30 pairs of images of different lesions look like copies" in capsys.readouterr().err
    with pytest.raises(OptionError, match="'nobody' is none"):
        probe(both, init_weights=start, not_copies=["nobody"], **FEW)


def test_an_image_is_not_taken_for_its_mirror_image(data, start, tmp_path) -> None:
    """`pixel_hash` is the same for both, their features are not."""
    train, val = data
    (tmp_path / "turned").mkdir()
    turned = []
    for item in train:
        path = tmp_path / "turned" / item.path.name
        Image.open(item.path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
        turned.append(replace(item, path=path, image_id=f"turned-{item.image_id}"))
    both = replace(train, items=(*train.items, *turned))
    kept, now = (
        probe(both, val, init_weights=start, folds=3, **more, **FEW)
        for more in ({"cache": tmp_path / "kept"}, {})
    )
    again = probe(both, val, init_weights=start, folds=3, cache=tmp_path / "kept", **FEW)
    assert kept.computed == now.computed == 75 and again.cached == 75
    assert kept.linear.to_dict() == now.linear.to_dict() == again.linear.to_dict()


def test_features_are_computed_once(data, start, tmp_path, watched) -> None:
    train, val = data
    one = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    assert one.computed == 45 and one.cached == 0
    watched.clear()
    two = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    assert two.computed == 0 and two.cached == 45 and watched == [1]  # the drawn picture
    assert two.to_dict() == one.to_dict() | {"computed": 0, "cached": 45}


def test_another_image_weight_or_view_is_noticed(data, start, tmp_path) -> None:
    train, val = data
    probe(train, val, init_weights=start, cache=tmp_path / "kept", **FEW)
    other = coloured(tmp_path / "other", 5, 3)  # as many images, of other pixels
    assert probe(train, other, init_weights=start, cache=tmp_path / "kept", **FEW).computed == 15
    weights = str(model_folder(tmp_path / "weights", seed=4))
    assert probe(train, val, init_weights=weights, cache=tmp_path / "kept", **FEW).computed == 45
    more = probe(train, val, init_weights=start, cache=tmp_path / "kept", flips=True, **FEW)
    assert more.computed == 30  # four views of the training images only
    size = probe(
        train, val, init_weights=start, cache=tmp_path / "kept", image_size=(48, 64), **FEW
    )
    assert size.computed == 45


@pytest.mark.parametrize("damage", ["cut", "changed", "renamed"])
def test_a_damaged_cache_is_not_read(damage, data, start, tmp_path, capsys) -> None:
    train, val = data
    one = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    path = max(tmp_path.glob("*.safetensors"), key=lambda each: each.stat().st_size)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[:-100])
    elif damage == "changed":
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        path.rename(path.with_name(f"{path.name[:17]}{'0' * 32}.safetensors"))
    two = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    assert two.computed == 30 and "are not used" in capsys.readouterr().err
    assert two.linear == one.linear


def test_features_that_are_no_numbers_are_refused_and_not_taken_from_the_cache(
    data, start, tmp_path, monkeypatch, capsys
) -> None:
    train, val = data
    one = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    path = max(tmp_path.glob("*.safetensors"), key=lambda each: each.stat().st_size)
    arrays = load_arrays(path.read_bytes(), path.name)
    arrays["features"] = arrays["features"].copy()
    arrays["features"][3, 0, 1] = np.nan
    forged = save_arrays(arrays)
    path.unlink()
    name = f"{path.name[:17]}{hashlib.sha256(forged).hexdigest()[:32]}.safetensors"
    (tmp_path / name).write_bytes(forged)
    two = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    assert two.computed == 30 and two.linear == one.linear
    assert "it holds other arrays than features" in capsys.readouterr().err
    own = FrozenNetwork._features

    def overflows(self, items, views):
        rows = own(self, items, views)
        rows[np.arange(len(rows)) == 4] = np.inf
        return rows

    monkeypatch.setattr(FrozenNetwork, "_features", overflows)
    with pytest.raises(NonFiniteOutputError, match=r"but those of .*blue-04\.png are not"):
        probe(train, val, init_weights=start, **FEW)


def test_a_model_with_other_answers_than_the_head_leaves_no_figures(
    data, start, tmp_path, monkeypatch
) -> None:
    """The old figures are gone too: beside the new weights they would be of another model."""
    out = tmp_path / "out"
    probe(*data, init_weights=start, output_dir=out, **FEW)
    pages = [out / "evaluation.html", out / "evaluation.json"]
    assert all(page.exists() for page in pages)

    def shifted(network, weight, bias):
        set_head(network, weight, bias + np.array([0.01, 0, 0]))

    monkeypatch.setattr(fitted_model, "set_head", shifted)
    with pytest.raises(ModelError, match=r"of the fitted head within 0\.0001, but they differ by"):
        probe(*data, init_weights=start, output_dir=out, **FEW)
    assert not any(page.exists() for page in pages)


@pytest.mark.parametrize(
    ("scores", "end", "words"),
    [
        ({0.1: 0.5, 1.0: 0.6, 10.0: 0.7}, -1, "C = 10 is the weakest .* and a weaker one may"),
        (
            {0.1: 0.7, 1.0: 0.6, 10.0: 0.5},
            0,
            r"C = 0\.1 is the strongest .* and a stronger one may",
        ),
        ({0.1: 0.5, 1.0: 0.7, 10.0: 0.6}, None, ""),
        ({0.1: 0.7, 1.0: 0.7, 10.0: 0.7}, None, ""),  # all alike: nothing points outwards
        ({0.1: 0.7}, None, ""),
    ],
)
def test_a_strength_at_the_end_of_the_range_is_said(scores, end, words) -> None:
    tried = tuple(Candidate(value, score) for value, score in scores.items())
    found = Choice(max(scores, key=scores.__getitem__), np.empty((0, 3)), tried)
    none = (np.empty((0, 3)), np.empty((0, 3)))
    note = Fitted(LinearHead(none[0], np.empty(3)), found, found, none, "val", "val", True).note
    assert found.at_end == end
    assert re.search(words, note) if words else "regularisation" not in note


def test_a_kill_leaves_what_was_computed(data, start, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(feature_cache, "ROWS", 8)
    own, passes = FrozenNetwork.features, []

    def killed(self, items, views):
        passes.append(1)
        if len(passes) == 4:  # the drawn picture, and two batches of 8
            raise KeyboardInterrupt
        return own(self, items, views)

    with monkeypatch.context() as patch:
        patch.setattr(FrozenNetwork, "features", killed)
        with pytest.raises(KeyboardInterrupt):
            probe(*data, init_weights=start, cache=tmp_path, batch_size=8, **FEW)
    found = probe(*data, init_weights=start, cache=tmp_path, batch_size=8, **FEW)
    assert found.cached == 16 and found.computed == 29
    assert found.linear == probe(*data, init_weights=start, batch_size=8, **FEW).linear


def test_copies_of_training_images_are_refused(data, start) -> None:
    train, val = data
    items = (replace(train[0], image_id="copy", lesion_id="copy"), *val)
    with pytest.raises(LeakageError, match="copy"):
        probe(train, replace(val, items=items), init_weights=start, **FEW)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"class_weights": "even"}, OptionError, "class_weights must be None or 'balanced'"),
        ({"folds": 1}, OptionError, "folds must be an integer >= 2"),
        ({"on_error": "return"}, OptionError, "on_error"),
        ({"init_weights": "missing.safetensors"}, TrainingError, "missing.safetensors"),
        ({"backbone": "resnet18"}, TrainingError, "small"),
        ({"image_size": 0}, OptionError, "image_size"),
        ({"backbone": ""}, UnknownNameError, "backbone"),
    ],
)
def test_wrong_arguments_are_refused(change, error, words, data, start) -> None:
    with pytest.raises(error, match=words):
        probe(*data, **{"init_weights": start} | FEW | change)


def test_a_class_without_images_is_refused(data, start) -> None:
    train, val = data
    few = train.subset([item.image_id for item in train if item.label != "red"])
    with pytest.raises(TrainingError, match="red"):
        probe(few, val, init_weights=start, **FEW)


def test_every_unreadable_image_is_named(data, start, tmp_path) -> None:
    train, val = data
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(b"no image")
    items = [replace(train[n], path=tmp_path / f"{name}.png") for n, name in enumerate("ab")]
    broken = replace(train, items=(*items, *train.items[2:]))
    with pytest.raises(DatasetImageError, match="2 of 30") as caught:
        probe(broken, val, init_weights=start, **FEW)
    assert "a.png" in str(caught.value) and "b.png" in str(caught.value)


def test_features_that_do_not_fit_are_refused_first(data, start, monkeypatch, watched) -> None:
    monkeypatch.setattr(frozen_features, "BYTES_EACH", 2**40)
    with pytest.raises(OutOfMemoryError, match="45 images"):
        probe(*data, init_weights=start, **FEW)
    assert watched == [1]


def test_another_models_folder_is_kept(data, start, tmp_path) -> None:
    folder = model_folder(tmp_path / "mine", seed=1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OptionError, match="holds another model"):
        probe(*data, init_weights=start, output_dir=folder, **FEW)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_network_without_a_linear_head_is_refused(data, monkeypatch) -> None:
    import small_runs

    from skinxai import backbones, plugins

    class Bent(small_runs.Small):
        def head(self, maps):
            return torch.tanh(super().head(maps))

    def build(name: str, num_classes: int, drop_rate: float = 0.0):
        made = small_runs.build_small(name, num_classes, drop_rate)
        made.network.__class__ = Bent
        return made

    backbones.register("bent")(build)
    try:
        with pytest.raises(ModelError, match="one linear layer"):
            probe(*data, backbone="bent", init_weights=None, image_size=(32, 48), **FEW)
    finally:
        plugins.backbones.remove(["bent"])
