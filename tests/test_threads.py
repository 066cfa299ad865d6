"""Eight threads that share one classifier answer exactly as one does."""

from concurrent.futures import ThreadPoolExecutor

import torch

from skinxai import Classifier, read_image


def test_eight_threads_equal_serial(classifier: Classifier, photos: list) -> None:
    pixels = [read_image(path).pixels for path in photos]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one thread a call: the calls themselves run side by side

    def ask(number: int) -> object:
        image = pixels[number % len(pixels)]
        if number % 4 == 0:
            label = classifier.labels[number % 7]
            return classifier.explain(image, target=label).heatmap.tobytes()
        return tuple(classifier.predict(image).probabilities.values())

    try:
        jobs = 84  # every image with every label, and every image predicted
        serial = [ask(number) for number in range(jobs)]
        with ThreadPoolExecutor(8) as pool:
            shared = list(pool.map(ask, [n % jobs for n in range(2000)]))
    finally:
        torch.set_num_threads(threads)
    assert all(answer == serial[n % jobs] for n, answer in enumerate(shared))
