"""The demo's pages without a browser: every answer is the classifier's, no error a traceback."""

import io
import zipfile

import pytest
from picture_files import encode, gradient
from test_images_files import REFUSED

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from skinxai import Attribution, Classifier, Explainer, explainers, samples
from skinxai.demo.answering import shared

PAGE = "from skinxai.demo.{0} import {1}\n{1}()"
PNG = encode(gradient(96, 128))


def opened(page: str, name: str) -> AppTest:
    return AppTest.from_string(PAGE.format(page, name), default_timeout=120).run()


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


def test_it_starts_with_a_sample_and_its_differential(classifier: Classifier) -> None:
    page = opened("one", "one_image")
    assert not sentences(page)
    prediction = classifier.predict(samples.paths()[0])
    for value in prediction.probabilities.values():
        assert f"{100 * value:.1f} %" in shown(page)
    assert any("not a medical device" in each.value for each in page.caption)
    assert {"Overlay", "Explanation folder", "JSON"} <= {b.label for b in page.download_button}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_upload_is_a_sentence(case: str) -> None:
    page = with_file("lesion.jpg", REFUSED[case][0])
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
    assert set(page.selectbox[0].options) == set(explainers.names())
    page.selectbox[0].set_value("layercam").run()
    page.selectbox[1].set_value("nv").run()
    assert not sentences(page)
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
    assert captions(page) == [f"{m}: Melanoma" for m in ("gradcam", "layercam")] + [
        "eigencam", "guided_backprop: Melanoma",
    ]  # fmt: skip
    page.button_group[-1].set_value("Classes").run()
    assert not sentences(page)
    assert len(captions(page)) == 7 and "gradcam: Dermatofibroma" in captions(page)


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
    assert answered["nv"].tolist() == pytest.approx([expected.probabilities["nv"]] * 2, abs=1e-5)
    assert answered["image"][0].startswith("data:image/jpeg")
    assert set(refused["file"]) == {"text.jpg", "many.zip/../outside.png"}
    (button,) = page.download_button
    assert button.label == "Download CSV"


def test_five_hundred_files_at_once() -> None:
    files = [(f"{k}.png", PNG, "image/png") for k in range(499)] + [("x.png", b"?", "image/png")]
    page = opened("batch", "batch")
    page.file_uploader[0].set_value(files).run()
    answered, refused = (each.value for each in page.dataframe)
    assert len(answered) == 499 and len(refused) == 1


def test_the_models_page_has_card_and_confusion_matrix(classifier: Classifier) -> None:
    page = opened("about", "model")
    assert not sentences(page)
    assert "Confusion matrix" in shown(page)
    assert any("CC BY-NC 4.0" in each.value for each in page.markdown)
    assert any(classifier.model.split("@")[1] in each.value for each in page.caption)


def test_all_visitors_share_one_model() -> None:
    assert shared() is shared()
