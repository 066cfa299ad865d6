"""A linear probe and a vote of neighbours, against scikit-learn and by hand; and their model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from small_runs import LABELS, coloured, model_folder, rows

from skinxai import Classifier
from skinxai.data import Records
from skinxai.errors import (
    DatasetImageError,
    LeakageError,
    ModelError,
    OptionError,
    TrainingError,
    UnknownNameError,
)
from skinxai.probing import fitted_model, probe
from skinxai.probing.frozen_network import FrozenNetwork
from skinxai.probing.head_layer import set_head

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
