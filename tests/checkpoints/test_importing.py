"""Networks that timm saved, as model folders: the same answers, or a sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hub_server import TOKEN, Hub, Repo
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from skinxai import Classifier
from skinxai.checkpoints.importing import import_timm
from skinxai.errors import (
    IntegrityError,
    ModelConfigError,
    ModelError,
    ModelNotFoundError,
    UnknownNameError,
)
from skinxai.labels import LabelSet

LABELS = LabelSet(("mel", "nv", "bkl"), {}, frozenset({"mel"}))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(1)
    return timm.create_model("resnet10t", num_classes=3).eval()


@pytest.fixture
def saved(network, tmp_path) -> Path:
    folder = tmp_path / "timm"
    timm.models.save_for_hf(network, folder, safe_serialization=True)
    return folder


def test_it_answers_as_timm_does(saved, network, photos, tmp_path) -> None:
    import_timm(saved, tmp_path / "own", labels=LABELS, image_size=(96, 128), licence="MIT")
    classifier = Classifier.from_pretrained(tmp_path / "own")
    found = classifier.predict(photos[0])
    from skinxai.images.reading import read_image
    from skinxai.images.transforms import evaluation_transform

    array = evaluation_transform(read_image(photos[0]).pixels, classifier.config.preprocessing)
    with torch.no_grad():
        expected = network(torch.from_numpy(array)[None]).softmax(dim=1)[0].numpy()
    np.testing.assert_allclose(list(found.probabilities.values()), expected, atol=1e-6)
    assert classifier.config.preprocessing.mean == tuple(network.pretrained_cfg["mean"])
    assert found.malignant_probability == pytest.approx(float(expected[0]), abs=1e-6)
    assert classifier.explain(photos[0]).heatmap.shape == read_image(photos[0]).pixels.shape[:2]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_weights_that_were_saved_within_a_wrapper_are_named(saved, tmp_path, prefix) -> None:
    state = load_file(saved / "model.safetensors")
    save_file({prefix + key: value for key, value in state.items()}, saved / "model.safetensors")
    with pytest.raises(IntegrityError, match=f"puts '{prefix}' before every name; save the netw"):
        import_timm(saved, tmp_path / "own", labels=LABELS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("fc.bias"), "'fc.bias', which the file does not have"),
        (lambda state: state.update(more=torch.ones(1)), "'more', which the backbone does not"),
        (
            lambda state: state.update({"fc.bias": torch.ones(4)}),
            r"'fc.bias' of shape \(4,\) and type F32, where the backbone has \(3,\) and float32",
        ),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(saved, tmp_path, change, message) -> None:
    state = load_file(saved / "model.safetensors")
    change(state)
    save_file(state, saved / "model.safetensors")
    with pytest.raises(IntegrityError, match=message):
        import_timm(saved, tmp_path / "own", labels=LABELS)


def test_saving_again_keeps_every_weight(saved, tmp_path) -> None:
    import_timm(saved, tmp_path / "own", labels=LABELS)
    first = Classifier.from_pretrained(tmp_path / "own")
    first.save_pretrained(tmp_path / "again")
    second = Classifier.from_pretrained(tmp_path / "again")
    state = second.network.state_dict()
    assert all(torch.equal(t, state[n]) for n, t in first.network.state_dict().items())


def test_from_the_hub(hub: Hub, saved, tmp_path) -> None:
    hub.repos["tester/timm"] = Repo(private=True)
    files = {path.name: path.read_bytes() for path in saved.iterdir()}
    commit = hub.repos["tester/timm"].commit(files | {"pytorch_model.bin": b"x"})
    source = f"hf-hub:tester/timm@{commit}"
    revision = import_timm(source, tmp_path / "hub", labels=LABELS, token=TOKEN)
    assert revision == import_timm(saved, tmp_path / "here", labels=LABELS)
    assert not any("pytorch_model" in path for path in hub.paths())
    with pytest.raises(ModelNotFoundError, match="was not found"):
        import_timm("hf-hub:tester/absent", tmp_path / "x", labels=LABELS)
    assert not (tmp_path / "x").exists()


def test_a_commit_in_the_cache_is_not_asked_for(hub: Hub, saved, tmp_path) -> None:
    hub.repos["tester/timm"] = Repo()
    files = {path.name: path.read_bytes() for path in saved.iterdir()}
    commit = hub.repos["tester/timm"].commit(files)
    revision = import_timm(f"hf-hub:tester/timm@{commit}", tmp_path / "first", labels=LABELS)
    asked = list(hub.requests)
    again = import_timm(f"hf-hub:tester/timm@{commit}", tmp_path / "again", labels=LABELS)
    assert again == revision and hub.requests == asked
    (snapshot,) = Path(constants.HF_HUB_CACHE).glob(f"models--tester--timm/snapshots/{commit}")
    (snapshot / "model.safetensors").unlink()  # a download that was interrupted
    assert import_timm(f"hf-hub:tester/timm@{commit}", tmp_path / "x", labels=LABELS) == revision
    import_timm("hf-hub:tester/timm@main", tmp_path / "main", labels=LABELS)
    assert hub.requests[-1] == ("HEAD", "/tester/timm/resolve/main/config.json")
    hub.close()
    import_timm(f"hf-hub:tester/timm@{commit}", tmp_path / "offline", labels=LABELS)


CHANGES = {
    "classes": (lambda c: c.update(num_classes=4), ModelConfigError, "one for each of the 4"),
    "architecture": (lambda c: c.update(architecture="resnet11t"), UnknownNameError, "resnet11t"),
    "arguments": (
        lambda c: c["model_args"].update(global_pool="max"), IntegrityError,
        "answers differently than in timm: its logits differ by"),
    "another network": (
        lambda c: c.update(architecture="resnet14t"), IntegrityError, "must hold exactly"),
    "no mean": (lambda c: c["pretrained_cfg"].pop("mean"), ModelConfigError, "mean and std"),
    "none of timm's": (lambda c: c.clear(), ModelConfigError, "must be timm's"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_refused(saved, tmp_path, change) -> None:
    edit, error, words = CHANGES[change]
    config = json.loads((saved / "config.json").read_text())
    edit(config)
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(error, match=words):
        import_timm(saved, tmp_path / "own", labels=LABELS)
    assert not (tmp_path / "own").exists()


def test_other_refusals(saved, tmp_path) -> None:
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    with pytest.raises(ModelNotFoundError, match=r"must hold model\.safetensors"):
        import_timm(saved, tmp_path / "own", labels=LABELS)
    with pytest.raises(ModelNotFoundError, match=r"must hold config\.json"):
        import_timm(tmp_path / "nowhere", tmp_path / "own", labels=LABELS)


def test_a_size_that_a_transformer_does_not_take(tmp_path) -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=3)
    timm.models.save_for_hf(network, tmp_path / "vit", safe_serialization=True)
    with pytest.raises(ModelError, match="image_size must be one that the network takes"):
        import_timm(tmp_path / "vit", tmp_path / "own", labels=LABELS, image_size=(96, 128))
    import_timm(tmp_path / "vit", tmp_path / "own", labels=LABELS)


NAMED = {
    "a list": ({"label_names": ["nv", "bkl", "mel"]}, "logit 0 is 'nv', which has the place 1"),
    "by place": ({"label_names": {"0": "MEL", "1": "bkl"}}, "logit 1 is 'bkl', which has the pl"),
    "of old": ({"labels": ["x", "y", "mel"]}, "logit 2 is 'mel', which has the place 0"),
    "long names": ({"label_names": ["Melanoma", "keratosis", "nevus"]}, "logit 2 is 'nevus'"),
    "below": ({"pretrained_cfg": {"label_names": ["nv", "mel"]}}, "logit 0 is 'nv'"),
}  # fmt: skip


@pytest.mark.parametrize("how", NAMED)
def test_labels_that_the_config_has_in_another_order_are_refused(saved, tmp_path, how) -> None:
    """Each class would be called by another one's name."""
    more, words = NAMED[how]
    config = json.loads((saved / "config.json").read_text())
    below = config["pretrained_cfg"] | more.get("pretrained_cfg", {})
    (saved / "config.json").write_text(json.dumps(config | more | {"pretrained_cfg": below}))
    labels = LabelSet(LABELS.codes, {"mel": "melanoma", "nv": "nevus"}, LABELS.malignant)
    with pytest.raises(ModelConfigError, match=words):
        import_timm(saved, tmp_path / "own", labels=labels)
    assert not (tmp_path / "own").exists()


def test_labels_that_the_config_has_in_the_same_order_or_not_at_all(network, tmp_path) -> None:
    for number, names in enumerate((["MEL", "nv", "other"], ["n0144", "n0145", "n0146"])):
        folder = tmp_path / f"timm-{number}"
        timm.models.save_for_hf(
            network, folder, safe_serialization=True, model_config={"label_names": names}
        )
        import_timm(folder, tmp_path / f"own-{number}", labels=["mel", "nv", "bkl"])
        assert Classifier.from_pretrained(tmp_path / f"own-{number}").labels == ("mel", "nv", "bkl")
