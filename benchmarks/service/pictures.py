"""Distinct photographs of 600 × 450 pixels, made of the sample images."""

from pathlib import Path

from PIL import Image, ImageEnhance

from skinxai import samples


def write_pictures(folder: Path, count: int = 48) -> list[Path]:
    """Files whose answers differ: no cache and no neighbour's answer can pass for theirs."""
    folder.mkdir()
    found = []
    for number in range(count):
        with Image.open(samples.paths()[number % 4]) as image:
            picture = image.convert("RGB").resize((600, 450))
        shift = number // 4
        picture = picture.crop((2 * shift, shift, 600 - shift, 450 - 2 * shift))
        picture = ImageEnhance.Color(picture).enhance(0.8 + 0.04 * shift)
        found.append(folder / f"{number}.jpg")
        picture.save(found[-1], quality=90)
    return found
