"""What skinxai's entry point loads: it names the explainer and imports nothing heavy."""

from skinxai import Entry, hookimpl


@hookimpl
def skinxai_explainers() -> list[Entry]:
    target = "skinxai_mcdropout.explainer:MCDropout"
    return [Entry("mc_dropout", target, "Monte-Carlo dropout (Gal & Ghahramani, 2016)")]
