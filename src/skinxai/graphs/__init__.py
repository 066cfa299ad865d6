"""Networks as ONNX graphs, which answer through ONNX Runtime or OpenVINO. No torch."""

from skinxai.graphs.engine import GraphEngine, GraphMember
from skinxai.graphs.explaining import GRAPH_METHODS, explanations
from skinxai.graphs.files import LOGITS, MAPS, Exported, open_exported, with_weights
from skinxai.graphs.runners import RUNNERS, Runner, choose

__all__ = [
    "GRAPH_METHODS",
    "LOGITS",
    "MAPS",
    "RUNNERS",
    "Exported",
    "GraphEngine",
    "GraphMember",
    "Runner",
    "choose",
    "explanations",
    "open_exported",
    "with_weights",
]
