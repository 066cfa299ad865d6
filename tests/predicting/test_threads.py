"""Eight threads that share one classifier answer exactly as one does."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from waiting import Meeting, WatchedLock

from skinxai import Classifier, backbones, read_image
from skinxai.backbones.network import without_gradients
from skinxai.explaining import views
from skinxai.testing.networks import ColourTransformer, of_network
from skinxai.testing.pictures import picture


def test_eight_threads_equal_serial(classifier: Classifier, photos: list) -> None:
    pixels = [read_image(path).pixels for path in photos[:3]]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one thread a call: the calls themselves run side by side

    def ask(number: int) -> object:
        image = pixels[number % len(pixels)]
        if number % 4 == 0:
            label = classifier.labels[number % 7]
            return classifier.explain(image, target=label).heatmap.tobytes()
        return tuple(classifier.predict(image).probabilities.values())

    try:
        jobs = 12  # of three images in turn; one in four explains, for a label each
        serial = [ask(number) for number in range(jobs)]
        with ThreadPoolExecutor(8) as pool:
            shared = list(pool.map(ask, [n % jobs for n in range(4 * jobs)]))
    finally:
        torch.set_num_threads(threads)
    assert all(answer == serial[n % jobs] for n, answer in enumerate(shared))


def at_once(network: ColourTransformer, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of four threads that explain are within the network at a time, at most."""
    lock = WatchedLock(views._one_at_a_time)
    monkeypatch.setattr(views, "_one_at_a_time", lock)
    meeting = Meeting(lock)
    network.disturb = meeting.attend
    classifier, pixels = of_network(network), picture({})
    return meeting.of(lambda: classifier.explain(pixels, "saliency"))


def test_weights_with_gradients_are_explained_by_one_thread_at_a_time(monkeypatch) -> None:
    """Two that index a weight and record gradients of it can wait for each other for ever."""
    assert at_once(ColourTransformer(), monkeypatch) == 1


def test_weights_without_gradients_are_explained_by_all_threads_at_once(
    monkeypatch,
) -> None:
    assert at_once(ColourTransformer().requires_grad_(False), monkeypatch) == 4


def test_what_answers_for_a_model_folder_needs_no_gradient_of_weights(
    classifier: Classifier,
) -> None:
    (member,) = classifier.torch_predictor.members
    assert not any(weight.requires_grad for weight in member.answering.parameters())
    assert all(weight.requires_grad for weight in member.network.parameters())


def test_a_network_without_gradients_shares_the_memory_of_the_weights() -> None:
    network = backbones.build("timm/vit_tiny_patch16_224", 3).eval()
    copied = without_gradients(network)
    pairs = list(zip(network.parameters(), copied.parameters(), strict=True))
    assert all(one is not two and one.data_ptr() == two.data_ptr() for one, two in pairs)
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(network(images), copied(images))
