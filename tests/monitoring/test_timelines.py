"""`Timeline` and ``skinxai drift``: the table, the file and the picture agree."""

import contextlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_answers import MODEL, answers, sample
from PIL import Image
from places import ROOT
from small_runs import model_folder, uncalibrated
from typer.testing import CliRunner

from skinxai import Classifier, monitoring
from skinxai.cli import app
from skinxai.data import Record, Records, TrainedOn
from skinxai.errors import LeakageError, ModelError, NoInputsError, OptionError, SkinxaiWarning
from skinxai.images.reading import read_image
from skinxai.labels import LabelSet
from skinxai.model_folders.trained_on import Look
from skinxai.monitoring import DriftMonitor, Timeline
from skinxai.monitoring.change_points import Change
from skinxai.monitoring.drift_picture import ALARM, LEFT, LINE, ROW, TOP, WIDTH, drawn
from skinxai.monitoring.measured_series import TESTS
from skinxai.results.drawing import is_own_picture
from skinxai.trust.colours import colours

WINDOW = 20


@pytest.fixture(scope="module")
def timeline() -> Timeline:
    """Forty images alike, then forty that are sharper."""
    monitor, draws = DriftMonitor(sample(200), window=WINDOW, false_alarms=0.01), np.random
    rng = draws.default_rng(4)
    for each in answers(40, rng) + answers(40, rng, sharpness=3):
        monitor.add(each)
    change = Change("sharpness", 60, 41, 0.0, 3.0)
    return Timeline(MODEL, monitor.report(), monitor.history, (change,))


def test_alarms_are_those_of_the_looks(timeline: Timeline) -> None:
    assert len(timeline.looks) == 13
    places = timeline.alarms["sharpness"]
    assert 40 < places[0] < 60 and places[-1] == 80
    assert places == tuple(each.images for each in timeline.looks if "sharpness" in each.alarms)
    text = timeline.to_text().splitlines()
    assert text[0] == f"{MODEL}: the last 20 images up to number 80 of 80"
    assert f"alarm of sharpness after image {places[0]}, in {len(places)} of 13 looks" in text
    assert text[-1] == "sharpness changed near image 41, noticed at 60: 0, then 3"
    calm = replace(timeline, looks=timeline.looks[:3], changes=())
    assert calm.to_text().splitlines()[-1] == "no alarm in 3 looks"
    calm = replace(timeline, looks=timeline.looks[:1], changes=())
    assert calm.to_text().splitlines()[-1] == "no alarm in 1 look"


def test_the_file_has_every_number(timeline: Timeline, tmp_path: Path) -> None:
    timeline.save(tmp_path / "drift")
    values = json.loads((tmp_path / "drift/drift.json").read_text())
    assert values == json.loads(json.dumps(timeline.to_dict()))
    assert len(values["looks"]) == 13
    for look, found in zip(timeline.looks, values["looks"], strict=True):
        assert found["rows"][3]["statistic"] == look.rows[3].statistic
        assert found["estimated_accuracy"] == look.estimated_accuracy
    assert values["alarms"] == {test: list(p) for test, p in timeline.alarms.items()}
    assert values["changes"][0]["since"] == 41 and values["model"] == MODEL
    data = (tmp_path / "drift/drift.png").read_bytes()
    assert is_own_picture(data[:512])
    with Image.open(tmp_path / "drift/drift.png") as picture:
        assert picture.tobytes() == drawn(timeline).tobytes()


def test_the_picture_has_an_orange_cell_for_each_alarm(timeline: Timeline) -> None:
    picture, count = drawn(timeline), len(timeline.looks)
    for row, test in enumerate(TESTS):
        for place, look in enumerate(timeline.looks):
            x = LEFT + WIDTH * place // count + 5
            colour = picture.getpixel((x, TOP + ROW * row + 5))
            assert (colour == ALARM) == (test in look.alarms), (test, place)


