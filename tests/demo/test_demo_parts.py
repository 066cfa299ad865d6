"""What the demo's pages stand on: uploads within limits, and answers computed once."""

import gc
import inspect
import io
import re
import socket
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from picture_files import encode, gradient
from places import ROOT
from refused_pictures import REFUSED
from starlette.formparsers import MultiPartParser
from uvicorn.config import HTTP_PROTOCOLS
from waiting import LIMIT

from skinxai import Classifier, samples
from skinxai.demo import answering, middleware, serve, showing
from skinxai.demo.answering import Answers
from skinxai.demo.batch import Row, frame
from skinxai.demo.comparing import columns_for
from skinxai.demo.uploads import Refused, Upload
from skinxai.errors import ModelError, OptionError, UnknownNameError
from skinxai.labels import LabelSet
from skinxai.reporting import map_pictures as pictures
from skinxai.results import Prediction
from skinxai.testing import colour_classifier
from skinxai.version import __version__
from skinxai.web.connections import Patient

PNG = encode(gradient())
SAMPLE = samples.paths()[0].read_bytes()


def zipped(files: dict[str, bytes], **how: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_answers_are_the_classifiers(classifier: Classifier) -> None:
    answers = Answers(classifier)
    files = [Upload(path.name, path.read_bytes()) for path in samples.paths()]
    bad = Upload("bad.jpg", b"no image at all, but text")
    found = answers.predict([files[0], bad, *files])
    for upload, answer in zip([*files[:1], *files], [found[0], *found[2:]], strict=True):
        own = classifier.predict(upload.data).probabilities
        assert answer.probabilities == pytest.approx(dict(own), abs=1e-6)
        assert answer.source == upload.name
    assert isinstance(found[1], Refused)
    assert found[1].reason.startswith("Image must be JPEG") and "bad.jpg" not in found[1].reason
    explained = answers.explain(files[0], "gradcam", "nv")
    own = classifier.explain(files[0].data, "gradcam", target="nv")
    assert np.array_equal(explained.heatmap, own.heatmap)
    assert explained.source == files[0].name


@pytest.mark.parametrize("case", REFUSED)
def test_each_refusal_of_an_image_is_a_sentence_without_its_name(case: str) -> None:
    data, _, words = REFUSED[case]
    (found,) = Answers(colour_classifier(), max_pixels=40_000_000).predict([Upload("x.jpg", data)])
    assert isinstance(found, Refused) and found.name == "x.jpg"
    assert re.search(words, found.reason) and found.reason.endswith(".")
    assert found.reason[0].isupper() and "x.jpg" not in found.reason.lower()
    assert not re.search(r"\w=", found.reason)  # a keyword of Python


def test_one_content_under_two_names_shows_each_visitor_their_own(classifier: Classifier) -> None:
    answers = Answers(classifier)
    names = ("my mole.jpg", "left arm.jpg")
    for name in names:
        upload = Upload(name, SAMPLE)
        assert answers.predict([upload])[0].source == name
        assert answers.explain(upload, "gradcam", None).source == name
        assert answers.predict([Upload(name, b"text")])[0].name == name


class Slow:
    """Stands in for the classifier: counts, waits, and fails as often as it is told."""

    def __init__(self, whole: Classifier, failures: int = 0) -> None:
        self.whole, self.failures, self.asked = whole, failures, 0
        self.started, self.go = threading.Event(), threading.Event()

    def explain(self, *args, **more):
        self.asked += 1
        self.started.set()
        assert self.go.wait(LIMIT)
        if self.failures:
            self.failures -= 1
            raise KeyboardInterrupt  # as a page that was left
        return self.whole.explain(*args, **more)


@pytest.mark.parametrize("failures", [0, 1])
def test_one_question_is_computed_once_and_again_if_its_visitor_leaves(
    classifier: Classifier, failures: int
) -> None:
    slow = Slow(classifier, failures)
    answers = Answers(slow)
    upload = Upload("x.jpg", SAMPLE)
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(answers.explain, upload, "gradcam", None) for _ in range(6)]
        assert slow.started.wait(LIMIT)
        slow.go.set()
        errors = [each.exception(LIMIT) for each in asked]
    assert sum(error is not None for error in errors) == failures
    assert slow.asked == 1 + failures
    maps = [each.result().heatmap for each, error in zip(asked, errors, strict=True) if not error]
    assert all(np.array_equal(maps[0], each) for each in maps)


