"""Reports that dependencies send to their makers, switched off before anything imports them."""

import os
import sys

SWITCHES = {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # versions of torch, a list of agents asked for and kept
    "NO_ALBUMENTATIONS_UPDATE": "1",  # its import asks PyPI for its newest version
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime's sessions and models, an id kept in ~/.cache
}
"""Environment variables of dependencies, and the values that keep them quiet."""
REPORTER = "openvino_telemetry"
"""The package through which ``import openvino`` reports itself and keeps an id in ``~/intel``."""


def switch_off() -> None:
    """Keep dependencies from reporting their use.

    A variable that is set already stays as it is. OpenVINO has no such variable: where its reporter
    cannot be imported it reports nothing, and works as before. What this process imported before
    skinxai is left alone.
    """
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    # The import system raises ImportError for None; the stubs declare modules only.
    sys.modules.setdefault(REPORTER, None)  # type: ignore[arg-type]
