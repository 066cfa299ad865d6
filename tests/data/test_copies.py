"""Copies of training images: fingerprints that survive what is usually done to a picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from skinxai.data import Record, Records, prepare
from skinxai.data.hashing import looks
from skinxai.errors import IntegrityError, OptionError
from skinxai.labels import LabelSet
from skinxai.model_folders import fingerprints
from skinxai.model_folders.fingerprints import BYTES, Fingerprints, image_fingerprint

FILE = "training_fingerprints.safetensors"
HEIGHT, WIDTH = 150, 200
EARLIER = (  # of lesion(3), as written into model folders
    "07993988d4b87a778a8a888a54853b1ca578678a985d88d93434767937848787972596bb6b6988ab"
    "878da30d82c2a294888b67b30998d40351b57b6d6aae9aabbb87bd464ca64f3a6b968aa9844976b9"
    "5a79a58ca75877eca603a925e748ccb977dda6488ba7697b54796a7725b889898767985cb799568d"
    "5877a5a39375670ed9e625660999747da82998e8162967a784f583a9a55e679558736779333999c7"
    "77489857b49756b86b8a84c9988a7a9baacaa4619698b8667549ac566775a989c8974a7597d9d579"
)


def lesion(seed: int) -> np.ndarray:
    """A dark spot with a network of its own on skin, RGB uint8 ``(150, 200, 3)``."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    field = sum(
        strength * cv2.resize(draws.standard_normal((n, n)), (WIDTH, HEIGHT),
                              interpolation=cv2.INTER_CUBIC)
        for n, strength in ((4, 12), (8, 12), (16, 10), (32, 6))
    )  # fmt: skip
    spot = 70 * (np.hypot(y - 0.5, x - 0.66) < 0.3 + 0.06 * np.sin(5 * np.arctan2(y - 0.5, x)))
    grey = 170 + field - spot
    return np.stack([grey, 0.8 * grey, 0.7 * grey], axis=2).clip(0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA)


