"""Several models behind one service: shares, stickiness, shadows, and exchanges under load."""

import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from serving_clients import files, png_of, services, value
from small_runs import INPUT, Small, model_folder
from waiting import wait_for

from skinxai import Classifier
from skinxai.errors import OptionError
from skinxai.serving import pool, watching
from skinxai.serving.fleet import Member
from skinxai.serving.observing import Observing
from skinxai.serving.pool import Pool, members_of
from skinxai.serving.service_settings import ServiceSettings
from skinxai.testing import colour_classifier

pytestmark = pytest.mark.usefixtures("small_networks")

PICTURES = [
    png_of(np.random.default_rng(seed).integers(0, 256, (48, 32, 3), np.uint8)) for seed in range(6)
]


@pytest.fixture
def folders(tmp_path) -> list[Path]:
    return [model_folder(tmp_path / name, seed=seed) for seed, name in enumerate("abc", start=1)]


@pytest.fixture
def open_service():
    with services() as make:
        yield make


def row_of(client, picture: bytes, key: str | None = None) -> dict:
    query = "" if key is None else f"?route_key={key}"
    answer = client.post(f"/v1/predict{query}", files=files(picture))
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["results"]
    assert answer.headers["x-skinxai-model"] == row["model"] == answer.json()["model"]
    return row


def test_files_of_unsaved_networks_do_not_answer_for_each_other(open_service, tmp_path) -> None:
    answers = {}
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = Small(3, 0.0)
        mine = Classifier.from_module(network, [*"abc"], INPUT, network.features, network.head)
        mine.export(tmp_path / f"{seed}.onnx")
        graph = Classifier.from_pretrained(tmp_path / f"{seed}.onnx")
        answers[graph.model] = graph.predict(PICTURES[0]).probabilities
    client = open_service(models=tuple(str(tmp_path / f"{seed}.onnx") for seed in (0, 1)))
    found = [row_of(client, PICTURES[0], str(key)) for key in range(16)]
    assert {row["model"] for row in found} == {*answers}  # the second of each comes from the cache
    for row in found:
        assert row["probabilities"] == pytest.approx(dict(answers[row["model"]]), abs=1e-6)


def test_the_models_that_settings_name(folders) -> None:
    odd = folders[0].rename(folders[0].with_name("a=1"))
    settings = ServiceSettings(("bundled=9", f"{folders[1]}=0.5", str(odd)), shadows=("x",))
    assert members_of(settings) == [
        Member("bundled", 9), Member(str(folders[1]), 0.5), Member(str(odd)),
        Member("x", shadow=True),
    ]  # fmt: skip
    with pytest.raises(OptionError, match="NAME_OR_FOLDER=WEIGHT"):
        members_of(ServiceSettings(("bundled=much",)))


def test_requests_are_shared_by_weight_and_stick_to_their_key(open_service, folders) -> None:
    client = open_service(models=(f"{folders[0]}=3", f"{folders[1]}=1"), cache="off")
    alone = {}
    for folder in folders[:2]:
        classifier = Classifier.from_pretrained(str(folder), device="cpu")
        alone[classifier.model] = classifier.predict(PICTURES[0]).probabilities
    first = {key: row_of(client, PICTURES[0], f"patient-{key}") for key in range(120)}
    for key in range(0, 120, 10):
        assert row_of(client, PICTURES[1], f"patient-{key}")["model"] == first[key]["model"]
    for row in first.values():
        assert row["probabilities"] == pytest.approx(alone[row["model"]], abs=1e-6)
    counts = Counter(row["model"].partition("@")[0] for row in first.values())
    assert abs(counts["a"] - 90) <= 6 * (120 * 0.75 * 0.25) ** 0.5 and counts["b"] > 0
    series = 'skinxai_inference_seconds_count{model="a"}'
    assert value(client, series) >= counts["a"]
    models = {row_of(client, picture)["model"] for picture in PICTURES * 2}
    assert models == {row_of(client, picture)["model"] for picture in PICTURES}  # by content


def test_an_image_is_explained_by_the_model_that_predicts_it(open_service, folders) -> None:
    client = open_service(models=tuple(map(str, folders[:2])), cache="off")
    seen = set()
    for picture in PICTURES:
        for key in (None, "p-1", "p-2", "p-3"):
            model = row_of(client, picture, key)["model"]
            query = "" if key is None else f"?route_key={key}"
            answer = client.post(f"/v1/explain{query}", files=files(picture))
            assert answer.json()["model"] == answer.headers["x-skinxai-model"] == model
            seen.add((model, key))
    assert {(model, None) for model, _ in seen} <= seen and len({model for model, _ in seen}) == 2


