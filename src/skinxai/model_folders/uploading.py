"""Uploads to the Hugging Face Hub, through its own client: a whole model in one commit."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from skinxai.configs import ModelConfig
from skinxai.errors import HubError, LeakageError, OptionError
from skinxai.model_folders.downloading import bars_of_client, failures, line
from skinxai.model_folders.files import contents
from skinxai.plain_text import quoted
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
    """Upload a model folder, or that of an ensemble with all members, in one commit.

    Only files that the manifests list are uploaded, after they were checked.

    Args:
        folder: folder of the model.
        repo_id: ``"org/name"``; the repository is created if it does not exist.
        private: make a new repository private.
        revision: branch; it is created if it does not exist.
        message: message of the commit.
        token: token that may write.

    Returns:
        ``"org/name@commit"``.

    Raises:
        HubError: if the Hub does not answer, or refuses.
        IntegrityError: if files do not match their manifest.
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
        with bars_of_client():
            done = api.create_commit(
                repo_id, operations, commit_message=message, revision=revision
            )  # fmt: skip
    except HFValidationError as error:
        raise OptionError(f"repo_id must be 'org/name', got {repo_id!r}: {line(error)}.") from error
    except known as error:
        answered = isinstance(error, RuntimeError) or getattr(error, "response", None) is not None
        token_help = "a token that may write is needed: set HF_TOKEN, or run 'hf auth login'"
        raise HubError(
            f"upload to {repo_id!r} failed: {line(error)}",
            python=token_help if answered else "check the connection, and try again",
        ) from error
    return f"{repo_id}@{done.oid}"


def upload_saved(save: Callable[[str], object], repo_id: str, **options: Any) -> str:
    """`upload` what ``save(folder)`` writes.

    Args:
        save: method of a model or an ensemble that writes its folder.
        repo_id: as in `upload`.
        **options: as in `upload`.
    """
    with tempfile.TemporaryDirectory() as folder:
        save(folder)
        return upload(folder, repo_id, **options)


def _each(values: Iterable[str]) -> list[str]:
    """The texts that are not empty, each once."""
    return [value for value in dict.fromkeys(values) if value]


def with_metadata(
    card: str, model: str, members: Sequence[ModelConfig], repo_id: str,
    evaluation: Evaluation | None,
) -> str:  # fmt: skip
    """Return a model card with metadata for the Hub and an example of how to load the model.

    Args:
        card: Markdown; one that has its own metadata block keeps it as it is.
        model: ``name@revision``.
        members: config of the model, or of each member of an ensemble; all licences apply.
        repo_id: repository that it is for.
        evaluation: evaluation whose figures go into the metadata.

    Raises:
        LeakageError: if the evaluation is on training images.
        OptionError: if the evaluation is of another model, the card has metadata of its own, or
            ``repo_id`` is not a valid name.
    """
    if not repo_id.isascii():
        raise OptionError(
            f"repo_id must be 'org/name' of letters, digits, '-', '_' and '.', got "
            f"{quoted(repo_id, 80)}."
        )
    if evaluation is not None and evaluation.leaked:
        raise LeakageError("an evaluation on training images must not be published as the model's.")
    if evaluation is not None and evaluation.model != model:
        raise OptionError(f"evaluation must be of {model}, but it is of {evaluation.model}.")
    if card.startswith("---\n"):
        if evaluation is not None:
            raise OptionError(
                "evaluation must be None for a card that begins with metadata of its own; write "
                "the figures there."
            )
        return card
    from huggingface_hub import EvalResult, ModelCardData

    values: dict[str, Any] = {
        "library_name": "skinxai", "pipeline_tag": "image-classification",
        "tags": ["dermatoscopy", "explainability", *members[0].labels],
        "model_name": model.partition("@")[0],
        "datasets": _each(config.training_data.get("name", "") for config in members),
    }  # fmt: skip
    bases = _each(f"timm/{config.backbone.removeprefix('timm/')}" for config in members)
    values["base_model"] = bases[0] if len(bases) == 1 else bases
    if licences := _each(config.licence.lower() for config in members):
        single = len(licences) == 1 and all(config.licence for config in members)
        values |= {"license": licences[0]} if single else {
            "license": "other", "license_name": ", ".join(licences)}  # fmt: skip
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
