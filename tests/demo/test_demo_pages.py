"""The demo's pages without a browser: every answer is the classifier's, no error a traceback."""

import html
import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from picture_files import encode, gradient, png
from PIL import Image
from waiting import LIMIT

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from skinxai import Attribution, Classifier, Explainer, explainers, samples
from skinxai.data import pixel_hash
from skinxai.demo import showing, similar
from skinxai.demo.answering import Answers, shared
from skinxai.demo.uploads import Refused, Upload
from skinxai.images.reading import read_image
from skinxai.results import Neighbour

PAGE = "from skinxai.demo.{0} import {1}\n{1}()"
PNG = encode(gradient(96, 128))


def opened(page: str, name: str) -> AppTest:
    return AppTest.from_string(PAGE.format(page, name), default_timeout=LIMIT).run()


def with_file(name: str, data: bytes) -> AppTest:
    page = opened("one", "one_image")
    page.button_group[0].set_value("File").run()
    return page.file_uploader[0].set_value((name, data, "image/jpeg")).run()


def sentences(page: AppTest) -> list[str]:
    assert not page.exception and not page.error
    return [each.value.replace("\\", "") for each in (*page.warning, *page.info)]


def shown(page: AppTest) -> str:
    return " ".join(each.proto.body for each in page.get("html"))


def captions(page: AppTest) -> list[str]:
    return [each.proto.imgs[0].caption.replace("\\", "") for each in page.get("image")]


def test_it_starts_with_a_sample_and_what_the_model_finds(classifier: Classifier) -> None:
    page = opened("one", "one_image")
    assert not sentences(page)
    prediction = classifier.predict(samples.paths()[0])
    for value in prediction.probabilities.values():
        assert f"{100 * value:.1f} %" in shown(page)
    assert "What the model finds" in shown(page)
    assert {"Overlay", "All files", "JSON"} <= {b.label for b in page.download_button}


def test_a_file_name_that_turns_its_line_is_shown_with_an_escape() -> None:
    page = with_file("my\u202egnp.png", PNG)
    assert "myu202egnp.png" in captions(page)  # of which the backslashes are taken away
    bad = with_file("my\u202egnp.png", b"text")
    (sentence,) = sentences(bad)
    assert sentence.startswith("myu202egnp.png: ")


@pytest.mark.parametrize(
    "data",
    [b"", b"just words", PNG[:-12], encode(gradient()[:7, :7]), png(50_000, 50_000, 8, 2, b"?")],
    ids=["empty", "text", "torn", "too small", "too large"],
)
def test_a_bad_upload_is_a_sentence(data: bytes) -> None:
    page = with_file("lesion.jpg", data)
    (sentence,) = sentences(page)
    assert sentence.startswith("lesion.jpg: ") and sentence.endswith(".")
    assert not page.get("image") and not page.download_button


def test_an_upload_gets_the_classifiers_answer(classifier: Classifier) -> None:
    page = with_file("mine.png", PNG)
    assert not sentences(page)
    for value in classifier.predict(PNG).probabilities.values():
        assert f"{100 * value:.1f} %" in shown(page)


def test_each_click_shows_its_sample() -> None:
    page = opened("one", "one_image")
    for number, name in enumerate(("Melanoma, missed", "Basal cell carcinoma", "Nevus"), 1):
        page.button_group[1].set_value(name).run()
        assert captions(page)[0] == samples.paths()[number].name
    for source in ("File", "Camera", "Sample"):
        page.button_group[0].set_value(source).run()
        assert page.button_group[0].value == source


def test_an_image_that_is_taken_back_is_forgotten() -> None:
    page = with_file("mine.png", PNG)
    assert captions(page)[0] == "mine.png"
    page.file_uploader[0].set_value(None).run()
    assert not captions(page) and not page.download_button
    assert sentences(page) == ["Choose an image, or drop a file."]


