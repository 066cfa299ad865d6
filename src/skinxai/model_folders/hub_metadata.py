"""What a model card gets for the Hugging Face Hub: metadata that it accepts, and an example."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from skinxai import plugins
from skinxai.configs import ModelConfig
from skinxai.errors import LeakageError, OptionError
from skinxai.plain_text import each_once, quoted
from skinxai.results import Evaluation

USE = """
## Use

```python
from skinxai import Classifier

classifier = Classifier.from_pretrained("{name}")
print(classifier.predict("lesion.jpg"))
```
"""
_USE = re.compile(
    r"\r?\n".join(map(re.escape, USE.strip().split("\n"))).replace(re.escape("{name}"), r'[^"\n]*')
)
_TIMM = "timm/"
_FIGURES = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced_accuracy", "macro_f1": "f1",
}  # fmt: skip
_DATA_SET = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
"""What the Hub takes for the name of a data set; it refuses a card with another, such as prose."""
_LICENCES = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
    "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "gpl-2.0", "gpl-3.0", "isc",
    "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "ncsa", "osl-3.0", "postgresql", "unlicense", "wtfpl",
    "zlib",
})  # fmt: skip
"""SPDX names, lower case, that the Hub knows. It refuses a card with another as its licence."""


def with_metadata(
    card: str, model: str, members: Sequence[ModelConfig], repo_id: str,
    evaluation: Evaluation | None, revision: str | None = None,
) -> str:  # fmt: skip
    """Return a model card with metadata for the Hub and an example of how to load the model.

    A card that has its own metadata block keeps it as it is; an example from an earlier upload is
    replaced. The model is ``name@revision``, and all members' licences apply; where no branch is
    named, it is ``main``.

    Raises:
        LeakageError: if the evaluation is on training images.
        OptionError: if the evaluation is of another model, the card has metadata of its own, or
            ``repo_id`` is not a valid name.
    """
    from huggingface_hub import ModelCardData
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    if not isinstance(repo_id, str) or not repo_id.isascii():
        raise OptionError(
            f"repo_id must be 'org/name' of letters, digits, '-', '_' and '.', got "
            f"{quoted(str(repo_id), 80)}."
        )
    if evaluation is not None and evaluation.leaked:
        raise LeakageError("an evaluation on training images must not be published as the model's.")
    if evaluation is not None and evaluation.model != model:
        raise OptionError(f"evaluation must be of {model}, but it is of {evaluation.model}.")
    use = USE.format(name=repo_id if revision in (None, "main") else f"{repo_id}@{revision}")
    if REGEX_YAML_BLOCK.match(card.removeprefix("\ufeff")):
        if evaluation is not None:
            raise OptionError(
                "evaluation must be None for a card that begins with metadata of its own; write "
                "the figures there."
            )
        return _USE.sub(lambda _: use.strip(), card)
    metadata = ModelCardData(**dict(_metadata(model, members, evaluation))).to_yaml()
    return f"---\n{metadata}\n---\n\n{_USE.sub('', card).rstrip()}\n{use}"


def _metadata(
    model: str, members: Sequence[ModelConfig], evaluation: Evaluation | None
) -> Iterator[tuple[str, Any]]:
    """Keys and values; what the Hub would refuse is left out, and stands in the card's text."""
    yield "library_name", "skinxai"
    yield "pipeline_tag", "image-classification"
    yield "tags", ["dermatoscopy", "explainability", *members[0].labels]
    yield "model_name", model.partition("@")[0]
    names = each_once(config.training_data.get("name", "") for config in members)
    if known := [name for name in names if _DATA_SET.fullmatch(name)]:
        yield "datasets", known
    if bases := each_once(map(_base, members)):
        yield "base_model", bases[0] if len(bases) == 1 else bases
    yield from _licence(members)
    if evaluation is not None:
        yield from _figures(evaluation)


def _base(config: ModelConfig) -> str:
    """The network as timm names it; empty of one that a plugin builds, or that cannot be saved."""
    name = config.backbone
    if not name:
        return ""
    if name.startswith(_TIMM):
        return name
    return f"{_TIMM}{name}" if plugins.backbones.entry(name).source == "skinxai" else ""


def _licence(members: Sequence[ModelConfig]) -> Iterator[tuple[str, str]]:
    licences = each_once(config.licence.lower() for config in members)
    if len(licences) == 1 and licences[0] in _LICENCES and all(own.licence for own in members):
        yield "license", licences[0]
    elif licences:
        yield "license", "other"
        yield "license_name", re.sub(r"[^a-z0-9.+]+", "-", "-and-".join(licences)).strip("-")


def _figures(evaluation: Evaluation) -> Iterator[tuple[str, Any]]:
    from huggingface_hub import EvalResult

    values = {name: getattr(evaluation, name).value for name in _FIGURES}
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    if known:
        yield "metrics", [_FIGURES[name] for name in known]
        yield "eval_results", [
            EvalResult(
                task_type="image-classification", dataset_type="image",
                dataset_name=evaluation.data or "unnamed", metric_type=_FIGURES[name],
                metric_name=name, metric_value=round(value, 4),
            )
            for name, value in known.items()
        ]  # fmt: skip
