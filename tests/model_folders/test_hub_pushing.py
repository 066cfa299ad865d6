"""Models go to the Hub with a card that the Hub reads, and come back by the command line."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hub_server import TOKEN, Repo
from loopback_hub import NAME
from small_runs import INPUT, Small
from test_hub import model, published
from typer.testing import CliRunner

from skinxai import Classifier
from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.cli import app
from skinxai.errors import HubError, IntegrityError, LeakageError, ModelError, OptionError
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.files import contents
from skinxai.model_folders.hub_metadata import with_metadata
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.uploading import upload
from skinxai.reporting import read_evaluation, write_evaluation
from skinxai.reporting.card_changes import with_evaluation
from skinxai.results import Evaluation

__all__ = ["published"]  # a fixture

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")  # the client's own


def test_an_ensemble_goes_with_its_members(hub, classifier, tmp_path) -> None:
    classifier.save_pretrained(tmp_path / "a", name="a")
    write_ensemble(tmp_path / "both", [tmp_path / "a", tmp_path / "a"], name="both")
    pushed = upload(tmp_path / "both", NAME, token=TOKEN)
    files = open_model(pushed)
    hub.close()
    assert dict(contents(files.folder)) == dict(contents(tmp_path / "both"))
    assert Classifier.from_pretrained(pushed).model.startswith("both@")


@pytest.mark.parametrize("name", ["me/ä", "me/x\udcff", "me/\u202e", None, Path("me/x")])
def test_a_name_that_no_repository_can_have(hub, classifier, name: str) -> None:
    with pytest.raises(OptionError, match=r"^repo_id must be 'org/name' of letters, digits"):
        classifier.push_to_hub(name, token=TOKEN)
    assert not hub.requests


@pytest.mark.parametrize("token", ["hf_secret\n", "hf_sec ret", "hf_secrét", ""])
def test_a_token_that_cannot_be_sent_is_not_shown(hub, classifier, token: str) -> None:
    """As one of a file with a line end: the HTTP library shows it in its own error."""
    calls = (
        lambda: classifier.push_to_hub(NAME, token=token),
        lambda: open_model(NAME, token=token),
    )
    for call in calls:
        with pytest.raises(OptionError, match=r"token must be .* pass token\.strip\(\)") as info:
            call()
        assert "hf_" not in str(info.value)
    assert not hub.requests


def test_a_network_that_cannot_be_saved_is_not_pushed(hub) -> None:
    network = Small(2, 0.0)
    mine = Classifier.from_module(network, ["a", "b"], INPUT, network.features, network.head)
    with pytest.raises(ModelError, match=r"from_module\(\) cannot be saved"):
        mine.push_to_hub(NAME, token=TOKEN)
    assert not hub.requests


def test_a_branch_that_is_new(hub, classifier) -> None:
    first = classifier.push_to_hub(NAME, token=TOKEN)
    other = classifier.push_to_hub(NAME, revision="trial", token=TOKEN)
    assert hub.repos[NAME].branches == {"main": first[-40:], "trial": other[-40:]}


def test_what_the_branch_would_ignore_is_uploaded_too(hub, classifier, tmp_path) -> None:
    """The client leaves such files out of its commit and says nothing."""
    ignored = {".gitignore": b"*.safetensors\nREADME.md\nmembers/*\n"}
    hub.repos[NAME] = Repo()
    hub.repos[NAME].commit(ignored)
    classifier.save_pretrained(tmp_path / "a", name="a")
    write_ensemble(tmp_path / "both", [tmp_path / "a", tmp_path / "a"], name="both")
    for folder in (tmp_path / "a", tmp_path / "both"):
        pushed = upload(folder, NAME, token=TOKEN)
        assert hub.repos[NAME].at("main") == dict(contents(folder)) | ignored
        assert dict(contents(open_model(pushed).folder)) == dict(contents(folder))


def test_who_may_not_write(hub, classifier) -> None:
    with pytest.raises(HubError, match="a token that may write is needed: set HF_TOKEN"):
        classifier.push_to_hub(NAME, token="hf_another")
    with pytest.raises(OptionError, match="repo_id must be 'org/name'"):
        classifier.push_to_hub("a/b/c", token=TOKEN)
    assert hub.repos == {}


def test_the_card_says_what_the_hub_reads(hub, classifier) -> None:
    import yaml

    classifier.push_to_hub(NAME, token=TOKEN)
    (files,) = (hub.repos[NAME].commits[sha] for sha in hub.repos[NAME].branches.values())
    card = files["README.md"].decode()
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["library_name"] == "skinxai" and metadata["license"] == "cc-by-nc-4.0"
    assert metadata["pipeline_tag"] == "image-classification"
    assert metadata["base_model"] == "timm/tf_efficientnet_lite1"
    assert metadata["datasets"] == ["HAM10000"]
    assert f'Classifier.from_pretrained("{NAME}")' in card
    pulled = Classifier.from_pretrained(f"{NAME}@{hub.repos[NAME].branches['main']}")
    pulled.push_to_hub(NAME, token=TOKEN)  # its metadata stays as it is
    sha = hub.repos[NAME].branches["main"]
    assert hub.repos[NAME].commits[sha]["README.md"].decode() == card


def judged(classifier: Classifier, **changes: object) -> Evaluation:
    found = evaluate_probabilities(
        [0, 1] * 5, np.eye(7)[[0, 1] * 5], [str(n) for n in range(10)], classifier.config.labels,
        model=classifier.model, data="ten drawn images", resamples=20,
    )  # fmt: skip
    return replace(found, **changes)


def test_the_figures_of_an_evaluation_go_into_the_card(hub, classifier, tmp_path) -> None:
    import yaml

    write_evaluation(judged(classifier), tmp_path / "report")
    (evaluation, _) = read_evaluation(tmp_path / "report" / "evaluation.json")
    pushed = classifier.push_to_hub(NAME, evaluation=evaluation, token=TOKEN)
    card = hub.repos[NAME].commits[pushed[-40:]]["README.md"].decode()
    (index,) = yaml.safe_load(card.split("---\n")[1])["model-index"]
    metrics = index["results"][0]["metrics"]
    assert {m["name"]: m["value"] for m in metrics}["accuracy"] == 1.0
    assert index["results"][0]["dataset"]["name"] == "ten drawn images"
    tables = with_evaluation("", evaluation).strip()
    assert tables.count("| accuracy | 1.000 (0.722–1.000) |") == 1 and tables in card
    without = classifier.push_to_hub(NAME, token=TOKEN)
    assert "ten drawn images" not in hub.repos[NAME].commits[without[-40:]]["README.md"].decode()
    with pytest.raises(OptionError, match="evaluation must be of skinxai-ham10000-lite1@"):
        classifier.push_to_hub(NAME, evaluation=judged(classifier, model="other@1"), token=TOKEN)
    with pytest.raises(LeakageError, match="must not be published"):
        classifier.push_to_hub(NAME, evaluation=judged(classifier, leaked=True), token=TOKEN)
    pulled = Classifier.from_pretrained(pushed)
    with pytest.raises(OptionError, match="metadata of its own"):
        pulled.push_to_hub(NAME, evaluation=judged(pulled), token=TOKEN)


def test_an_ensemble_has_the_licences_of_all_its_members(classifier) -> None:
    import yaml

    one = classifier.config
    for others, expected in (
        ([one], {"license": "cc-by-nc-4.0"}),
        ([replace(one, licence="MIT")],
         {"license": "other", "license_name": "cc-by-nc-4.0-and-mit"}),
        ([replace(one, licence="")], {"license": "other", "license_name": "cc-by-nc-4.0"}),
    ):  # fmt: skip
        card = with_metadata("A card.", "both@1", [one, *others], NAME, None)
        found = yaml.safe_load(card.split("---\n")[1])
        assert {k: v for k, v in found.items() if k.startswith("license")} == expected


def test_the_commands(hub, classifier, tmp_path, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", TOKEN)

    def skinxai(*words: str) -> str:
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout.strip()

    classifier.save_pretrained(tmp_path / "mine")
    write_evaluation(judged(classifier), tmp_path / "report")
    report = str(tmp_path / "report" / "evaluation.json")
    pushed = skinxai("push", str(tmp_path / "mine"), NAME, "--private", "--evaluation", report)
    assert pushed == f"{NAME}@{hub.repos[NAME].branches['main']}" and hub.repos[NAME].private
    out = tmp_path / "fetched"
    assert skinxai("pull", pushed, "--out", str(out)) == str(out)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert dict(contents(Path(skinxai("pull", pushed)))) == dict(contents(out))
    assert skinxai("verify", str(out)).startswith(f"{classifier.config.name}@")
    (out / "config.json").write_text("{}")
    with pytest.raises(IntegrityError, match="must have the sha256 that its manifest"):
        skinxai("verify", str(out))


def test_a_command_in_the_environment_that_users_set(hub, published, tmp_path) -> None:
    environment = os.environ | {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_CACHE": str(tmp_path / "users"), "HF_HUB_OFFLINE": "0",
    }  # fmt: skip
    command = [sys.executable, "-c", "from skinxai.cli import main; main()", "pull"]
    hub.repos[NAME].private = True
    told = subprocess.run(
        [*command, f"{NAME}@{published}"], env=environment, check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    folder = Path(told.stdout.strip())
    assert folder.is_relative_to(tmp_path / "users")
    assert (folder / "config.json").read_bytes() == model()["config.json"]