def test_a_name_is_no_markdown() -> None:
    page = with_file("![a](http://a.example/x.png) **b**.jpg", b"text")
    assert "](http" not in page.warning[0].value and "**b" not in page.warning[0].value


def test_methods_and_classes_can_be_chosen() -> None:
    page = opened("one", "one_image")
    assert set(page.selectbox[0].options) == {each.title for each in explainers.entries()}
    page.selectbox[0].set_value("layercam").run()
    page.selectbox[1].set_value("nv").run()
    assert not sentences(page)
    assert captions(page)[1] == "LayerCAM: Melanocytic nevus"
    (line,) = [each.shows for each in explainers.entries() if each.name == "layercam"]
    assert line in [each.value.replace("\\", "") for each in page.caption]
    page.selectbox[0].set_value("attention_rollout").run()  # this network has no attention
    (sentence,) = sentences(page)
    assert "attention" in sentence


def test_a_plugin_that_fails_is_a_sentence(registered) -> None:
    class Broken(Explainer):
        def attribute(self, images, target, *, options):
            raise ValueError("secret <b>")

    class Scores(Explainer):
        def attribute(self, images, target, *, options):
            return Attribution(maps={}, scores={"spread": images.flatten(1).std(dim=1)})

    registered("broken", Broken)
    registered("scores_alone", Scores)
    page = opened("one", "one_image")
    assert "scores_alone" in page.selectbox[0].options  # a plugin without a title has its name
    page.selectbox[0].set_value("broken").run()
    (sentence,) = sentences(page)
    assert "broken" in sentence
    page.selectbox[0].set_value("scores_alone").run()
    assert not sentences(page)
    assert any("spread" in each.value for each in page.caption)


def test_methods_and_classes_side_by_side() -> None:
    page = opened("comparing", "comparison")
    assert not sentences(page)
    assert [b.label for b in page.download_button] == ["Download the sheet"]
    assert captions(page) == [f"{m}: Melanoma" for m in ("Grad-CAM", "LayerCAM")] + [
        "Eigen-CAM", "Guided backpropagation: Melanoma",
    ]  # fmt: skip
    page.button_group[-1].set_value("Classes").run()
    assert not sentences(page)
    assert len(captions(page)) == 7 and "Grad-CAM: Dermatofibroma" in captions(page)


def test_a_batch_lists_what_could_not_be_read(classifier: Classifier) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("inside.png", PNG)
        made.writestr("../outside.png", PNG)
    files = [
        ("=1+1.png", PNG, "image/png"),
        ("text.jpg", b"just words", "image/jpeg"),
        ("many.zip", archive.getvalue(), "application/zip"),
    ]
    page = opened("batch", "batch")
    page.file_uploader[0].set_value(files).run()
    assert not page.exception and not page.warning
    answered, refused = (each.value for each in page.dataframe)
    assert list(answered["file"]) == ["=1+1.png", "many.zip/inside.png"]
    expected = classifier.predict(PNG)
    assert answered["p_nv"].tolist() == pytest.approx([expected.probabilities["nv"]] * 2, abs=1e-5)
    assert answered["image"][0].startswith("data:image/jpeg")
    assert set(refused["file"]) == {"text.jpg", "many.zip/../outside.png"}
    (button,) = page.download_button
    assert button.label == "Download CSV"


def test_five_hundred_files_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's part of it: what the classifier answers is told beforehand."""
    (one,) = shared().predict([Upload("one.png", PNG)])
    monkeypatch.setattr(
        Answers, "predict",
        lambda self, uploads, waits: [
            replace(one, source=each.name) if each.data == PNG else Refused(each.name, "No image.")
            for each in uploads
        ],
    )  # fmt: skip
    files = [(f"{k}.png", PNG, "image/png") for k in range(499)] + [("x.png", b"?", "image/png")]
    page = opened("batch", "batch")
    page.file_uploader[0].set_value(files).run()
    answered, refused = (each.value for each in page.dataframe)
    assert list(answered["file"]) == [f"{k}.png" for k in range(499)]
    assert list(refused["file"]) == ["x.png"]


