"""Bad images among good ones, and models that fail: only the guilty image is refused."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

pytest.importorskip("fastapi")
from gated_service import gated, labels
from running_service import form, noise, png
from waiting import wait_for


def test_srv17_a_bad_image_at_each_place_of_a_batch(monkeypatch) -> None:
    """Its neighbours are answered bit for bit as in a clean batch of the same size."""
    good, yellow = [noise(seed) for seed in range(32)], png((250, 250, 40))
    with gated(max_batch=32, max_images=32, deadline=600) as (other, gate):
        gate.go.set()
        sizes: list[int] = []

        def spoil(images: torch.Tensor) -> None:
            red, green, blue = images.mean(dim=(2, 3)).T
            images[(red > 1) & (green > 1) & (blue < 0)] = torch.nan

        def asked(*images: bytes) -> list[dict]:
            return other.predict(*images).json["results"]

        gate.network.disturb = spoil
        monkeypatch.setattr(other.batcher, "_tell", lambda batch: sizes.append(batch.images))
        whole = [each["probabilities"] for each in asked(*good)]
        for place in range(32):
            before, after = good[:place], good[place + 1 :]
            clean = [each["probabilities"] for each in asked(*before, *after)]
            for bad, status, wanted in (
                (b"junk", 415, clean), (yellow, 500, whole[:place] + whole[place + 1 :]),
            ):  # fmt: skip
                found = asked(*before, bad, *after)
                assert found.pop(place)["error"]["status"] == status
                assert [each["probabilities"] for each in found] == wanted, (place, status)
        wait_for(lambda: len(sizes) == 97)
        assert sizes == [32] + 32 * [31, 31, 32]  # the junk came to no model


def test_srv18_a_model_that_raises_for_a_whole_batch() -> None:
    with gated() as (other, gate):
        gate.go.set()
        poison = png((250, 250, 40))
        gate.network.disturb = blamed = Blame()
        found = other.predict(png("red"), png("green"), poison, png("blue"), png("red"))
        assert labels(found) == ["red", "green", "internal", "blue", "red"]
        assert found.json["results"][2]["error"]["status"] == 500
        assert "secret" not in found.body.decode()
        assert len(blamed.sizes) > 4 and min(blamed.sizes) == 1  # halves of halves
        assert other.predict(poison).status == 500 and other.predict(png()).status == 200


class Blame:
    """A network's disturbance that raises where one of the images is bright yellow."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, images: torch.Tensor) -> None:
        self.sizes.append(len(images))
        red, green, blue = images.mean(dim=(2, 3)).T
        if bool(((red > 1) & (green > 1) & (blue < 0)).any()):
            raise RuntimeError("secret words of a network")


def test_srv19_an_answer_that_is_not_finite() -> None:
    with gated() as (other, gate):
        gate.go.set()

        def spoil(images: torch.Tensor) -> None:
            red, green, blue = images.mean(dim=(2, 3)).T
            images[(red > 1) & (green > 1) & (blue < 0)] = torch.nan

        gate.network.disturb = spoil
        found = other.predict(png("red"), png((250, 250, 40)), png("blue"))
        assert labels(found) == ["red", "non_finite_output", "blue"]
        assert found.json["results"][1]["error"]["status"] == 500


def test_srv32_eight_at_once_are_answered_as_one_by_one(service) -> None:
    images = [noise(seed) for seed in range(8)]

    def ask(number: int) -> object:
        image = images[number % 8]
        if number % 4 == 0:
            body, kind = form([image], {"method": "saliency", "map": "true"})
            found = service.ask("POST", "/v1/explain", body, kind)
            return base64.b64decode(found.json["map"]["data"])
        (only,) = service.predict(image).json["results"]
        return {code: round(value, 6) for code, value in only["probabilities"].items()}

    serial = [ask(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(24))) == serial * 3
