"""Several models side by side, each exchanged as a whole or not at all."""

import shutil
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hub_server import Repo
from loopback_hub import files_of
from small_runs import LABELS, model_folder
from waiting import wait_for

from skinxai import Classifier
from skinxai.errors import (
    IntegrityError,
    ModelConfigError,
    ModelNotFoundError,
    OptionError,
    SkinxaiError,
    SkinxaiWarning,
    UnknownNameError,
)  # fmt: skip
from skinxai.labels import LabelSet
from skinxai.serving.fleet import TRIAL, Fleet, Member
from skinxai.serving.watching import Watch, reload, state_of

pytestmark = pytest.mark.usefixtures("small_networks")


class Worker:
    """Answers as long as it is open."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier, self.closed = classifier, False

    def answer(self) -> tuple[str, float]:
        assert not self.closed, "a request came to a model that had ended"
        found = self.classifier.predict(TRIAL)
        return found.model, found.probability

    def close(self) -> None:
        self.closed = True


def load(source: str) -> Classifier:
    return Classifier.from_pretrained(None if source == "bundled" else source, device="cpu")


@pytest.fixture
def fleets():
    made = []

    def make(*members: Member, **more) -> Fleet:
        made.append(Fleet(members, load, lambda name, member, loaded: Worker(loaded), **more))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()


@pytest.fixture
def folders(tmp_path) -> list[Path]:
    return [model_folder(tmp_path / name, seed=seed) for seed, name in enumerate("abc", start=1)]


def members(folders: list[Path], *weights: float) -> list[Member]:
    return [Member(str(f), weight) for f, weight in zip(folders, weights, strict=False)]


def replace_by(folder: Path, other: Path) -> None:
    """Copy files over those that are there, one after the other, as people do."""
    shutil.copytree(other, folder, dirs_exist_ok=True)


def asked(fleet: Fleet, key: str = "", name: str | None = None) -> tuple[str, float]:
    with fleet.lease(key, name) as running:
        return running.worker.answer()


def test_each_answer_names_the_model_that_gave_it(fleets, folders) -> None:
    alone = {
        name: load(str(folder)).predict(TRIAL) for name, folder in zip("abc", folders, strict=True)
    }
    fleet = fleets(*members(folders, 1, 1, 1))
    assert [each.name for each in fleet.live] == ["a", "b", "c"]
    seen = set()
    for number in range(40):
        with fleet.lease(f"patient {number}") as running:
            model, probability = running.worker.answer()
        own = alone[running.name]
        assert (model, probability) == (own.model, own.probability) == (running.model, probability)
        assert model.endswith(f"@{running.revision}") and len(running.revision) == 12
        seen.add(running.name)
        assert asked(fleet, f"patient {number}") == (model, probability)
    assert seen == {"a", "b", "c"}
    assert asked(fleet, name="b")[0] == alone["b"].model


def test_a_shadow_answers_nobody(fleets, folders) -> None:
    told: list[tuple] = []
    shadow = Member(str(folders[1]), shadow=True)
    fleet = fleets(
        *members(folders, 1), shadow, changed=lambda new, old: told.append((new.name, old))
    )
    (model,) = {asked(fleet, f"{number}")[0] for number in range(20)}
    assert model.startswith("a@")
    assert [each.name for each in fleet.shadows] == ["b"] and told == [("a", None), ("b", None)]
    with pytest.raises(UnknownNameError, match=r"Unknown model 'b'; the service has \['a'\]"):
        asked(fleet, name="b")


def test_fleets_that_cannot_be(fleets, folders, tmp_path) -> None:
    with pytest.raises(OptionError, match="at least once, got shadows alone"):
        fleets(Member(str(folders[0]), shadow=True))
    same = model_folder(tmp_path / "elsewhere" / "a", seed=9)
    with pytest.raises(OptionError, match="got 'a' twice"):
        fleets(Member(str(folders[0])), Member(str(same)))
    other = model_folder(tmp_path / "other", LabelSet(("blue", "green", "red")))
    with pytest.raises(OptionError, match="the same labels"):
        fleets(Member(str(folders[0])), Member(str(other)))
    with pytest.raises(OptionError, match="weight"):
        fleets(Member(str(folders[0]), 0))
    with pytest.raises(ModelNotFoundError):
        fleets(Member(str(tmp_path / "none")))


def test_the_bundled_model_has_its_own_name(fleets) -> None:
    (running,) = fleets(Member("bundled")).live
    assert running.name == "skinxai-ham10000-lite1" and running.member.folder is None


def test_a_model_is_exchanged_and_the_old_one_ends_after_its_last_request(fleets, folders) -> None:
    told: list[tuple] = []
    fleet = fleets(
        *members(folders, 1), changed=lambda new, old: told.append((new.model, old and old.model))
    )
    before = asked(fleet)
    with fleet.lease() as old:
        replace_by(folders[0], folders[1])
        assert fleet.reload("a").model == load(str(folders[0])).model
        after = asked(fleet)
        assert after != before and after[0].startswith("b@")
        assert old.worker.answer() == before and not old.worker.closed
    wait_for(lambda: old.worker.closed)
    assert asked(fleet) == after and told == [(before[0], None), (after[0], before[0])]
    assert fleet.live[0].name == "a"


def damage_nothing(folder: Path) -> None:
    replace_by(folder, folder.parent / "b")
    (folder / "model.safetensors").write_bytes((folder.parent / "c/model.safetensors").read_bytes())


def tear(folder: Path) -> None:
    replace_by(folder, folder.parent / "b")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])


def half(folder: Path) -> None:
    shutil.copy(folder.parent / "b" / "manifest.json", folder)


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def other_labels(folder: Path) -> None:
    replace_by(folder, model_folder(folder.parent / "other", LabelSet(("blue", "green", "red"))))


def other_malignant(folder: Path) -> None:
    changed = LabelSet(LABELS.codes, malignant=frozenset({"red"}))
    replace_by(folder, model_folder(folder.parent / "other", changed))


def nan(folder: Path) -> None:
    """Weights that are whole, listed in the manifest, and no numbers."""
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    del files["manifest.json"]
    weights = files["model.safetensors"]
    files["model.safetensors"] = weights[:-12] + 3 * struct.pack("<f", float("nan"))
    for name, content in files_of(files).items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (damage_nothing, IntegrityError), (tear, IntegrityError), (half, IntegrityError),
        (no_weights, SkinxaiError), (shutil.rmtree, ModelNotFoundError),
        (other_labels, ModelConfigError), (other_malignant, ModelConfigError),
        (nan, SkinxaiError),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_the_old_model_answering(fleets, folders, change, error) -> None:
    fleet = fleets(*members(folders, 1))
    before, running = asked(fleet), fleet.live
    change(folders[0])
    with pytest.raises(error):
        fleet.reload("a")
    assert asked(fleet) == before and fleet.live == running
    assert not reload(fleet, "a")
    with pytest.raises(UnknownNameError):
        fleet.reload("none")


def test_a_folder_that_is_gone_is_no_repository_of_its_name(
    hub, fleets, folders, tmp_path, monkeypatch
) -> None:
    hub.repos["models/a"] = Repo()
    hub.repos["models/a"].commit({each.name: each.read_bytes() for each in folders[1].iterdir()})
    monkeypatch.chdir(tmp_path)
    folders[0].rename(tmp_path / "kept")
    (tmp_path / "models").mkdir()
    (tmp_path / "kept").rename(tmp_path / "models/a")
    fleet = fleets(Member("models/a"))
    before = asked(fleet)
    shutil.rmtree(tmp_path / "models")
    with pytest.warns(SkinxaiWarning, match="may change"):
        assert load("models/a").model != before[0]  # of the Hub, which has one
    seen = len(hub.requests)
    with pytest.raises(ModelNotFoundError, match="found no folder"):
        fleet.reload("a")
    assert asked(fleet) == before and len(hub.requests) == seen


def test_no_answer_is_mixed_or_lost_while_models_are_exchanged_under_load(fleets, folders) -> None:
    """Threads ask while a folder is overwritten file by file and loaded again without a break."""
    live, first, second = folders
    alone = {found.model: found.probability for found in (
        load(str(folder)).predict(TRIAL) for folder in folders
    )}  # fmt: skip
    fleet = fleets(Member(str(live)))
    over, refused, taken = threading.Event(), [], []

    def write() -> None:
        """After each file the folder is loaded at least once."""
        number = 0
        while not over.is_set():
            number += 1
            for file in sorted((first, second)[number % 2].iterdir()):
                shutil.copy(file, live)
                before = len(refused) + len(taken)
                wait_for(lambda n=before: over.is_set() or len(refused) + len(taken) > n + 1)

    def exchange() -> None:
        while not over.is_set():
            try:
                taken.append(fleet.reload("a").model)
            except (SkinxaiError, SkinxaiWarning) as error:  # of a card of other files
                refused.append(error)

    def ask(_: int) -> list[tuple[str, float]]:
        found = []
        while not over.is_set():
            with fleet.lease() as running:
                several = {running.worker.answer() for _ in range(3)}
            assert len(several) == 1, "one request got answers of two models"
            found.extend(several)
            time.sleep(0.01)  # else nobody else gets on
        return found

    with ThreadPoolExecutor(5) as pool:
        writing, exchanging = pool.submit(write), pool.submit(exchange)
        asking = [pool.submit(ask, number) for number in range(3)]
        try:
            enough = {"b@", "c@"}
            wait_for(
                lambda: ({each[:2] for each in taken} >= enough and refused) or exchanging.done()
            )
        finally:
            over.set()
        answers = [answer for each in asking for answer in each.result()]
        writing.result(), exchanging.result()
    assert len({model for model, _ in answers}) > 1
    for model, probability in answers:
        assert probability == alone[model], "an answer of files that never belonged together"


def test_a_folder_that_was_replaced_is_noticed_when_it_rests(fleets, folders) -> None:
    fleet = fleets(*members(folders, 1, 1))
    watch = Watch(fleet, 3600)
    before = fleet.live[0].model
    watch.look()
    watch.look()
    assert fleet.live[0].model == before
    (folders[0] / "model.safetensors").write_bytes((folders[1] / "model.safetensors").read_bytes())
    watch.look()  # it has changed
    watch.look()  # and rests: it is torn, and refused
    assert fleet.live[0].model == before
    replace_by(folders[0], folders[1])
    watch.look()
    assert fleet.live[0].model == before  # it may still change
    watch.look()
    assert fleet.live[0].model != before
    assert fleet.live[0].model.startswith("b@") and fleet.live[1].name == "b"
    watch.close()


def test_a_watch_looks_by_itself_and_bears_a_folder_that_is_gone(fleets, folders) -> None:
    fleet = fleets(*members(folders, 1))
    watch, before = Watch(fleet, 0.01), fleet.live[0].model
    folders[0].rename(folders[0].with_name("gone"))
    shutil.copytree(folders[2], folders[0])
    wait_for(lambda: fleet.live[0].model != before)
    watch.close()
    assert state_of(folders[0].with_name("none")) == ()


def test_another_link_is_noticed(fleets, folders, tmp_path) -> None:
    link = tmp_path / "live"
    link.symlink_to(folders[0])
    fleet = fleets(Member(str(link)))
    watch = Watch(fleet, 3600)
    fresh = tmp_path / "fresh"
    fresh.symlink_to(folders[1])
    fresh.rename(link)  # at one stroke
    watch.look()
    watch.look()
    watch.close()
    (running,) = fleet.live
    assert running.name == "live" and running.model.startswith("b@")