def test_no_alarm_is_hidden_by_looks_in_the_same_column(timeline: Timeline) -> None:
    quiet, loud = timeline.looks[0], timeline.looks[-1]
    assert "sharpness" in loud.alarms and not quiet.alarms
    looks = [quiet] * 3000
    looks[1001] = loud
    y = TOP + ROW * list(TESTS).index("sharpness") + 5
    row = np.array(drawn(replace(timeline, looks=tuple(looks))))[y]
    (places,) = np.nonzero((row[LEFT : LEFT + WIDTH] == ALARM).all(axis=1))
    assert places.tolist() == [1001 * WIDTH // 3000]


def test_the_line_is_at_the_estimated_accuracy(timeline: Timeline) -> None:
    low, high = (replace(timeline.looks[0], estimated_accuracy=value) for value in (0.0, 1.0))
    one, two = (np.array(drawn(replace(timeline, looks=(each,)))) for each in (low, high))
    rows = [np.flatnonzero((each == LINE).all(axis=2).any(axis=1)).mean() for each in (one, two)]
    assert rows[0] - rows[1] == pytest.approx(110, abs=1)


def test_a_picture_without_looks() -> None:
    monitor = DriftMonitor(sample(200), window=WINDOW, false_alarms=0.2)
    picture = np.array(drawn(Timeline("", monitor.report(), ())), int)
    cells = picture[TOP : TOP + ROW * len(TESTS), LEFT : LEFT + WIDTH]
    assert (cells.max(axis=2) < 200).any()  # a sentence is in their place
    assert not (cells == ALARM).all(axis=2).any()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty sharp pictures, and a damaged file between them."""
    place, draws = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(20):
        Image.fromarray(draws.integers(0, 255, (120, 160, 3), np.uint8)).save(
            place / f"{number:02d}.png"
        )
    (place / "05b.png").write_bytes(b"no image")
    return place


def run(*words: object) -> tuple[int, str, str]:
    made = CliRunner().invoke(app, ["drift", *map(str, words)])
    return made.exit_code, made.stdout, made.stderr


def test_noise_is_no_dermoscopy(folder: Path, tmp_path: Path) -> None:
    code, out, err = run(folder, "--out", tmp_path / "out", "--backend", "onnx", "--changes")
    assert code == 1 and "05b.png  failed" in err and "the picture is" in err, (out, err)
    assert "the last 20 images up to number 20 of 20" in out
    assert "alarm of embedding after image 20, in 1 of 1 look" in out
    none = "no change found in the means of confidence, novelty, sharpness, brightness, colour_cast"
    assert out.splitlines()[-1] == none
    values = json.loads((tmp_path / "out/drift.json").read_text())
    assert (values["images"], values["window"], values["changes"]) == (20, 20, [])
    code, out, _ = run(folder, "--json", "--window", 8, "--false-alarms", 0.2, "--backend", "onnx")
    assert none not in out
    values = json.loads(out)
    assert code == 1 and (values["window"], values["false_alarms"]) == (8, 0.2)
    assert len(values["looks"]) == 7


def test_the_timeline_has_every_look(folder: Path, monkeypatch) -> None:
    """A monitor that runs for ever forgets its first looks; a stream of files has an end."""

    class Forgetful(DriftMonitor):
        def __init__(self, *args, looks: int | None = 3, **more) -> None:
            super().__init__(*args, looks=looks, **more)

    monkeypatch.setattr(monitoring, "DriftMonitor", Forgetful)
    code, out, _ = run(folder, "--json", "--window", 8, "--backend", "onnx")
    assert code == 1 and len(json.loads(out)["looks"]) == 7
    kept = Forgetful(sample(200), window=8)
    for each in answers(20, np.random.default_rng(4)):
        kept.add(each)
    assert [each.images for each in kept.history] == [16, 18, 20]


def test_a_reference_of_ones_own(folder: Path, tmp_path: Path) -> None:
    """Pictures of the same kind: noise that differs from the first noise by chance alone."""
    draws, own = np.random.default_rng(9), tmp_path / "own"
    own.mkdir()
    for number in range(40):
        Image.fromarray(draws.integers(0, 255, (120, 160, 3), np.uint8)).save(own / f"{number}.png")
    code, out, _ = run(folder, "--reference", own, "--backend", "onnx", "--json")
    values = json.loads(out)
    assert code == 1 and not values["alarms"] and values["window"] == 11
    assert values["looks"][0]["reference_accuracy"] is None


def test_wrong_use_says_what_to_do(folder: Path, tmp_path: Path, small_networks) -> None:
    made = CliRunner().invoke(app, ["drift", str(folder), "--window", "900", "--backend", "onnx"])
    assert isinstance(made.exception, OptionError) and "window must be" in str(made.exception)
    made = CliRunner().invoke(app, ["drift", str(folder / "00.png"), "--backend", "onnx"])
    assert isinstance(made.exception, NoInputsError)
    assert str(made.exception) == "drift needs at least 8 images that can be read, got 1."
    plain = Classifier.from_pretrained(model_folder(tmp_path / "plain", seed=1))
    plain.export(tmp_path / "plain.onnx")
    made = CliRunner().invoke(app, ["drift", str(folder), "--model", str(tmp_path / "plain.onnx")])
    assert isinstance(made.exception, ModelError)
    assert "drift needs a reference" in str(made.exception)


def test_with_reference_keeps_labels_and_lesions_of_records(classifier, photos) -> None:
    items = [Record(path.stem, path, "nv", f"lesion {k // 2}") for k, path in enumerate(photos)]
    records = Records(tuple(items), classifier.config.labels, "photos")
    made = classifier.with_reference(records).reference
    assert made.labels.tolist() == [classifier.labels.index("nv")] * 12
    assert np.bincount(made.lesions).tolist() == [2] * 6
    lightness = sorted(colours(read_image(path).pixels)[0] for path in photos)
    assert sorted(made.colours[:, 0]) == pytest.approx(lightness)
    with pytest.raises(ModelError, match="a reference needs a calibrated model"):
        uncalibrated(classifier).with_reference(records)
    with pytest.raises(OptionError, match="on_error must be 'raise' in with_reference"):
        classifier.with_reference(records, on_error="return")
    with pytest.raises(OptionError, match="records must have the model's labels"):
        classifier.with_reference(replace(records, labels=LabelSet(("nv", "mel"))))


def test_training_images_and_their_copies_are_no_reference(classifier, photos, tmp_path) -> None:
    """The network is surer of them than of others: no alarm would be right."""
    copy = tmp_path / "copy.jpg"
    Image.open(photos[1]).convert("RGB").resize((400, 300)).save(copy, quality=90)
    seen = TrainedOn.of_looks(Look.at(read_image(path).pixels) for path in photos[:2])
    learnt = Classifier(replace(classifier._loaded, trained_on=seen))
    given = [str(path) for path in (photos[0], copy, *photos[2:])]
    with pytest.raises(LeakageError) as caught:
        learnt.with_reference(given)
    said = "1 has the pixels of a training image (%s) and 1 looks like a copy of a training image"
    assert said % given[0] in str(caught.value) and f"({given[1]})" in str(caught.value)
    with pytest.raises(LeakageError, match="1 has the pixels of a training image"):
        learnt.with_reference(given, not_copies=given[:2])
    made = learnt.with_reference(given[1:], not_copies=[given[1]])
    assert len(made.reference) == 11
    with pytest.raises(OptionError, match="not_copies must be ids of the images"):
        learnt.with_reference(given[2:], not_copies=[given[1]])
    items = [Record(Path(path).stem, Path(path), "nv") for path in given]
    records = Records(tuple(items), classifier.config.labels, "photos")
    with pytest.raises(LeakageError, match=r"training image \(copy\); leave them out"):
        learnt.with_reference(replace(records, items=records.items[1:]))
    arrays = [read_image(photos[k]).pixels for k in (3, 0, 6, 1)]
    name = "array (240, 320, 3) uint8"
    with pytest.raises(LeakageError, match=re.escape(f"({name} [1]")):
        learnt.with_reference(arrays)
    with pytest.warns(SkinxaiWarning, match="does not say which images it was trained on"):
        Classifier(replace(classifier._loaded, trained_on=None)).with_reference(given)


def test_the_commands_reference_holds_no_training_images(classifier, photos, tmp_path) -> None:
    seen = TrainedOn.of_looks([Look.at(read_image(photos[0]).pixels)])
    place = tmp_path / "learnt"
    loaded = replace(classifier._loaded, trained_on=seen, neighbours=None)
    Classifier(loaded).save_pretrained(place)
    own = [str(photos[k]) for k in range(1, 12)]
    words = ["drift", *own, "--model", str(place), "--backend", "onnx", "--reference"]
    copy = tmp_path / "copy.jpg"
    Image.open(photos[0]).convert("RGB").resize((400, 300)).save(copy, quality=90)
    made = CliRunner().invoke(app, [*words, str(copy)])
    assert isinstance(made.exception, LeakageError)
    assert made.exception.on_command_line.endswith("name copies that are none with --not-copies.")
    made = CliRunner().invoke(app, ["drift", *own, "--not-copies", "a"])
    assert made.exit_code == 2 and "give both" in made.stderr


def test_the_pages_monitor_says_what_the_page_shows(photos, tmp_path: Path, monkeypatch) -> None:
    page = (ROOT / "docs/how-to/monitor.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    expected = page.split("```text\n")[1].split("```")[0]
    Image.open(photos[0]).convert("RGB").save(tmp_path / "lesion.jpg")
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == expected
