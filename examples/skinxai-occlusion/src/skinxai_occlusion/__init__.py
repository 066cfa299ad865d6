"""What skinxai's entry point loads: it names the explainer and imports nothing heavy."""

from skinxai import Entry, hookimpl


@hookimpl
def skinxai_explainers() -> list[Entry]:
    return [Entry("occlusion", "skinxai_occlusion.explainer:Occlusion", "Occlusion (Zeiler, 2014)")]
