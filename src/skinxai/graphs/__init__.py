"""Networks as ONNX graphs, which answer through ONNX Runtime or OpenVINO. No torch."""

from skinxai.graphs.engine import GraphEngine, GraphMember
from skinxai.graphs.files import LOGITS, MAPS, Exported, open_exported, with_weights
from skinxai.graphs.runners import RUNNERS, Runner, choose

__all__ = [
    "LOGITS",
    "MAPS",
    "RUNNERS",
    "Exported",
    "GraphEngine",
    "GraphMember",
    "Runner",
    "choose",
    "open_exported",
    "with_weights",
]
