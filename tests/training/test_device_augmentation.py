"""Augmentation as torch operations, against torch, torchvision, OpenCV and the CPU's recipes."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import kurtosis
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from skinxai.errors import OptionError
from skinxai.training import chance, colouring, damaging, device_augmentation
from skinxai.training.augmentation import Augmentation, neutral_gains, shades_of_gray
from skinxai.training.compressing import compression
from skinxai.training.device_augmentation import DeviceAugmentation, warped
from skinxai.training.recipes import RECIPES, Damage, Recipe


def noise(count: int = 1, height: int = 60, width: int = 80, seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=draws)


def planes(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).float()


def skin(height: int = 96, width: int = 128) -> Tensor:
    """A smooth image of the colours of skin, with a dark spot."""
    y, x = np.mgrid[:height, :width] / height
    spot = np.exp(-8 * ((x - 0.6) ** 2 + (y - 0.5) ** 2))[..., None]
    wave = 12 * np.sin(9 * x + 5 * y)[..., None]
    pixels = (1 - spot) * np.array([220, 160, 150]) + spot * np.array([90, 50, 40]) + wave
    return torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))[None]


def moved(images: Tensor, matrix: np.ndarray, size: tuple[int, int], finer: int = 1) -> Tensor:
    """Sample as a map from pixels of the result to pixels of the source says."""
    place = chance._normalised(matrix, *images.shape[2:])[:, :2].astype(np.float32)
    return warped(images, place, np.full(len(images), finer), size)


# the affine map


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [(False, False), (True, False), (False, True), (True, True)])
def test_right_angles_and_mirror_images_are_those_of_torch(turns, mirrored) -> None:
    images = planes(noise(1, 45, 70))
    wanted = torch.rot90(images, turns, (2, 3))
    height, width = wanted.shape[2:]
    wanted = wanted.flip([axis for axis, flip in zip((3, 2), mirrored, strict=True) if flip])
    to_source = chance._from_turned(np.array([turns]), 45, 70) @ chance._from_mirrored(
        [np.array([flip]) for flip in mirrored], np.array([height]), np.array([width])
    )
    found = moved(images, to_source, (height, width))
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)  # of 255


def test_a_crop_of_everything_is_the_image() -> None:
    images = planes(noise(2))
    zero, tall, wide = (np.full(2, value) for value in (0, 60, 80))
    found = moved(images, chance._from_crop(zero, zero, tall, wide, 60, 80), (60, 80))
    torch.testing.assert_close(found, images, atol=0.02, rtol=0)


def test_a_crop_is_what_opencv_cuts_and_enlarges() -> None:
    images = planes(skin())
    top, left, tall, wide = (np.array([value]) for value in (10, 20, 50, 70))
    found = moved(images, chance._from_crop(top, left, tall, wide, 96, 128), (96, 128))
    cut = images[0].permute(1, 2, 0).numpy()[10:60, 20:90]
    wanted = cv2.resize(cut, (128, 96), interpolation=cv2.INTER_LINEAR)
    inner = np.s_[2:-2, 2:-2]  # at its edge the device sees beyond the part
    own = found[0].permute(1, 2, 0).numpy()
    assert np.abs(own[inner] - wanted[inner]).max() < 0.05


@pytest.mark.parametrize(("angle", "shear"), [(30, (0, 0)), (-45, (8, -5)), (5, (-8, 8))])
def test_rotation_and_shear_are_those_of_albumentations(angle, shear) -> None:
    from albumentations.augmentations.geometric import functional as affine

    image = skin()[0].float().numpy()
    matrix = affine.create_affine_transformation_matrix(
        {"x": 0, "y": 0}, dict(zip("xy", shear, strict=True)), {"x": 1, "y": 1}, angle,
        affine.center(image.shape[:2]),
    )  # fmt: skip
    wanted = cv2.warpAffine(image, matrix[:2], (128, 96), borderMode=cv2.BORDER_REFLECT_101)
    to_source = chance._from_affine(
        np.array([angle]), [np.array([s]) for s in shear], np.array([96]), np.array([128])
    )
    found = moved(planes(skin()), to_source, (96, 128))[0].permute(1, 2, 0).numpy()
    assert np.abs(found - wanted).max() < 2.0  # OpenCV knows 32 places between two pixels


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_shrinking_is_the_mean_over_the_covered_area(factor) -> None:
    images = planes(noise(1, 96, 96))
    whole = [np.array([value]) for value in (0, 0, 96, 96)]
    side = 96 // factor
    finer = -(-factor * 100 // 125)
    found = moved(images, chance._from_crop(*whole, side, side), (side, side), finer)
    wanted = torch.nn.functional.avg_pool2d(images, factor)
    if factor == 4:  # four samples would be exact, four of five quarters are taken
        assert finer == 4
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0)


def test_slight_shrinking_aliases_little() -> None:
    """At 1.17, the most for 336 × 448 at 288 × 384, one sample a pixel; 1.5: two."""
    for side, finer, most in ((82, 1, 0.08), (64, 2, 0.1)):
        images = planes(noise(1, 96, 96))
        smooth = torch.nn.functional.avg_pool2d(images, 3, 1, 1)  # as lenses do
        whole = [np.array([value]) for value in (0, 0, 96, 96)]
        found = moved(smooth, chance._from_crop(*whole, side, side), (side, side), finer)
        image = smooth[0].permute(1, 2, 0).numpy()
        wanted = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        error = found[0].permute(1, 2, 0).numpy() - wanted
        assert error.std() < most * wanted.std()


# colours and damage


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
@pytest.mark.parametrize("image", ["skin", "noise", "grey", "black"])
def test_changes_of_colour_are_those_of_torchvision(name, image) -> None:
    pixels = {
        "skin": skin(), "noise": noise(),
        "grey": noise()[..., :1].expand(-1, -1, -1, 3), "black": torch.zeros_like(noise()),
    }[image]  # fmt: skip
    values = [0.7, 0.9, 1.0, 1.3] if name != "hue" else [-0.0375, 0.0, 0.02, 0.4]
    images = planes(pixels).expand(4, -1, -1, -1)
    found = getattr(colouring, name)(images, torch.tensor(values))
    for own, value in zip(found, values, strict=True):
        wanted = getattr(reference, f"adjust_{name}")(planes(pixels)[0] / 255, value) * 255
        assert (own - wanted).abs().max() < (0.3 if name == "contrast" else 0.06)


def test_changes_of_colour_come_in_the_drawn_order() -> None:
    augment = DeviceAugmentation((96, 128), "standard")
    draws = augment.draw(list(range(12)), (96, 128))
    found = augment(skin().expand(12, -1, -1, -1), draws)
    assert len({tuple(order) for order in draws.order.tolist()}) > 6
    for own, row in zip(found, range(12), strict=True):
        one = draws.part(slice(row, row + 1))
        image = warped(planes(skin()), one.matrix, one.finer, (96, 128))
        for change in one.order[0]:
            if change >= 0:
                factor = torch.from_numpy(one.factors[:, change])
                image = colouring.CHANGES[change](image, factor)
        assert torch.equal(own, image[0].permute(1, 2, 0))


def test_blur_is_that_of_opencv() -> None:
    kernels = chance._kernels(np.array([0.5, 2.0, 3.0]), np.array([3, 4, 5])).astype(np.float32)
    found = damaging.blur(planes(noise(3)), torch.from_numpy(kernels))
    for own, pixels, kernel in zip(found, noise(3), kernels, strict=True):
        image = pixels.float().numpy()
        wanted = cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        np.testing.assert_allclose(own.permute(1, 2, 0), wanted, atol=1e-3)


@pytest.mark.parametrize("scale", [0.5, 0.61, 0.75, 0.9])
def test_fewer_pixels_are_those_of_opencv(scale) -> None:
    pixels = noise(1, 61, 83)
    found = damaging.fewer_pixels(planes(pixels), torch.tensor([scale], dtype=torch.float64))
    image, nearest = pixels[0].numpy(), cv2.INTER_NEAREST
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=nearest)
    wanted = cv2.resize(small, (83, 61), interpolation=nearest)
    np.testing.assert_array_equal(found[0].permute(1, 2, 0), wanted)


def test_noise_is_gaussian_and_of_its_own_seed() -> None:
    images = torch.full((3, 3, 200, 300), 128.0)
    draws = torch.tensor([[2.0, 7], [8.0, 7], [2.0, 8]], dtype=torch.float64)
    changes = damaging.noise(images, draws) - 128
    for change, deviation in zip(changes, (2.0, 8.0, 2.0), strict=True):
        assert change.mean().abs() < 4 * deviation / 180_000**0.5
        assert change.std() == pytest.approx(deviation, rel=4 / (2 * 180_000) ** 0.5)
        assert abs(kurtosis(change.flatten())) < 4 * (24 / 180_000) ** 0.5  # 0 of a Gaussian
        between = np.corrcoef(change.flatten(1))[np.triu_indices(3, 1)]
        assert np.abs(between).max() < 4 / 60_000**0.5
    assert torch.allclose(changes[1], 4 * changes[0], atol=1e-4)
    assert abs(np.corrcoef(changes[0].flatten(), changes[2].flatten())[0, 1]) < 0.01
    white = damaging.noise(torch.full((1, 3, 20, 21), 255.0), draws[1:2])
    assert white.max() == 255 and white.min() > 200


def test_both_ways_add_noise_to_as_many_images_and_as_much(monkeypatch) -> None:
    """Of a grey image, only noise makes pixels that differ."""
    monkeypatch.setitem(RECIPES, "heavy", Recipe(0.0, 1.0, damage=Damage(1.0, boxes=0.0)))
    pixels, count = np.full((40, 56, 3), 128, np.uint8), 600
    device, cpu = DeviceAugmentation((40, 56), "heavy"), Augmentation((40, 56), "heavy")
    draws = device.draw(list(range(count)), (40, 56))
    images = device(torch.from_numpy(pixels).expand(count, -1, -1, -1), draws)
    for found in (images.std(dim=(1, 2, 3)).numpy(),
                  np.array([cpu(pixels, seed).std() for seed in range(count)])):  # fmt: skip
        noisy = found[found > 0.5]
        assert len(noisy) == pytest.approx(count / 4, abs=4 * (count * 3 / 16) ** 0.5)
        assert 0.6 < noisy.min() < 2 and 9 < noisy.max() < 10.6
        assert noisy.mean() == pytest.approx(5.5, abs=4 * 2.6 / (count / 4) ** 0.5)


def test_boxes_by_hand() -> None:
    images = torch.ones(2, 3, 6, 8)
    boxes = torch.tensor([[[1, 3, 2, 5], [0, 0, 0, 0]], [[0, 6, 0, 1], [5, 6, 4, 8]]])
    found = damaging.without_boxes(images, boxes)
    wanted = images.clone()
    wanted[0, :, 1:3, 2:5] = 0
    wanted[1, :, :, 0] = 0
    wanted[1, :, 5, 4:] = 0
    assert torch.equal(found, wanted) and bool((images == 1).all())


@pytest.mark.parametrize("size", [(96, 128), (75, 101)])
@pytest.mark.parametrize("quality", [50, 70, 90])
def test_compression_loses_what_jpeg_loses(size, quality) -> None:
    draws = np.random.default_rng(1)
    grain = cv2.GaussianBlur(draws.normal(0, 25, (*size, 3)), (0, 0), 1.0)
    image = (skin(*size)[0].numpy() + grain).clip(0, 255).astype(np.uint8)
    wanted = cv2.imdecode(
        cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1
    )[..., ::-1].astype(float)
    found = compression(planes(torch.from_numpy(image)[None]), torch.tensor([quality]))
    own = found[0].permute(1, 2, 0).numpy().astype(float)
    lost = np.abs(wanted - image).mean()
    assert np.abs(own - image).mean() == pytest.approx(lost, rel=0.08)
    assert np.abs(own - wanted).mean() < 0.6 * lost and (own == own.round()).all()


# whole recipes


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_image_does_not_depend_on_its_neighbours(recipe, monkeypatch) -> None:
    pixels, seeds = noise(40), list(range(40))
    gains = torch.from_numpy(np.stack([neutral_gains(each) for each in pixels.numpy()]))
    augment = DeviceAugmentation((32, 48), recipe, colour_constancy=0.5)

    def of(places: list[int]) -> Tensor:
        draws = augment.draw([seeds[n] for n in places], (60, 80))
        return augment(pixels[places], draws, gains[places])

    whole = of(list(range(40)))
    assert whole.shape == (40, 32, 48, 3) and whole.dtype == torch.float32
    assert whole.min() >= 0 and whole.max() <= 255
    for places in ([3], [39, 0, 17], list(range(39, -1, -1))):
        assert torch.equal(of(places), whole[places])
    monkeypatch.setattr(device_augmentation, "CPU_PART", 3)
    assert torch.equal(of(list(range(40))), whole)


def test_out_of_memory_changes_nothing(monkeypatch) -> None:
    pixels, augment = noise(8), DeviceAugmentation((32, 48), "heavy")
    draws = augment.draw(list(range(8)), (60, 80))
    whole, sizes = augment(pixels, draws), []

    def small(images: Tensor, *rest: object) -> Tensor:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return warped(images, *rest)

    monkeypatch.setattr(device_augmentation, "warped", small)
    assert torch.equal(augment(pixels, draws), whole) and sizes == [8, 4, 2, 2, 2, 2]


def test_light_only_turns_mirrors_crops_and_tints() -> None:
    augment = DeviceAugmentation((48, 64), "light")
    grey = torch.full((40, 96, 128, 3), 120, dtype=torch.uint8)
    for result in augment(grey, augment.draw(list(range(40)), (96, 128))):
        assert result.max() - result.min() < 0.01 and 96 < result.mean() < 144


def test_every_turn_and_mirror_occurs() -> None:
    image = torch.zeros(1, 96, 96, 3, dtype=torch.uint8)
    image[:, :, 48:, 0], image[:, 48:, :, 1] = 255, 255
    augment = DeviceAugmentation((64, 64), "light")
    found = augment(image.expand(400, -1, -1, -1), augment.draw(list(range(400)), (96, 96)))
    corners = found[:, [2, 2, -3, -3], [2, -3, 2, -3], :2] > 100
    seen = Counter(tuple(each.flatten().tolist()) for each in corners)
    assert len(seen) == 8 and min(seen.values()) > 10 and max(seen.values()) < 120


def test_neutral_lighting_comes_first_and_is_that_of_the_cpu() -> None:
    pixels = noise(6) // torch.tensor([1, 2, 3], dtype=torch.uint8)
    gains = torch.from_numpy(np.stack([neutral_gains(each) for each in pixels.numpy()]))
    neutral = torch.from_numpy(np.stack([shades_of_gray(each) for each in pixels.numpy()]))
    every, none = (
        DeviceAugmentation((32, 48), "standard", colour_constancy=share) for share in (1.0, 0.0)
    )
    seeds = list(range(6))
    found = every(pixels, every.draw(seeds, (60, 80)), gains)
    assert torch.equal(found, none(neutral, none.draw(seeds, (60, 80))))


def test_statistics_are_those_of_the_cpu() -> None:
    """Mean and spread of 200 results of each recipe, over all pixels."""
    from skinxai.training.augmentation import Augmentation

    for recipe in RECIPES:
        augment, other = DeviceAugmentation((36, 48), recipe), Augmentation((36, 48), recipe)
        pixels = skin().expand(200, -1, -1, -1)
        own = augment(pixels, augment.draw(list(range(200)), (96, 128))).numpy()
        cpu = np.stack([other(skin()[0].numpy(), seed) for seed in range(200)]).astype(float)
        for kind in (np.mean, np.std):
            values = [kind(each, axis=(0, 1, 2)) for each in (own, cpu)]
            np.testing.assert_allclose(*values, rtol=0.05)
            each = [kind(result, axis=(1, 2, 3)).std() for result in (own, cpu)]
            np.testing.assert_allclose(*each, rtol=0.2)  # from image to image


def test_what_the_device_cannot_do() -> None:
    for recipe in (lambda pixels: pixels, "strong", None):
        with pytest.raises(OptionError, match=r"one of .*'heavy'.* with augment_on 'device', got"):
            DeviceAugmentation((32, 48), recipe)
    with pytest.raises(
        OptionError, match=r"hair must be 0 with augment_on 'device', got 0\.1;"
    ) as i:
        DeviceAugmentation((32, 48), hair=0.1)
    assert str(i.value).endswith("leave it out, or pass augment_on='cpu'.")
    assert i.value.on_command_line.endswith("leave it out, or give --augment-on cpu.")
