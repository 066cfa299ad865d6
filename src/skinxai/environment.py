"""What ``skinxai doctor`` prints: enough to reproduce a report of a problem."""

from __future__ import annotations

import os
import platform

from skinxai import hub, plugins, samples
from skinxai.version import __version__


def describe_environment() -> dict[str, str]:
    """Versions, device, threads, cache, plugins and the bundled model's hash."""
    import huggingface_hub
    import numpy
    import PIL
    import timm
    import torch

    bundled = hub.open_model(None)
    statuses = plugins.statuses()
    broken = sum(status.error is not None for status in statuses)
    cuda = torch.cuda.is_available()
    return {
        "skinxai": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": torch.__version__,
        "timm": timm.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} cores",
        "cache": huggingface_hub.constants.HF_HUB_CACHE,
        "plugins": f"{len(statuses)} installed, {broken} broken",
        "bundled model": f"sha256 {bundled.digest}, every file verified",
        "sample images": str(samples.FOLDER),
    }