def turned(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """Rotated about the middle, and the corners that are then empty cut off."""
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, 1)
    whole = cv2.warpAffine(pixels, matrix, (WIDTH, HEIGHT))
    return whole[HEIGHT // 8 : -HEIGHT // 8, WIDTH // 10 : -WIDTH // 10]


CHANGES = {
    "quality 95": lambda p: encoded(p, 95),
    "quality 60": lambda p: encoded(p, 60),
    "smaller": lambda p: encoded(resized(p, 96, 72), 85),
    "larger": lambda p: encoded(resized(p, 375, 281), 85),
    "squeezed": lambda p: encoded(resized(p, 224, 224), 85),
    "brighter": lambda p: (255 * (p / 255) ** 0.75).astype(np.uint8),
    "less contrast": lambda p: (0.7 * p + 40).astype(np.uint8),
    "other colours": lambda p: (p * (1, 0.9, 0.85)).astype(np.uint8),
    "grey": lambda p: np.repeat(p[..., 1:2], 3, axis=2),
    "cropped": lambda p: p[:126, :167],
    "cropped to a square": lambda p: p[:, 25:175],
    "rotated by 5 degrees": lambda p: turned(p, 5),
    "all of it": lambda p: encoded(resized(np.rot90(p[10:140, 20:190])[:, ::-1], 260, 340), 70),
}
ORIENTATIONS = [(mirrored, quarters) for mirrored in (False, True) for quarters in range(4)]


@pytest.fixture(scope="module")
def known() -> Fingerprints:
    return Fingerprints.of(image_fingerprint(lesion(seed)) for seed in range(60))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(change, known) -> None:
    asked = [image_fingerprint(np.ascontiguousarray(CHANGES[change](lesion(s)))) for s in range(8)]
    assert known.copies(asked) == [True] * 8


@pytest.mark.parametrize(("mirrored", "quarters"), ORIENTATIONS)
def test_in_each_of_the_eight_orientations(mirrored, quarters, known) -> None:
    pixels = lesion(3)[:, ::-1] if mirrored else lesion(3)
    asked = image_fingerprint(encoded(np.rot90(pixels, quarters), 80))
    assert known.similarities([asked])[0] > 0.95


def test_a_turned_copy_of_a_square_picture() -> None:
    own = Fingerprints.of([image_fingerprint(resized(lesion(3), 128, 128))])
    asked = image_fingerprint(encoded(np.rot90(resized(lesion(3), 200, 128)), 80))
    assert own.similarities([asked])[0] > 0.9


@pytest.mark.parametrize(
    ("height", "width", "resized_before", "mark"),
    [(96, 128, False, 0), (128, 96, False, 0), (96, 128, True, 1), (128, 128, False, 1)],
)
def test_a_print_says_whether_its_picture_may_lie_on_another_side(
    height: int, width: int, resized_before: bool, mark: int
) -> None:
    pixels = resized(lesion(3), width, height)
    assert image_fingerprint(pixels, resized=resized_before)[0] >> 4 == mark


def test_other_pictures_are_not_copies(known) -> None:
    asked = [image_fingerprint(lesion(seed)) for seed in range(1000, 1060)]
    assert known.copies(asked) == [False] * 60
    assert float(known.similarities(asked).max()) < 0.6


@pytest.mark.parametrize("value", [0, 128, 255])
def test_pictures_without_any_structure_are_copies_of_nothing(value) -> None:
    flat = np.full((HEIGHT, WIDTH, 3), value, np.uint8)
    assert image_fingerprint(flat) == b""
    own = Fingerprints.of([image_fingerprint(flat), image_fingerprint(lesion(0))])
    assert len(own) == 1 and own.copies([image_fingerprint(flat)]) == [False]


def test_as_a_set_would_answer_and_as_one_by_one(known) -> None:
    prints = [image_fingerprint(lesion(seed)) for seed in range(60)]
    assert Fingerprints.of([*prints[::-1], prints[0]]) == known
    assert Fingerprints.of(prints[:40]) | Fingerprints.of(prints[20:]) == known
    assert Fingerprints.from_bytes(known.to_bytes()) == known and len(known) == 60
    assert repr(known) == "Fingerprints(60 images)"
    asked = [image_fingerprint(CHANGES["cropped"](lesion(s))) for s in (1, 2, 99)] + [b""]
    together = known.similarities(asked)
    alone = [float(known.similarities([each])[0]) for each in asked]
    assert np.allclose(together, alone, atol=1e-5) and together[3] == -1
    assert Fingerprints().copies(asked) == [False] * 4


def test_many_comparisons_show_a_bar(known, monkeypatch, capsys) -> None:
    asked = [image_fingerprint(lesion(seed)) for seed in range(60, 64)]
    for progress, most, shown in ((True, 241, False), (True, 240, True), (False, 240, False)):
        monkeypatch.setattr(fingerprints, "SHOWN", most)
        known.similarities(asked, progress)
        assert ("/240 " in capsys.readouterr().err) == shown


@pytest.mark.parametrize(
    "rows", [b"a", bytes(BYTES + 1), 2 * bytes(BYTES), b"b" + bytes(BYTES * 2 - 1)]
)
def test_damaged_bytes(rows) -> None:
    with pytest.raises(IntegrityError, match="fingerprints must be"):
        Fingerprints(rows)
    with pytest.raises(IntegrityError, match=FILE):
        Fingerprints.from_bytes(save({"fingerprints": np.zeros((2, BYTES - 1), np.uint8)}))
    with pytest.raises(OptionError, match="must have 200 bytes, got 3"):
        Fingerprints.of([b"abc"])


def test_prints_of_earlier_versions_are_understood() -> None:
    earlier = Fingerprints.of([bytes.fromhex(EARLIER)])
    assert earlier.similarities([image_fingerprint(lesion(3))])[0] > 0.98


def test_portraits_are_found_in_a_folder_of_another_aspect(tmp_path: Path) -> None:
    items = []
    for seed in range(40):
        path = tmp_path / f"{seed}.png"
        Image.fromarray(np.rot90(lesion(seed))).save(path)
        items.append(Record(f"{seed}", path, ("a", "b")[seed % 2], lesion_id=f"l{seed}"))
    records = Records(tuple(items), LabelSet(("a", "b")))
    kept = prepare(records, tmp_path / "kept", image_size=(96, 128), progress=False)
    known = Fingerprints.of(look.fingerprint for look in looks(kept))
    asked = [image_fingerprint(encoded(np.rot90(lesion(seed)), 85)) for seed in range(40)]
    assert min(known.similarities(asked)) > 0.7
