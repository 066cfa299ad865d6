"""Uploads to the Hugging Face Hub, through its own client: a whole model in one commit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from skinxai.configs import EnsembleConfig, ModelConfig
from skinxai.downloading import failures, line
from skinxai.errors import HubError, LeakageError, OptionError
from skinxai.folders import contents
from skinxai.results import Evaluation

USE = """
## Use

```python
from skinxai import Classifier

classifier = Classifier.from_pretrained("{name}")
print(classifier.predict("lesion.jpg"))
```
"""
_FIGURES = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced_accuracy", "macro_f1": "f1",
}  # fmt: skip


def upload(
    folder: str | os.PathLike[str], repo_id: str, *, private: bool = False,
    revision: str | None = None, message: str = "Upload a skinxai model", token: str | None = None,
) -> str:  # fmt: skip
    """Upload a model folder, or an ensemble's with all members, in one commit.

    Only what the manifests list goes, after it was checked against them.

    Args:
        folder: of the model.
        repo_id: ``"org/name"``; made where it does not exist.
        private: of a new repository.
        revision: branch; made where it does not exist.
        message: of the commit.
        token: that may write.

    Returns:
        ``"org/name@commit"``.

    Raises:
        HubError: the Hub does not answer, or refuses.
        IntegrityError: files that do not agree with their manifest.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HFValidationError

    operations = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=data)
        for name, data in contents(Path(folder))
    ]
    known: tuple[type[Exception], ...] = (RuntimeError, *failures())  # of a large file
    api = HfApi(token=token, library_name="skinxai")
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        done = api.create_commit(
            repo_id, operations, commit_message=message, revision=revision
        )  # fmt: skip
    except HFValidationError as error:
        raise OptionError(f"repo_id must be 'org/name', got {repo_id!r}: {line(error)}.") from error
    except known as error:
        raise HubError(
            f"the Hub must take {repo_id!r}, it did not: {line(error)}. A token that may write is "
            f"needed: set HF_TOKEN, or run 'hf auth login'."
        ) from error
    return f"{repo_id}@{done.oid}"


def with_metadata(
    card: str, config: ModelConfig | EnsembleConfig, repo_id: str, evaluation: Evaluation | None
) -> str:
    """A model card with what the Hub reads of it, and how to load the model.

    Args:
        card: Markdown; one that has its own metadata block keeps it as it is.
        config: of the model.
        repo_id: where it will be.
        evaluation: its figures go into the metadata.

    Raises:
        LeakageError: an evaluation on images that were in training.
    """
    if evaluation is not None and evaluation.leaked:
        raise LeakageError("an evaluation on training images must not be published as the model's.")
    if card.startswith("---\n"):
        return card
    from huggingface_hub import EvalResult, ModelCardData

    values: dict[str, Any] = {
        "library_name": "skinxai", "pipeline_tag": "image-classification",
        "tags": ["dermatoscopy", "explainability", *config.labels], "model_name": config.name,
    }  # fmt: skip
    if isinstance(config, ModelConfig):
        if config.licence:
            values["license"] = config.licence.lower()
        if name := config.training_data.get("name"):
            values["datasets"] = [name]
        if config.backbone:
            values["base_model"] = f"timm/{config.backbone.removeprefix('timm/')}"
    if evaluation is not None:
        values["metrics"] = list(_FIGURES.values())
        values["eval_results"] = [
            EvalResult(
                task_type="image-classification", dataset_type="image",
                dataset_name=evaluation.data or "unnamed", metric_type=kind,
                metric_name=name, metric_value=round(getattr(evaluation, name).value, 4),
            )
            for name, kind in _FIGURES.items()
        ]  # fmt: skip
    metadata = ModelCardData(**values).to_yaml()
    return f"---\n{metadata}\n---\n\n{card.rstrip()}\n{USE.format(name=repo_id)}"
