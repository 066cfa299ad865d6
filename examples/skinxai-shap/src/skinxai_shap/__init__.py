"""What skinxai's entry point loads: it names the explainer and imports nothing heavy."""

from skinxai import Entry, hookimpl


@hookimpl
def skinxai_explainers() -> list[Entry]:
    target = "skinxai_shap.explainer:PartitionSHAP"
    return [Entry("shap", target, "SHAP: Owen values of superpixels (Lundberg & Lee, 2017)")]
