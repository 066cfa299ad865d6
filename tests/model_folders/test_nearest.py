"""Training lesions that resemble an image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from skinxai import Classifier, checkpoints
from skinxai.checkpoints.optional_parts import read_optional
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.data import Record, Records, TrainedOn, pixel_hash
from skinxai.errors import IntegrityError, ModelError, OptionError
from skinxai.explaining.by_example import recall
from skinxai.labels import LabelSet
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.files import read_config, read_model_folder, write_model_folder
from skinxai.model_folders.neighbours import Neighbours
from skinxai.model_folders.parts import MANIFEST, NEIGHBOURS
from skinxai.testing.networks import COLOURS, colour_classifier
from skinxai.testing.pictures import PLACES, picture

LABELS = LabelSet(tuple(COLOURS))


def hashes(count: int) -> list[str]:
    return [f"{number:04x}" * 16 for number in range(1, count + 1)]


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Two pictures of each of three lesions of each colour."""
    items = []
    for colour in COLOURS:
        for number, place in enumerate(PLACES):
            for shot in "ab":
                pixels = picture({place: colour})
                pixels[0, 0] = ord(shot)  # no two are identical
                path = tmp_path / f"{colour}-{number}{shot}.png"
                Image.fromarray(pixels).save(path)
                items.append(Record(path.stem, path, colour, lesion_id=f"{colour}-{number}"))
    return Records(tuple(items), LABELS, "patches")


def test_the_nearest_by_hand() -> None:
    """Vectors at known angles around their mean; all dimensions are kept."""
    angles = np.radians([0, 90, 180, 270])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32) + 5
    found = Neighbours.build(vectors, [0, 1, 2, 1], hashes(4), dimensions=2)
    asked = np.array([[5 + np.cos(np.radians(30)), 5 + np.sin(np.radians(30))]], np.float32)
    rows, distances = found.nearest(asked, 4)
    assert rows.tolist() == [[0, 1, 3, 2]]
    expected = 1 - np.cos(np.radians([30, 60, 120, 150]))
    np.testing.assert_allclose(distances[0], expected, atol=0.01)  # eight bits
    assert found.pixels[2].tobytes() == bytes.fromhex(hashes(3)[2])[:8]


def test_rows_are_in_the_order_of_hashes_not_of_names() -> None:
    """The same file, whatever the images were called."""
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    names = [f"{number * 7919 % 13:02x}" * 32 for number in range(1, 7)]
    order = [3, 0, 5, 1, 4, 2]
    labels = np.arange(6)
    one = Neighbours.build(vectors, labels, names, dimensions=4)
    two = Neighbours.build(vectors[order], labels[order], [names[k] for k in order], dimensions=4)
    assert [row.tobytes() for row in one.pixels] == sorted(bytes.fromhex(n)[:8] for n in names)
    np.testing.assert_array_equal(one.pixels, two.pixels)
    np.testing.assert_array_equal(one.labels, two.labels)
    rows, _ = one.nearest(vectors[:1], 1)
    assert one.labels[rows[0, 0]] == 0  # each row kept its label


def test_labels_of_more_classes_than_a_byte_holds() -> None:
    """Class 260 in one byte would be class 4."""
    vectors = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    for labels, kind in (([255, 0, 4, 1], np.uint8), ([260, 0, 4, 999], np.uint16)):
        found = Neighbours.from_bytes(Neighbours.build(vectors, labels, hashes(4)).to_bytes())
        rows, _ = found.nearest(vectors, 1)
        assert found.labels.dtype == kind and found.labels[rows[:, 0]].tolist() == labels
    for labels in ([0, 1, 2, 65536], [0, 1, 2, -1]):
        with pytest.raises(OptionError, match="must be positions from 0 to 65535"):
            Neighbours.build(vectors, labels, hashes(4))
    for dimensions in (0, -1, 1.0):
        with pytest.raises(OptionError, match="dimensions must be an integer >= 1"):
            Neighbours.build(vectors, [0, 1, 2, 3], hashes(4), dimensions=dimensions)


def test_labels_in_another_order_are_refused(records) -> None:
    turned = replace(records, labels=LabelSet(tuple(sorted(COLOURS))))
    with pytest.raises(OptionError, match=r"\['red', 'green', 'blue'\] in the same order, got"):
        colour_classifier().index(turned)