def test_a_shadow_is_counted_and_never_answers(open_service, folders) -> None:
    same = folders[0].with_name("same")
    shutil.copytree(folders[0], same)
    client = open_service(models=(str(folders[0]),), shadows=(str(same), str(folders[1])))
    live, other = (Classifier.from_pretrained(str(folder), device="cpu") for folder in folders[:2])
    agree = 0
    for picture in PICTURES:
        row = row_of(client, picture)
        assert row["model"] == live.model
        agree += row["label"] == other.predict(picture).label
    told = {
        ("same", "yes"): len(PICTURES), ("same", "no"): 0,
        ("b", "yes"): agree, ("b", "no"): len(PICTURES) - agree,
    }  # fmt: skip
    for (name, agrees), count in told.items():
        series = f'skinxai_shadow_total{{agrees="{agrees}",model="{name}"}}'
        wait_for(lambda s=series, n=count: value(client, s) == n)
    for name in ("same", "b"):  # a panel of shares needs a 0
        assert value(client, f'skinxai_shadow_left_out_total{{model="{name}"}}') == 0
    roles = client.get("/metrics").text
    for name, folder, role in (("a", "a", "live"), ("same", "a", "shadow"), ("b", "b", "shadow")):
        revision = Classifier.from_pretrained(str(folders["abc".index(folder)])).model[2:]
        row = f'skinxai_model_info{{model="{name}",revision="{revision}",role="{role}"}} 1.0'
        assert row in roles


def test_a_folder_that_is_exchanged_while_it_is_loaded_is_loaded_again(
    open_service, folders, monkeypatch
) -> None:
    real, read = Classifier.from_pretrained, []

    def load(*args, **more) -> Classifier:
        made = real(*args, **more)
        if not read:
            shutil.copytree(folders[1], folders[0], dirs_exist_ok=True)
        read.append(made.model)
        return made

    monkeypatch.setattr(Classifier, "from_pretrained", load)
    client = open_service(models=(str(folders[0]),), watch=0.02)

    def answers() -> str:
        return client.get("/v1/models").json()["models"][0]["model"]

    wait_for(lambda: answers().startswith("b@"))
    assert read[0].startswith("a@")


class Going(Member):
    """Its folder is there whenever it is looked for the first time, and gone the second time."""

    looks = 0

    @property
    def folder(self) -> Path | None:
        Going.looks += 1
        return super().folder if Going.looks % 2 else None


def test_a_folder_that_goes_between_two_looks_ends_no_watch(
    open_service, folders, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(Going, "looks", 0)
    monkeypatch.setattr(pool, "members_of", lambda settings: [Going(str(folders[0]))])
    monkeypatch.setattr(watching, "state_of", Mock(wraps=watching.state_of))
    client = open_service(models=(str(folders[0]),), watch=0.02)
    watching.state_of.side_effect = [OSError("the disk is away")]
    wait_for(lambda: "could not be looked at" in caplog.text)
    watching.state_of.side_effect = None
    shutil.copytree(folders[1], folders[0], dirs_exist_ok=True)

    def live() -> str:
        return client.get("/v1/models").json()["models"][0]["model"].partition("@")[0]

    wait_for(lambda: live() == "b")
    assert "OSError: the disk is away" in caplog.text


def test_classifiers_of_one_name_are_refused() -> None:
    given = [colour_classifier(), colour_classifier()]
    with pytest.raises(OptionError, match="must have different names, got 'colours' twice"):
        Pool().open(ServiceSettings(), Observing(), bool, given)


def test_no_answer_is_mixed_or_lost_while_a_folder_is_exchanged(open_service, folders) -> None:
    live, second = folders[0], folders[1]
    client = open_service(models=(str(live),), watch=0.02, queue=256)
    alone = {}
    for folder in (live, second):
        classifier = Classifier.from_pretrained(str(folder), device="cpu")
        rows = classifier.predict(PICTURES)
        alone[classifier.model] = [row.probabilities for row in rows]
    over, seen = threading.Event(), Counter()

    def ask(_: int) -> int:
        asked = 0
        while not over.is_set():
            answer = client.post("/v1/predict", files=files(*PICTURES))
            assert answer.status_code == 200, answer.text
            rows = answer.json()["results"]
            (model,) = {row["model"] for row in rows}
            assert model == answer.headers["x-skinxai-model"]
            for row, probabilities in zip(rows, alone[model], strict=True):
                assert row["probabilities"] == pytest.approx(probabilities, abs=1e-6)
            seen[model] += 1
            asked += 1
        return asked

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, number) for number in range(3)]
        try:
            wait_for(lambda: seen or any(each.done() for each in asking))
            shutil.copytree(second, live, dirs_exist_ok=True)
            wait_for(lambda: len(seen) == 2 or any(each.done() for each in asking))
        finally:
            over.set()
        asked = sum(each.result() for each in asking)
    assert asked == seen.total() and len(seen) == 2
    text = client.get("/metrics").text
    infos = [row for row in text.splitlines() if row.startswith("skinxai_model_info{")]
    assert len(infos) == 1 and next(m[2:] for m in seen if m.startswith("b@")) in infos[0]


def test_no_folder_takes_the_place_of_a_classifier_that_is_given(
    open_service, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = colour_classifier()
    for name in ("classifiers[0]", given.model, given.model.partition("@")[0]):
        model_folder(tmp_path / name)
    client = open_service([given])
    assert row_of(client, PICTURES[0])["model"] == given.model
    client.app.service.pool._fleet.reload("colours")
    assert row_of(client, PICTURES[1])["model"] == given.model
