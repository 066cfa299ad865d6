"""What the tests of `tests/cuda` share."""

import torch

from skinxai import Classifier
from skinxai.testing.networks import NETWORKS, of_network

OWN = torch._C._get_privateuse1_backend_name() == "own"  # the plugin `own_memory` is active


def colours(kind: str, device: str) -> Classifier:
    """A network whose answers are known, on a device."""
    return Classifier(of_network(NETWORKS[kind]().eval())._loaded, device=device)