def test_compression_finds_what_the_whole_embeddings_find() -> None:
    draws = np.random.default_rng(0)
    spread = np.geomspace(1, 0.01, 256)  # as features are: few directions have most of it
    training = (draws.normal(size=(400, 256)) * spread).astype(np.float32)
    asked = (draws.normal(size=(50, 256)) * spread).astype(np.float32)
    small = Neighbours.build(training, np.zeros(400), hashes(400), dimensions=96)
    assert len(small.to_bytes()) < training.nbytes / 4
    assert 0.8 < recall(small, training, hashes(400), asked) <= 1
    poor = Neighbours.build(training, np.zeros(400), hashes(400), dimensions=2)
    assert recall(poor, training, hashes(400), asked) < 0.5


def test_one_lesion_is_one_neighbour_and_colours_go_together(records, tmp_path) -> None:
    classifier = colour_classifier().index(records, dimensions=3)
    asked = picture({"upper right": "green"})
    found = classifier.nearest(asked, k=9)
    assert [n.label for n in found][:3] == ["green"] * 3
    assert found == sorted(found, key=lambda n: n.distance) and found[0].path is None
    both = classifier.nearest([asked, picture({"lower middle": "blue"})], k=1, records=records)
    assert [[n.label for n in each] for each in both] == [["green"], ["blue"]]
    assert both[0][0].path.name.startswith("green") and both[0][0].path.stem.endswith("a")


def test_the_id_is_the_records_own_where_they_are_given(records) -> None:
    classifier = colour_classifier().index(records, dimensions=3)
    asked = picture({"upper right": "green"})
    unnamed = classifier.nearest(asked, k=9)
    prefixes = {pixel_hash(np.asarray(Image.open(item.path)))[:16]: item for item in records}
    assert len({each.id for each in unnamed}) == 9
    for each in unnamed:
        assert prefixes[each.id].label == each.label and each.path is None
    named = classifier.nearest(asked, k=9, records=records)
    for one, two in zip(unnamed, named, strict=True):
        item = prefixes[one.id]
        assert (two.id, two.path, two.label) == (item.image_id, item.path, item.label)
        assert two.distance == one.distance
    part = records.subset([item.image_id for item in records if item.label == "green"])
    found = classifier.nearest(asked, k=9, records=part)
    for each, one in zip(found, unnamed, strict=True):  # a hash where they have no such image
        assert (each.id == one.id) == (each.path is None) == (each.label != "green")


def test_of_two_copies_in_the_records_the_first_by_its_id_is_named(records, tmp_path) -> None:
    classifier = colour_classifier().index(records, dimensions=3)
    first = records[0]
    again = replace(first, image_id="z" + first.image_id, path=tmp_path / "copy.png")
    again.path.write_bytes(first.path.read_bytes())
    for items in ((again, first), (first, again)):
        found = classifier.nearest(first.path, k=9, records=replace(records, items=items))
        assert [(n.id, n.path) for n in found if n.path] == [(first.image_id, first.path)]


def saved(folder: Path, labels: LabelSet = LABELS, trained_on: TrainedOn | None = None) -> Path:
    from skinxai import backbones

    model = backbones.build("resnet18", len(labels))
    config = ModelConfig(folder.name, "resnet18", labels, PreprocessConfig((64, 64)))
    checkpoints.save(str(folder), model, config, "A card.", trained_on)
    return folder


def test_a_folder_keeps_them_without_names(records, tmp_path) -> None:
    known = TrainedOn.from_hashes(pixel_hash(np.asarray(Image.open(i.path))) for i in records)
    folder = saved(tmp_path / "model", trained_on=known)
    indexed = Classifier.from_pretrained(folder, device="cpu").index(records, dimensions=4)
    indexed.save_pretrained(tmp_path / "indexed")
    again = Classifier.from_pretrained(tmp_path / "indexed", device="cpu")
    asked = records[0].path
    assert again.nearest(asked, k=4) == indexed.nearest(asked, k=4)
    assert again.nearest(asked, k=1)[0].distance == pytest.approx(0, abs=0.01)
    data = (tmp_path / "indexed" / NEIGHBOURS).read_bytes()
    assert len(data) < 20_000  # six small arrays
    files = read_model_folder(tmp_path / "indexed")
    fewer = replace(read_config(files, ModelConfig), labels=LabelSet(("a", "b")))
    with pytest.raises(IntegrityError, match="must be positions among the model's 2"):
        read_optional(files.files, fewer)
    unknown = saved(tmp_path / "other", trained_on=TrainedOn())
    with pytest.raises(OptionError, match="9 of 9 lesions are not; pass the training part"):
        Classifier.from_pretrained(unknown, device="cpu").index(records)


