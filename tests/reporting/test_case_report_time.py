"""The time limit of a case report: one for all its maps together."""

import pytest

from skinxai import Classifier
from skinxai.errors import ExplainTimeoutError, OptionError

METHODS = ("gradcam", "layercam")


def test_each_map_has_what_the_others_left(classifier, photos, monkeypatch) -> None:
    left = []
    explain = Classifier.explain

    def noted(self, *args, **keywords):
        left.append(keywords["timeout"])
        return explain(self, *args, **keywords)

    monkeypatch.setattr(Classifier, "explain", noted)
    found = classifier.report(photos[0], methods=METHODS, timeout=1000)
    assert [each.method for each in found.maps] == list(METHODS) and found.against is not None
    first, second, against = left
    assert 1000 >= first > second > against > 0


def test_a_limit_that_is_reached_is_an_error(classifier, photos) -> None:
    with pytest.raises(ExplainTimeoutError):
        classifier.report(photos[0], methods=METHODS, timeout=1e-6)


@pytest.mark.parametrize("wrong", [0, -1, "1", float("nan")])
def test_a_limit_that_is_none_is_refused(classifier, photos, wrong) -> None:
    with pytest.raises(OptionError, match="timeout must be seconds > 0"):
        classifier.report(photos[0], timeout=wrong)