def test_who_waits_for_another_is_told_and_may_leave(classifier: Classifier) -> None:
    slow = Slow(classifier)
    answers = Answers(slow)
    upload = Upload("x.jpg", SAMPLE)
    told: list[tuple[int, int | None]] = []

    class Left(BaseException):
        pass

    def tell(*each: int | None) -> None:
        told.append(each)
        if len(told) == 3:
            raise Left

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(answers.explain, upload, "gradcam", None)
        assert slow.started.wait(LIMIT)
        with pytest.raises(Left):
            answers.explain(upload, "gradcam", None, tell)
        slow.go.set()
        assert first.result(LIMIT).heatmap is not None
    assert told == [(0, None)] * 3 and slow.asked == 1


def test_an_error_is_not_kept(classifier: Classifier) -> None:
    answers = Answers(classifier)
    upload = Upload("x.jpg", SAMPLE)
    for _ in range(2):
        with pytest.raises(UnknownNameError):
            answers.explain(upload, "gradcam", "no such class")
    assert answers.explain(upload, "gradcam", "nv").target == "nv"


def test_answers_stay_within_their_room(classifier: Classifier) -> None:
    upload = Upload("x.jpg", SAMPLE)
    one = classifier.explain(SAMPLE)
    size = one.pixels.nbytes + one.heatmap.nbytes
    answers = Answers(classifier, room=2 * size + one.pixels.nbytes + 100)  # and its pixels
    first = answers.explain(upload, "gradcam", "nv")
    answers.explain(upload, "gradcam", "mel")
    assert answers.explain(upload, "gradcam", "nv") is first  # used last
    answers.explain(upload, "gradcam", "bkl")
    assert answers.explain(upload, "gradcam", "nv") is first
    assert answers._used <= answers._room and len(answers._kept) == 3


def test_no_map_stands_alone_in_its_row() -> None:
    assert [columns_for(count) for count in range(10)] == [2, 2, 2, 3, 4, 3, 3, 4, 4, 3]
    for count in range(2, 40):
        assert count % columns_for(count) != 1 or count % 3 == count % 2 == 1, count


def test_progress_is_told() -> None:
    told: list[tuple[int, int | None]] = []
    answers, upload = Answers(colour_classifier()), Upload("x.png", encode(gradient(96, 128)))
    answers.explain(upload, "occlusion", "red", lambda *each: told.append(each))
    numbers = [done for done, _ in told]
    assert numbers == sorted(numbers) and 100 < numbers[-1] <= 200
    assert {total for _, total in told} == {200}


def test_names_are_shown_as_they_are() -> None:
    bad = "![x](http://a.b/c.png) <b> :material/delete: $x$ [l](u) `c` **b**"
    shown = showing.plain(bad)
    for mark in "![](<>:$`*":
        assert all(shown[k - 1] == "\\" for k, c in enumerate(shown) if c == mark)
    assert shown.replace("\\", "").replace("\u2060", "") == bad


def test_the_cards_confusion_matrix(classifier: Classifier) -> None:
    labels = classifier.config.labels
    before, counts, after = showing.around_confusion(classifier.card, labels)
    assert before.endswith("predicted:\n") and after.strip().startswith("## Limits")
    assert sum(map(sum, counts)) == 1499
    assert counts[4] == [1, 3, 13, 0, 102, 43, 5]
    assert "mel called nv: 43 of 167" in showing.confusion(counts, labels)
    assert showing.around_confusion("no table", labels) is None
    assert showing.around_confusion("|  | a | b |\n|---|---|---|\n| a | 1 | x |\n| b | 1 | 2 |",
                                LabelSet(("a", "b"))) is None  # fmt: skip


def test_the_findings_name_and_mark_every_class(classifier: Classifier) -> None:
    prediction = classifier.predict(SAMPLE)
    shown = showing.findings(prediction)
    assert shown.count("▲ malignant") == 3
    for code, value in prediction.probabilities.items():
        row = shown.split(f"data-code='{code}'")[1].split("</tr>")[0]
        assert f"{100 * value:.1f} %" in row and f"width:{100 * value:.2f}%" in row
    forged = replace(prediction, labels=replace(prediction.labels, names={"nv": "<script>"}))
    assert "<script>" not in showing.findings(forged)