def test_the_lesions_of_another_model_are_refused(records, tmp_path) -> None:
    """By the manifest, and by what each was trained on where the manifest is written anew."""
    halves = [records.subset([i.image_id for i in records if (i.lesion_id[-1] in "01") == own])
              for own in (True, False)]  # fmt: skip
    for name, half in zip("ab", halves, strict=True):
        known = TrainedOn.from_hashes(pixel_hash(np.array(Image.open(i.path))) for i in half)
        start = Classifier.from_pretrained(saved(tmp_path / f"{name}0", trained_on=known))
        start.index(half, dimensions=2).save_pretrained(tmp_path / name)
    (tmp_path / "a" / NEIGHBOURS).write_bytes((tmp_path / "b" / NEIGHBOURS).read_bytes())
    with pytest.raises(IntegrityError, match=r"neighbours\.safetensors .* must have the sha256"):
        Classifier.from_pretrained(tmp_path / "a")
    files = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    del files[MANIFEST]
    write_model_folder(tmp_path / "a", files)
    count = len({item.lesion_id for item in halves[1]})
    with pytest.raises(IntegrityError, match=f"{count} of {count} are not: it is another model's"):
        Classifier.from_pretrained(tmp_path / "a")


def test_models_that_cannot_answer(records, tmp_path) -> None:
    folder = saved(tmp_path / "model")
    plain = Classifier.from_pretrained(folder, device="cpu")
    with pytest.raises(ModelError, match=r"has no neighbours.safetensors; make them with"):
        plain.nearest(records[0].path)
    write_ensemble(tmp_path / "both", [folder, saved(tmp_path / "more")], name="both")
    ensemble = Classifier.from_pretrained(tmp_path / "both", device="cpu")
    with pytest.raises(ModelError, match=r"nearest\(\) needs a single network"):
        ensemble.nearest(records[0].path)
    with pytest.raises(ModelError, match=r"index\(\) needs a single network"):
        ensemble.index(records)
    indexed = colour_classifier().index(records, dimensions=3)
    for k in (0, 10, 1.0):
        with pytest.raises(OptionError, match="k must be an integer from 1 to 9"):
            indexed.nearest(records[0].path, k)
    with pytest.raises(OptionError, match="on_error must be 'raise'"):
        indexed.nearest([records[0].path, "missing.png"], on_error="return")


def test_a_network_that_was_trained_on_needs_a_new_index(records) -> None:
    classifier = colour_classifier()
    network, preprocessing = classifier.network.network, classifier.config.preprocessing
    wrapped = Classifier.from_module(
        network, LABELS, preprocessing, network.features, network.head, device="cpu"
    )
    indexed = wrapped.index(records, dimensions=3)
    assert len(indexed.nearest(records[0].path, 2)) == 2
    with torch.no_grad():
        network.colours.weight.mul_(2)
    with pytest.raises(ModelError, match=r"changed after its training lesions were embedded"):
        indexed.nearest(records[0].path, 2)
    assert len(indexed.index(records, dimensions=3).nearest(records[0].path, 2)) == 2


@pytest.mark.parametrize("change", ["vectors", "labels", "mean", "cut", "more"])
def test_damaged_files_are_refused(change) -> None:
    from safetensors.numpy import load, save

    vectors = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    data = Neighbours.build(vectors, [0] * 6, hashes(6), dimensions=3).to_bytes()
    arrays = load(data)
    if change == "vectors":
        arrays["vectors"] = arrays["vectors"].astype(np.int16)
    elif change == "labels":
        arrays["labels"] = arrays["labels"][:-1]
    elif change == "mean":
        arrays["mean"] = arrays["mean"] * np.nan
    elif change == "more":
        arrays["more"] = arrays["mean"]
    changed = data[:-1] if change == "cut" else save(arrays)
    with pytest.raises(IntegrityError, match=r"neighbours\.safetensors"):
        Neighbours.from_bytes(changed)
    assert len(Neighbours.from_bytes(data)) == 6
