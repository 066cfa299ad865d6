"""Masks below the folders of classes, or beside photographs there, are never learnt."""

from pathlib import Path

import pytest
from PIL import Image

from skinxai.data import load_folder, split
from skinxai.errors import DatasetError


def image(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (40, 40), 1).save(path)


LAYOUTS = {
    "folders": ("{}/images/{}.jpg", "{}/masks/{}.png"),
    "segmentations beside": ("{}/{}.jpg", "{}/Lesion Segmentation/{}.png"),
    "in parts": ("train/{}/images/{}.jpg", "train/{}/masks/{}.png"),
    "for each image": ("{}/{}/photo.jpg", "{}/{}/GroundTruth/mask.jpg"),
    "beside": ("{}/{}.jpg", "{}/{}_segmentation.png"),
    "beside, in one folder": ("{}/all/{}.png", "{}/all/{}_mask.tif"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_are_refused_where_photographs_are_learnt(layout: str, tmp_path: Path) -> None:
    photograph, mask = LAYOUTS[layout]
    for label in ("mel", "nv"):
        for number in range(3):
            image(tmp_path / photograph.format(label, number))
    assert load_folder(tmp_path).class_counts() == [3, 3]
    for label in ("mel", "nv"):
        image(tmp_path / mask.format(label, 1), "L")
    with pytest.raises(DatasetError, match="2 of 8 images say that they are masks, ") as caught:
        load_folder(tmp_path, labels=("nv", "mel"))
    assert repr(mask.format("mel", 1)) in str(caught.value)


def test_photographs_whose_names_only_sound_like_masks_are_read(tmp_path: Path) -> None:
    for label in ("mel", "nv"):
        image(tmp_path / label / "unmasked.png", "L")
        image(tmp_path / label / "mask.png")  # in colour
        image(tmp_path / label / "label.jpg", "L")  # masks are stored without loss
    assert load_folder(tmp_path).class_counts() == [3, 3]
    image(tmp_path / "other" / "mel" / "labels" / "1.png")
    image(tmp_path / "other" / "nv" / "labels" / "1.png")
    assert len(load_folder(tmp_path / "other")) == 2  # nothing lies elsewhere


def test_folders_that_may_be_patients_are_told(tmp_path: Path) -> None:
    """Each of their images counts as a lesion of its own, so that a split tears them apart."""
    for patient in range(6):
        for label in ("mel", "nv"):
            for number in range(3):
                image(tmp_path / label / f"patient {label} {patient}" / f"{number}.png")
    records = load_folder(tmp_path)
    parts = split(records)
    folders = [{Path(item.image_id).parent for item in part} for part in (parts.train, parts.test)]
    assert folders[0] & folders[1]
    told = "12 folders below those of the classes count neither as lesions nor as patients"
    assert any(note.startswith(told) for note in records.notes)
    one = tmp_path / "one"
    for label in ("mel", "nv"):
        image(one / label / "images" / "1.png")
    assert not any("neither as lesions" in note for note in load_folder(one).notes)