def test_the_scale_has_the_raw_values(classifier: Classifier) -> None:
    explanation = classifier.explain(SAMPLE, "gradcam")
    shown = pictures.scale(explanation)
    assert f"<span>{explanation.heatmap.max():.3g}</span>" in shown
    assert "rgb(0 0 4)" in shown and "rgb(252 255 164)" in shown


def test_a_large_image_is_shown_small_and_kept_whole(classifier: Classifier) -> None:
    large = np.kron(gradient(200, 300), np.ones((8, 8, 1), np.uint8))
    explanation = classifier.explain(large, "gradcam")
    assert explanation.heatmap.shape == (1600, 2400)
    assert max(showing.blended(explanation, 0.5).size) == showing.SIDE


def test_a_model_that_is_not_there_is_said_before_the_port_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(answering.MODEL, "")  # is put back
    answering.shared.cache_clear()
    with (
        socket.create_server(("localhost", 0)) as other,
        pytest.raises(ModelError, match="model must be a folder"),
    ):
        serve(str(tmp_path / "none"), port=other.getsockname()[1])


def test_training_images_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"training_images must be a folder, got .*none") as found:
        serve(training_images=tmp_path / "none")
    assert "give the folder" in found.value.on_command_line


@pytest.mark.parametrize("taken", [True, False])
def test_where_nothing_can_listen_is_a_sentence(taken: bool) -> None:
    with socket.create_server(("localhost", 0)) as other:
        port = other.getsockname()[1] if taken else 70_000
        with pytest.raises(OptionError, match=f"^listening at port {port} of 'localhost' failed: "):
            serve(port=port)
    with pytest.raises(OptionError, match=r"of 'no\.such\.host\.invalid' failed: "):
        serve(address="no.such.host.invalid")


def test_without_streamlit_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlit", None)
    monkeypatch.setitem(sys.modules, "streamlit.web", None)  # where it was imported before
    with pytest.raises(OptionError, match=r"needs the package streamlit: .*skinxai\[demo\]"):
        serve()


def test_the_space_installs_this_version_and_listens_where_it_says() -> None:
    space = ROOT / "examples" / "space"
    needed = (space / "requirements.txt").read_text().splitlines()
    assert f"skinxai[demo,openvino]=={__version__}" in needed
    port = inspect.signature(serve).parameters["port"].default
    assert f"app_port: {port}\n" in (space / "README.md").read_text()
    assert f"EXPOSE {port}\n" in (space / "Dockerfile").read_text()
    names = {line.split()[-1] for line in (space / "Dockerfile").read_text().splitlines()}
    assert '"app.py"]' in names
    compile((space / "app.py").read_text(), "app.py", "exec")


def test_labels_named_as_a_column_of_the_batch_hide_none() -> None:
    labels = LabelSet(("image", "class", "probability", "notes", "file"))
    values = (0.1, 0.2, 0.4, 0.25, 0.05)
    answer = Prediction.from_probabilities(
        values, labels, source="a.png", model="m", backend="torch", warnings=("turned",)
    )
    (row,) = frame(labels, [Row("data:", answer)]).to_dict("records")
    assert row["class"] == "Probability" and row["probability"] == 0.4 and row["file"] == "a.png"
    assert [row[f"p_{code}"] for code in labels] == list(values)
    assert row["notes"].lower().startswith("turned")


def test_what_is_loaded_is_not_looked_through_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit does that after each run of a page: 0.4 s with torch, in which nobody is served."""
    frozen: list[int] = []

    class Server:
        failure = None

        def __init__(self, *_: object) -> None: ...

        def run(self, **_: object) -> None:
            frozen.append(gc.get_freeze_count())

    monkeypatch.setattr(middleware, "Guarded", Server)
    monkeypatch.setattr(answering, "shared", lambda: SimpleNamespace(warm=lambda: None))
    for holder, name in ((Patient, "answers"), (MultiPartParser, "spool_max_size")):
        monkeypatch.setattr(holder, name, getattr(holder, name))  # which `serve` changes
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", HTTP_PROTOCOLS["auto"])
    gc.unfreeze()
    try:
        serve(port=0, browser=False)
    finally:
        gc.freeze()  # as `conftest` has it
    assert frozen[0] > 100_000
