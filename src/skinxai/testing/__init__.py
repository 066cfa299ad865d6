"""For authors of explainer plugins: a conformance suite, and tiny networks with known answers."""

from skinxai.testing.conformance import CheckResult, check_explainer
from skinxai.testing.networks import colour_classifier

__all__ = ["CheckResult", "check_explainer", "colour_classifier"]
