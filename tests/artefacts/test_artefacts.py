"""Each artefact is where its mask says, is the same for the same seed, and is what it is called."""

import colorsys
import itertools

import numpy as np
import pytest
from PIL import Image

from skinxai.artefacts import CATALOGUE, Artefact, named
from skinxai.errors import InputDtypeError, InputShapeError, OptionError, UnknownNameError

SKIN, PIGMENT = (214, 166, 158), (104, 62, 48)
LOCAL = [each for each in CATALOGUE if each.local]


def lesion(size=(120, 160), centre=(0.5, 0.5), radii=(0.2, 0.16), seed=0):
    """Pigment on skin with pores: pixels and mask."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    away = np.hypot((y / height - centre[0]) / radii[0], (x / width - centre[1]) / radii[1])
    mask = away < 1
    grain = np.random.default_rng(seed).normal(0, 6, (*size, 1))
    base = np.where(mask[..., None], PIGMENT, SKIN) + grain
    return np.clip(base, 0, 255).astype(np.uint8), mask


PICTURES = {
    "centred": lesion(),
    "upright": lesion((160, 110), (0.6, 0.4)),
    "at the corner": lesion((96, 200), (0.1, 0.05), (0.3, 0.2)),
    "small": lesion((32, 40), radii=(0.15, 0.15)),
    "large": lesion((450, 600), (0.4, 0.6)),
}


def by_name(name: str) -> list[Artefact]:
    return [each for each in CATALOGUE if each.name == name]


def one(name: str, strength: str) -> Artefact:
    return next(each for each in by_name(name) if each.strength == strength)


@pytest.mark.parametrize("shown", PICTURES)
@pytest.mark.parametrize("artefact", CATALOGUE, ids=str)
def test_pixels_change_only_where_the_mask_says(artefact: Artefact, shown: str) -> None:
    pixels, mask = PICTURES[shown]
    before = pixels.copy(), mask.copy()
    made = artefact(pixels, mask, image_id=shown, seed=3)
    np.testing.assert_array_equal(pixels, before[0])
    np.testing.assert_array_equal(mask, before[1])
    if made is None:
        assert (artefact.name == "ink" and shown == "small") or artefact.name == "ruler"
        return
    assert made.pixels.shape == pixels.shape and made.pixels.dtype == np.uint8
    assert made.where.shape == mask.shape and made.where.dtype == np.bool_
    np.testing.assert_array_equal(made.pixels[~made.where], pixels[~made.where])
    assert (made.pixels != pixels).any() and made.where.any()
    assert made.where.all() or artefact.local
    if artefact.name in ("ink", "ruler"):
        assert not (made.where & mask).any()


@pytest.mark.parametrize("artefact", CATALOGUE, ids=str)
def test_the_same_seed_and_id_draw_the_same(artefact: Artefact) -> None:
    pixels, mask = PICTURES["centred"]
    first, again = (artefact(pixels, mask, image_id="a", seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.where, again.where)
    if artefact.name in (
        "ink", "ruler", "hair", "gel bubbles", "dark corners", "uneven light", "noise"
    ):  # fmt: skip
        for other in ({"image_id": "b", "seed": 1}, {"image_id": "a", "seed": 2}):
            assert (artefact(pixels, mask, **other).pixels != first.pixels).any()


@pytest.mark.parametrize("artefact", [a for a in CATALOGUE if not a.needs_mask], ids=str)
def test_what_needs_no_mask_is_the_same_without_one(artefact: Artefact) -> None:
    pixels, mask = PICTURES["upright"]
    with_mask, without = artefact(pixels, mask, image_id="a"), artefact(pixels, image_id="a")
    np.testing.assert_array_equal(with_mask.pixels, without.pixels)


@pytest.mark.parametrize("artefact", by_name("lesion erased"), ids=str)
@pytest.mark.parametrize("shown", ["centred", "upright", "large"])
def test_erasing_the_lesion_leaves_skin(artefact: Artefact, shown: str) -> None:
    pixels, mask = PICTURES[shown]
    made = artefact(pixels, mask)
    assert made.where[mask].all()
    inner = made.pixels[mask].astype(float)
    np.testing.assert_allclose(inner.mean(axis=0), SKIN, atol=4)  # no pigment shines through
    assert np.abs(inner - SKIN).max() < 40
    if artefact.strength == "inpainted":  # with the texture of the skin around it
        assert inner.std(axis=0) == pytest.approx(pixels[~mask].std(axis=0), rel=0.35)
        assert made.where.mean() < 2.5 * mask.mean()


@pytest.mark.parametrize(("strength", "colour"), [("mean", SKIN), ("black", (0, 0, 0))])
def test_erasing_the_skin_leaves_the_lesion(strength: str, colour: tuple[int, ...]) -> None:
    pixels, mask = PICTURES["centred"]
    made = one("skin erased", strength)(pixels, mask)
    np.testing.assert_array_equal(made.pixels[mask], pixels[mask])
    np.testing.assert_allclose(made.pixels[made.where].mean(axis=0), colour, atol=2)
    assert (made.where | mask).mean() > 0.85


def test_what_a_dermatologist_would_see() -> None:
    pixels, mask = PICTURES["large"]
    marked = one("ink", "circle")(pixels, mask, image_id="a")
    inked = marked.pixels[marked.where].astype(int)
    red, green, blue = inked[inked.mean(axis=1) < 90].T
    assert len(red) > 500 and (blue > red).all() and (red > green).all()  # violet
    paper = one("ruler", "paper")(pixels, mask, image_id="a")
    levels = paper.pixels[paper.where].astype(int).mean(axis=1)
    assert (levels > 200).mean() > 0.6 and 0.02 < (levels < 80).mean() < 0.3  # paper, and ticks
    assert paper.where[:, [0, -1]].all(axis=0).any() or paper.where[[0, -1]].all(axis=1).any()
    glass = one("ruler", "glass")(pixels, mask, image_id="a")
    assert glass.where.sum() < paper.where.sum() / 4
    hairy = one("hair", "dense")(pixels, mask, image_id="a")
    assert (hairy.where & mask).any() and hairy.pixels[hairy.where].mean() < pixels.mean()
    corners = one("dark corners", "large")(pixels, image_id="a")
    assert corners.pixels[[0, 0, -1, -1], [0, -1, 0, -1]].max() < 12
    assert not corners.where[225, 300]
    gel = one("gel bubbles", "many")(pixels, image_id="a")
    ratio = gel.pixels[gel.where].mean(axis=1) / pixels[gel.where].mean(axis=1)
    assert ratio.min() < 0.6 and gel.pixels[gel.where].min(axis=1).max() > 240  # rims, highlights


def test_greater_strengths_change_more() -> None:
    pixels, mask = PICTURES["large"]
    pixels = np.where(mask[..., None], PIGMENT, SKIN).astype(np.uint8)  # whose grain hides no blur
    names = ("ink", "hair", "dark corners", "gel bubbles", "uneven light", "noise", "blur", "JPEG")
    for name in names:
        made = [each(pixels, mask, image_id="a").pixels for each in by_name(name)]
        found = [np.abs(each.astype(int) - pixels).mean() for each in made]
        assert found[0] > 0, name
        assert all(b > 1.3 * a for a, b in itertools.pairwise(found)), name


def test_photographs_by_hand() -> None:
    pixels, _ = PICTURES["upright"]
    np.testing.assert_array_equal(one("rotation", "180°")(pixels).pixels, pixels[::-1, ::-1])
    cast = one("colour cast", "yellow")(pixels).pixels
    np.testing.assert_array_equal(cast, np.rint((pixels * (1.04, 1, 0.8)).clip(0, 255)))
    grainy, _ = PICTURES["large"]
    losses = [np.abs(one("WebP", strength)(grainy).pixels - grainy.astype(float)).mean()
              for strength in ("quality 80", "quality 50")]  # fmt: skip
    assert 1 < losses[0] < 0.95 * losses[1] < 10
    larger = one("scale", "1.25")(pixels).pixels
    middle = Image.fromarray(pixels[16:144, 11:99]).resize((110, 160), Image.Resampling.BICUBIC)
    assert np.abs(larger.astype(int) - np.asarray(middle)).mean() < 3


def test_light_by_hand() -> None:
    pixels, _ = PICTURES["upright"]
    brighter = one("exposure", "brighter")(pixels).pixels
    assert brighter[3, 5, 1] == round(255 * (int(pixels[3, 5, 1]) / 255) ** 0.7)
    ends = np.array([[[0, 255, 0]] * 40] * 40, np.uint8)
    for strength in ("brighter", "darker"):
        np.testing.assert_array_equal(one("exposure", strength)(ends).pixels, ends)
    for strength, degrees in (("to yellow", 10), ("to violet", -10)):
        turned = one("hue", strength)(pixels).pixels
        h, s, v = colorsys.rgb_to_hsv(*(pixels[7, 9] / 255))
        expected = colorsys.hsv_to_rgb((h + degrees / 360) % 1, s, v)
        np.testing.assert_allclose(turned[7, 9], 255 * np.array(expected), atol=0.51)
    grey = np.full((91, 121, 3), 100, np.uint8)
    np.testing.assert_array_equal(one("hue", "to violet")(grey).pixels, grey)
    lit = one("uneven light", "strong")(grey, image_id="a").pixels[..., 0]
    assert (lit.max(), lit.min(), lit[45, 60]) == (140, 60, 100)
    corners = [lit[y, x] for y in (0, -1) for x in (0, -1)]
    assert sorted(corners)[::3] == [60, 140] and lit[0, 0] + lit[-1, -1] == 200
    noisy = one("noise", "strong")(grey, image_id="a").pixels.astype(float) - 100
    assert abs(noisy.mean()) < 0.5 and noisy.std() == pytest.approx(18, rel=0.02)
    assert abs(np.corrcoef(noisy[:, :-1].ravel(), noisy[:, 1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(noisy[..., 0].ravel(), noisy[..., 1].ravel())[0, 1]) < 0.03


def test_a_lesion_without_room() -> None:
    pixels, mask = lesion(radii=(2, 2))
    assert mask.all()
    for artefact in CATALOGUE:
        made = artefact(pixels, mask)
        assert (made is None) == artefact.needs_mask, artefact


@pytest.mark.parametrize("artefact", [CATALOGUE[0], one("ink", "circle"), one("blur", "slight")],
                         ids=str)  # fmt: skip
def test_what_cannot_be_drawn_on(artefact: Artefact) -> None:
    pixels, mask = PICTURES["centred"]
    with pytest.raises(InputShapeError, match=r"height and width \(120, 160\), got \(160, 120\)"):
        artefact(pixels, mask.T.copy())
    with pytest.raises(InputDtypeError, match="mask must be an array of dtype bool, got uint8"):
        artefact(pixels, mask.astype(np.uint8))
    with pytest.raises(InputDtypeError, match="pixels must be an array of dtype uint8, got float"):
        artefact(pixels / 255, mask)
    for shape in ((120, 160), (120, 160, 4), (31, 160, 3), (0, 160, 3)):
        with pytest.raises(InputShapeError, match="sides of at least 32"):
            artefact(np.zeros(shape, np.uint8), None)
    if artefact.needs_mask:
        for bad, words in ((None, "got none"), (np.zeros_like(mask), "got an empty one")):
            with pytest.raises(OptionError, match=f"needs a mask with the lesion, {words}"):
                artefact(pixels, bad)


def test_artefacts_by_name() -> None:
    assert named() == CATALOGUE
    assert [each.name for each in named(["ruler", "ink"])] == ["ink", "ink", "ruler", "ruler"]
    with pytest.raises(UnknownNameError, match=r"Unknown artefact 'rulr'.*Did you mean 'ruler'"):
        named(["rulr"])
    with pytest.raises(OptionError, match="artefacts must name at least one of"):
        named([])
    assert len({(each.name, each.strength) for each in CATALOGUE}) == len(CATALOGUE)
