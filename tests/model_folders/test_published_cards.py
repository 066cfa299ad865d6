"""The card of a pushed model: metadata that the Hub takes, and lines that load this model."""

import math
import re
from dataclasses import replace

import pytest
import yaml
from hub_server import TOKEN, Hub
from loopback_hub import NAME

from skinxai import Classifier
from skinxai.errors import HubError
from skinxai.model_folders.hub_metadata import with_metadata
from skinxai.model_folders.opening import open_model

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")  # the client's own


def card_of(hub: Hub, pushed: str) -> str:
    name, commit = pushed.split("@")
    return hub.repos[name].commits[commit]["README.md"].decode()


def metadata_of(card: str) -> dict[str, object]:
    return yaml.safe_load(card.split("---\n")[1])


def example_of(card: str) -> str:
    (name,) = re.findall(r'Classifier\.from_pretrained\("(.*)"\)', card)
    return name


@pytest.mark.filterwarnings("ignore:.*is used at its current")
def test_the_example_loads_the_branch_that_was_pushed(hub, classifier, tmp_path) -> None:
    classifier.save_pretrained(tmp_path / "other", name="other")
    main = Classifier.from_pretrained(tmp_path / "other").push_to_hub(NAME, token=TOKEN)
    trial = classifier.push_to_hub(NAME, revision="trial+1", token=TOKEN)
    assert example_of(card_of(hub, main)) == NAME
    named = example_of(card_of(hub, trial))
    assert open_model(named).digest == open_model(trial).digest != open_model(main).digest


def test_the_example_of_an_earlier_upload_is_replaced(hub, classifier) -> None:
    pulled = Classifier.from_pretrained(classifier.push_to_hub(NAME, token=TOKEN))
    mine = card_of(hub, pulled.push_to_hub("tester/mine", revision="v2", token=TOKEN))
    assert example_of(mine) == "tester/mine@v2"
    assert mine.replace("tester/mine@v2", NAME) == pulled.card
    crlf = with_metadata(mine.replace("\n", "\r\n"), "x@1", [classifier.config], NAME, None)
    assert example_of(crlf) == NAME
    bare = mine.split("---\n\n", 1)[1]  # its metadata were deleted
    assert example_of(with_metadata(bare, "x@1", [classifier.config], NAME, None)) == NAME


def test_a_private_data_set_and_two_licences_are_taken(hub, classifier) -> None:
    """`load_folder` calls its records private data; a licence and that of a base are joined."""
    from skinxai.checkpoints import LoadedModel

    data = {**classifier.config.training_data, "name": "private data"}
    config = replace(classifier.config, training_data=data, licence="CC-BY-NC-4.0 AND MIT")
    loaded = classifier._loaded
    assert isinstance(loaded, LoadedModel)
    made = Classifier(replace(loaded, config=config))
    found = metadata_of(card_of(hub, made.push_to_hub(NAME, token=TOKEN)))
    assert "datasets" not in found
    assert (found["license"], found["license_name"]) == ("other", "cc-by-nc-4.0-and-mit")


@pytest.mark.parametrize(
    ("names", "datasets"),
    [(["HAM10000", "org/own"], ["HAM10000", "org/own"]), (["HAM10000", "my data"], ["HAM10000"])],
)
def test_data_sets_that_may_be_on_the_hub_are_named(classifier, names, datasets) -> None:
    members = [replace(classifier.config, training_data={"name": name}) for name in names]
    assert metadata_of(with_metadata("", "x@1", members, NAME, None))["datasets"] == datasets


@pytest.mark.parametrize("licence", ["Ask the clinic", "GPL-3.0-only"])
def test_a_licence_that_the_hub_does_not_know_has_a_name(classifier, licence: str) -> None:
    own = replace(classifier.config, licence=licence)
    found = metadata_of(with_metadata("", "x@1", [own], NAME, None))
    assert found["license"] == "other"
    assert found["license_name"] == licence.lower().replace(" ", "-")


def test_only_networks_of_timm_are_named_as_its_own(classifier, small_networks) -> None:
    for backbone, base in (
        ("resnet18", "timm/resnet18"), ("timm/vit_tiny", "timm/vit_tiny"), ("small", None)
    ):  # fmt: skip
        own = replace(classifier.config, backbone=backbone)
        assert metadata_of(with_metadata("", "x@1", [own], NAME, None)).get("base_model") == base


def test_a_figure_that_is_none_is_left_out(classifier) -> None:
    from test_hub_pushing import judged

    whole = judged(classifier)
    lacking = replace(whole, balanced_accuracy=replace(whole.balanced_accuracy, value=math.nan))
    found = metadata_of(with_metadata("", whole.model, [classifier.config], NAME, lacking))
    assert found["metrics"] == ["accuracy", "f1"] and ".nan" not in yaml.safe_dump(found)


@pytest.mark.parametrize("start", ["\ufeff---\n", "---\r\n", "\n---\n"])
def test_metadata_of_ones_own_are_seen_as_the_hub_sees_them(classifier, start: str) -> None:
    card = f"{start}license: mit\n---\nA card."
    assert with_metadata(card, "x@1", [classifier.config], NAME, None) == card
    rule = "---\nA line above the text is no metadata."
    made = with_metadata(rule, "x@1", [classifier.config], NAME, None)
    assert metadata_of(made)["license"] == "cc-by-nc-4.0" and rule in made


def test_what_the_hub_refuses_in_a_card_is_told(hub, classifier) -> None:
    loaded = replace(classifier._loaded, card="---\nlicense: mine\n---\nA card.")
    with pytest.raises(HubError, match=r'Invalid metadata in README\.md.*"license" must .*correct'):
        Classifier(loaded).push_to_hub(NAME, token=TOKEN)
