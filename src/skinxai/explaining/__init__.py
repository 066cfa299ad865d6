"""Image in, `Explanation` out: method, target, and back to the source's pixels."""

from skinxai.explaining.asking import Method, choose_method, options_of
from skinxai.explaining.running import Question, explanations
from skinxai.explaining.views import Watch, private_copy

__all__ = [
    "Method",
    "Question",
    "Watch",
    "choose_method",
    "explanations",
    "options_of",
    "private_copy",
]