def test_a_batch_stays_until_other_files_come() -> None:
    page = opened("batch", "batch")
    page.button[0].click().run()
    names = [path.name for path in samples.paths()]
    assert list(page.dataframe[0].value["file"]) == names
    assert list(page.run().dataframe[0].value["file"]) == names
    of_samples = page.session_state["kept batch"]
    page.file_uploader[0].set_value([("mine.png", PNG, "image/png")]).run()
    assert list(page.dataframe[0].value["file"]) == ["mine.png"]
    page.session_state["kept batch"] = of_samples  # by a run that ended after this one had begun
    assert list(page.run().dataframe[0].value["file"]) == ["mine.png"]
    page.file_uploader[0].set_value([]).run()
    assert not page.dataframe


def turned_and_transparent() -> bytes:
    pixels = np.dstack([gradient(96, 128), np.full((96, 128), 255, np.uint8)])
    pixels[:20, :, 3] = 0
    made = Image.fromarray(pixels)
    exif = made.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    made.save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def test_notes_on_reading_an_image_are_shown(classifier: Classifier) -> None:
    data = turned_and_transparent()
    notes = [each.partition(": ")[2].rstrip(".") for each in classifier.predict(data).warnings]
    assert any("composited on white" in each for each in notes)
    page = with_file("mine.png", data)
    for each in notes:
        assert html.escape(each[1:]) in shown(page)
    page = opened("batch", "batch")
    page.file_uploader[0].set_value([("a.png", data, "image/png"), ("b.png", PNG, "x")]).run()
    first, second = page.dataframe[0].value["notes"]
    assert all(each[1:] in first and each[1:] not in second for each in notes)


def test_similar_training_lesions_have_pictures_where_the_folder_has_them(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    for number, name in enumerate(("deep/first.png", "second.png")):
        (tmp_path / name).write_bytes(encode(gradient(96, 100 + number)))
    (tmp_path / "damaged.png").write_bytes(b"just words")
    known = similar.Pictures(tmp_path)
    known.read()
    assert (known.done, known.total, known.complete) == (3, 3, True)
    own = pixel_hash(read_image(tmp_path / "deep/first.png").pixels)[:16]
    found = [Neighbour(own, "mel", 0.1, None), Neighbour("0" * 16, "nv", 0.25, None)]
    assert known.of(found[0]) == showing.thumbnail(read_image(tmp_path / "deep/first.png").pixels)
    assert known.of(found[1]) is None
    monkeypatch.setattr(Answers, "nearest", lambda self, upload, k: found)
    monkeypatch.setattr(similar, "pictures", lambda: known)
    page = opened("one", "one_image")
    assert shown(page).count("<li>") == 2 and "distance 0.25" in shown(page)
    assert f"<img src='{known.of(found[0])}' alt='Melanoma'>" in shown(page)
    assert "<div class='none'></div>Melanocytic nevus" in shown(page)


def test_without_a_folder_similar_lesions_have_their_labels(classifier: Classifier) -> None:
    page = opened("one", "one_image")
    nearest = classifier.nearest(samples.paths()[0], 6)
    assert shown(page).count("<li>") == 6 and "class='none'" not in shown(page)
    for lesion in nearest:
        assert f"distance {lesion.distance:.2f}" in shown(page)


def test_the_models_page_has_card_and_confusion_matrix(classifier: Classifier) -> None:
    page = opened("about", "model")
    assert not sentences(page)
    assert "Confusion matrix" in shown(page)
    assert "CC BY-NC 4.0" in shown(page) and "<table>" in shown(page)
    assert any(classifier.model.split("@")[1] in each.value for each in page.caption)


def test_all_visitors_share_one_model() -> None:
    assert shared() is shared()
