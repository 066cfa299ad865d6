"""Whether torch finds a GPU; torch, which takes seconds to import, is asked only with a driver."""

import os
from pathlib import Path

DRIVER_FILES = (
    Path("/proc/driver/nvidia/version"),
    Path("/dev/nvidiactl"),  # also in containers
    Path("/dev/nvmap"),  # NVIDIA's boards of GPU and processor
    Path("/dev/dxg"),  # Windows' GPU, seen from its Linux
    Path("/dev/kfd"),  # AMD
    Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32/nvcuda.dll"),
)
"""Of the drivers of all GPUs that a build of torch calls CUDA; each system has some of them."""


def has_gpu() -> bool:
    """Whether ``device="auto"`` is a GPU here, see `skinxai.predicting.devices.device_named`."""
    if not any(path.exists() for path in DRIVER_FILES):
        return False
    import torch

    return torch.cuda.is_available()
