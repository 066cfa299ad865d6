"""A service whose model answers when it is let."""

import contextlib
import threading
from collections.abc import Iterator

import torch
from running_service import Answer, Running, running

from skinxai.testing.networks import ColourNetwork, of_network


class Gate:
    """A model that answers when it is let, and how many passes have begun."""

    def __init__(self) -> None:
        self.network = ColourNetwork().requires_grad_(False)
        self.classifier = of_network(self.network)
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self.sizes: list[int] = []

    def close(self) -> None:
        """From now on, passes wait."""

        def wait(images: torch.Tensor) -> None:
            self.sizes.append(len(images))
            self.begun.release()
            assert self.go.wait(600)

        self.network.disturb = wait


@contextlib.contextmanager
def gated(**settings) -> Iterator[tuple[Running, Gate]]:
    """A service behind a gate that is closed; it opens at the end at the latest."""
    gate = Gate()
    with running(gate.classifier, **settings) as found:
        gate.close()
        try:
            yield found, gate
        finally:
            gate.go.set()


def labels(answer: Answer) -> list[str]:
    """The label of each image, or the code of its error."""
    return [each.get("label") or each["error"]["code"] for each in answer.json["results"]]
