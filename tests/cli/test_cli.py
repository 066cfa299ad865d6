"""The command line through its entry point."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from skinxai import Attribution, Classifier, Explainer
from skinxai.cli import app
from skinxai.errors import ExplainError, SkinxaiError

RUN = [sys.executable, "-c", "from skinxai.cli import main; main()"]


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, SkinxaiError):  # main() makes a sentence and exit code 2 of it
        return 2, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_table_and_overlays(photos, tmp_path) -> None:
    out = tmp_path / "results"
    code, text = run("predict", photos[0].parent, "--explain", "gradcam", "--out", out)
    assert code == 0 and "12 of 12 images" in text
    with (out / "results.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 12 and sum(float(v) for k, v in rows[0].items() if k[:2] == "p_") == (
        pytest.approx(1)
    )
    assert {row["overlay"] for row in rows} == {p.name for p in out.glob("*.png")}
    assert json.loads((out / "results.json").read_text())[3]["source"] == rows[3]["source"]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_other_formats(photos, kind) -> None:
    code, text = run("predict", photos[0], "--format", kind)
    assert code == 0
    rows = json.loads(text) if kind == "json" else list(csv.DictReader(text.splitlines()))
    assert rows[0]["label"] and rows[0]["source"] == str(photos[0])


def test_some_failed_is_one_and_the_rest_is_written(photos, tmp_path) -> None:
    (tmp_path / "bad.png").write_bytes(b"not an image")
    code, text = run("predict", photos[0], tmp_path / "bad.png", "--out", tmp_path / "results")
    assert code == 1 and "1 of 2 images" in text and "failed:" in text
    rows = json.loads((tmp_path / "results" / "results.json").read_text())
    assert rows[0]["label"] and rows[1]["error_code"] == "image_unsupported"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict"], "Give IMAGES, or a table of them with --manifest"),
        (["predict", "nowhere/*.jpg"], "found none"),
        (["predict", "PHOTO", "--explain", "gradcam"], "needs --out"),
        (["predict", "PHOTO", "--explain", "gradcan", "--out", "o"], "Did you mean 'gradcam'"),
        (["predict", "PHOTO", "--model", "nowhere"], "found no folder"),
        (["predict", "PHOTO", "--batch-size", "0"], "batch_size must be an integer >= 1"),
        (["explain", "PHOTO", "--target", "melanom", "--out", "o"], "must be one of"),
    ],
)
def test_wrong_use_is_two(photos, tmp_path, monkeypatch, arguments, words) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = run(*[photos[0] if a == "PHOTO" else a for a in arguments])
    assert code == 2 and words in " ".join(text.split())


def test_a_refused_run_has_not_ended_early(photos, tmp_path) -> None:
    refused = CliRunner().invoke(
        app, ["explain", str(photos[0]), "--target", "no", "--out", str(tmp_path / "out")]
    )
    assert isinstance(refused.exception, SkinxaiError) and refused.output == ""


def test_a_file_that_two_patterns_match_is_read_once(photos, tmp_path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(photos[0])
    folder = photos[0].parent
    code, text = run("predict", folder / "photo_0*.png", folder / "*.png", link)
    assert code == 0 and "11 files were given more than once" in text
    assert text.count("photo_00.png") == 1


def test_explain_writes_a_folder_for_each(photos, tmp_path) -> None:
    code, _ = run("explain", *photos[:2], "--target", "mel", "--out", tmp_path)
    assert code == 0
    for name in ("photo_00.gradcam", "photo_01.gradcam"):
        assert {p.name for p in (tmp_path / name).iterdir()} == {
            "overlay.png", "sheet.png", "gradcam.npy", "explanation.json",
        }  # fmt: skip


def test_the_opacity_of_overlays_is_uniform_where_asked(photos, tmp_path, classifier) -> None:
    own = classifier.explain(photos[0])
    for uniform in (False, True):
        expected, more = np.asarray(own.overlay(uniform=uniform)), ["--uniform"][: int(uniform)]
        out = tmp_path / str(uniform)
        assert run("explain", photos[0], "--out", out / "why", *more)[0] == 0
        assert run("predict", photos[0], "--explain", "gradcam", "--out", out, *more)[0] == 0
        for name in ("photo_00.gradcam.png", "why/photo_00.gradcam/overlay.png"):
            with Image.open(out / name) as written:
                difference = np.asarray(written).astype(int) - expected
            assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("methods", "batches"),
    [("gradcam", [4, 1]), ("rise", [1] * 5), ("gradcam,hirescam", [1] * 10)],
)
def test_explain_takes_few_images_at_once(photos, tmp_path, monkeypatch, methods, batches) -> None:
    """One at a time where a method shows its network passes, or several methods make maps."""
    stream, taken = Classifier.stream, []

    def spied(self, images, **options):
        taken.append((1 if isinstance(images, str) else len(images), options["progress"]))
        return stream(self, images, **options)

    monkeypatch.setattr(Classifier, "stream", spied)
    budget = ("--budget", 2) if methods == "rise" else ()
    option = "--compare" if "," in methods else "--method"
    code, _ = run("explain", *photos[:5], option, methods, *budget, "--out", tmp_path)
    method = methods.split(",")[0]
    assert code == 0 and len(list(tmp_path.glob(f"*.{method}/*.npy"))) == 5
    assert taken == [(count, None if count == 1 else False) for count in batches]


def test_explain_compares_methods_on_one_sheet(photos, tmp_path) -> None:
    code, said = run(
        "explain", photos[0], "--compare", "gradcam,layercam,gradcam", "--against", "nv", "--tta",
        "--target", "mel", "--out", tmp_path,
    )  # fmt: skip
    assert code == 0 and "photo_00.sheet.png" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "photo_00.gradcam", "photo_00.layercam", "photo_00.sheet.png",
    ]  # fmt: skip
    written = json.loads((tmp_path / "photo_00.layercam/explanation.json").read_text())
    assert written["against"] == "nv" and "tta" in written["options"]


class FailsOnDark(Explainer):
    uses_target = False

    def attribute(self, images, target, *, options):
        if images.mean() < 0:
            raise ExplainError("no map of a dark image.")
        return Attribution(maps={"map": torch.arange(4.0).reshape(1, 2, 2)})


def test_files_of_one_stem_belong_to_one_image(registered, tmp_path) -> None:
    """Also where one of the methods gives no map of the first image of that name."""
    registered("fails", FailsOnDark)
    images = [tmp_path / name / "lesion.png" for name in ("dark", "bright")]
    for path, grey in zip(images, (20, 235), strict=True):
        path.parent.mkdir()
        Image.new("RGB", (80, 60), (grey, grey, grey)).save(path)
    out = tmp_path / "out"
    code, said = run("explain", *images, "--compare", "gradcam,fails,eigencam", "--out", out)
    assert code == 1 and said.count("no map of a dark image") == 1
    sources = {path.parent.name: json.loads(path.read_text())["source"]
               for path in out.glob("*/explanation.json")}  # fmt: skip
    assert sources == {
        "lesion.gradcam": str(images[0]), "lesion.eigencam": str(images[0]),
        "lesion-2.gradcam": str(images[1]), "lesion-2.fails": str(images[1]),
        "lesion-2.eigencam": str(images[1]),
    }  # fmt: skip
    assert [path.name for path in out.glob("*.png")] == ["lesion-2.sheet.png"]


def test_standard_input_without_bytes() -> None:
    empty = CliRunner().invoke(app, ["predict", "-"], input=b"")
    assert empty.exit_code == 1 and "empty" in empty.stdout


def test_the_program_itself() -> None:
    failed = subprocess.run([*RUN, "predict", "nowhere/*"], capture_output=True, text=True)
    assert failed.returncode == 2 and failed.stderr.startswith("skinxai: pattern")
    assert "Traceback" not in failed.stderr
    code = "import sys; from skinxai.cli import app; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    for heavy in ("'torch'", "'timm'", "'pandas'", "'sklearn'", "'numpy'"):
        assert heavy not in loaded


def test_version_plugins_doctor() -> None:
    assert run("--version")[1].startswith("skinxai 0.")
    code, text = run("plugins")
    assert code == 0 and "gradcam" in text and "efficientnet_b0" in text
    listed = json.loads(run("plugins", "--json")[1])
    assert {"explainer", "backbone", "loss", "dataset"} == {e["kind"] for e in listed["entries"]}
    # in a process that has imported nothing else
    text = subprocess.run([*RUN, "doctor"], capture_output=True, text=True, check=True).stdout
    for word in ("torch", "device", "threads", "cache", "every file verified"):
        assert word in text


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, skinxai, skinxai.backbones, skinxai.explainers, skinxai.losses; "
    code += "import skinxai.data; skinxai.explainers.entries(); print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    for heavy in ("'torch'", "'timm'", "'pandas'", "'sklearn'", "'albumentations'"):
        assert heavy not in loaded


def test_standard_input_is_predicted_and_explained_without_training_packages(
    photos, tmp_path
) -> None:
    code = (
        "import sys; from skinxai.cli import main\ntry: main()\nfinally: print(sorted(sys.modules))"
    )
    words = ["predict", "-", "--explain", "gradcam", "--out", tmp_path / "out"]
    result = subprocess.run(
        [sys.executable, "-c", code, *words], input=photos[0].read_bytes(), capture_output=True
    )
    shown, loaded = result.stdout.decode(), result.stdout.decode().splitlines()[-1]
    assert result.returncode == 0 and shown.startswith("stdin  ")
    assert (tmp_path / "out/stdin.gradcam.png").exists() and "'torch'" in loaded
    for heavy in ("'albumentations'", "'pandas'", "'sklearn'"):
        assert heavy not in loaded


def test_a_graph_explains_on_the_command_line_without_torch(photos, tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    code = (
        "import sys; from skinxai.cli import main\n"
        "try: main()\nfinally: print('torch' in sys.modules)"
    )
    words = ["explain", photos[0], "--backend", "onnx", "--out", tmp_path / "out"]
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout.endswith("\nFalse\n"), result.stderr
    assert (tmp_path / "out/photo_00.gradcam/explanation.json").exists()
