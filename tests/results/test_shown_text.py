"""Foreign text: labels, names and licences that hide or forge are refused, the rest is escaped."""

import csv
import io
import json
import os
import unicodedata
import warnings
from pathlib import Path

import pytest
from foreign_text import FAKE, HIDDEN, LONG, MARKUP, wrong_terminal
from planted_data import of_prepared, of_prepared_cells
from planted_text import shows
from small_runs import registered
from text_workshop import Workshop
from typer.testing import CliRunner

from skinxai import Entry
from skinxai.cli import app
from skinxai.configs import EnsembleConfig, MemberConfig, ModelConfig, PreprocessConfig
from skinxai.data import Record, Records, load_csv, load_folder, load_prepared, prepare
from skinxai.errors import (
    DatasetLabelError,
    DatasetSchemaError,
    IntegrityError,
    ModelConfigError,
    PluginError,
    SkinxaiError,
    SkinxaiWarning,
)
from skinxai.images.sources import describe
from skinxai.labels import LabelSet
from skinxai.plain_text import broken_rule, markdown, one_line, printable

LABELS = LabelSet(("red", "green"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with registered():
        yield Workshop(tmp_path_factory.mktemp("shop") / "shop")


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_characters_are_refused_in_labels_and_names_and_escaped_elsewhere(name) -> None:
    text = f"mel{HIDDEN[name]}"
    assert "printable text on one line" in broken_rule("a label", text, 100)
    assert not wrong_terminal(printable(text)) and not wrong_terminal(one_line(text))
    assert not wrong_terminal(describe(text)) and not wrong_terminal(markdown(text))
    refused = [
        (ModelConfigError, lambda: LabelSet((text, "nv"))),
        (ModelConfigError, lambda: LabelSet(("mel", "nv"), {"mel": text})),
        (ModelConfigError, lambda: ModelConfig(text, "small", LABELS, PreprocessConfig(32))),
        (ModelConfigError, lambda: ModelConfig("m", "small", LABELS, PreprocessConfig(32),
                                               licence=text)),
        (ModelConfigError, lambda: ModelConfig("m", "small", LABELS, PreprocessConfig(32),
                                               training_data={"name": text})),
        (ModelConfigError, lambda: ModelConfig("m", "small", LABELS, PreprocessConfig(32),
                                               training_data={text: "x"})),
        (ModelConfigError, lambda: EnsembleConfig(
            text, LABELS, (MemberConfig("members/a", "0" * 64, 1),))),
        (DatasetSchemaError, lambda: Records((), LABELS, text)),
        (DatasetSchemaError, lambda: Records((), LABELS, licence=text)),
        (DatasetSchemaError, lambda: Records((), LABELS, attribution=text)),
        (DatasetSchemaError, lambda: Records((Record(text, Path("x"), "red"),), LABELS)),
        (DatasetSchemaError, lambda: Records((Record("i", Path("x"), "red", text),), LABELS)),
        (DatasetSchemaError, lambda: Records((Record("i", Path("x"), "red", "l", text),), LABELS)),
        (PluginError, lambda: Entry("x", "a:b", text)),
        (PluginError, lambda: Entry("x", "a:b", title=text)),
    ]  # fmt: skip
    for kind, call in refused:
        with pytest.raises(kind) as caught:
            call()
        assert not wrong_terminal(str(caught.value))
        assert "printable text on one line" in str(caught.value)
    assert not wrong_terminal(Records((), LABELS, notes=(text,)).notes[0])


MARK = "a combining mark after 10 others"


@pytest.mark.parametrize(
    ("text", "rest", "first"),
    [
        ("e" + "\u0301" * 99, "e" + "\u0301" * 10 + r"\u0301" * 89, rf"\u0301, {MARK}"),
        ("e" + "\u20dd" * 11 + "x", "e" + "\u20dd" * 10 + r"\u20ddx", rf"\u20dd, {MARK}"),
        ("e" + "\u0301\u0488" * 6, "e" + "\u0301\u0488" * 5 + r"\u0301\u0488", rf"\u0301, {MARK}"),
        ("\u064b" * 6 + "\u200d" + "\u064b" * 4, "\u064b" * 6 + "\u200d" + "\u064b" * 3 + r"\u064b",
         rf"\u064b, {MARK}"),
        ("病" + "\ufe00" * 3, "病\ufe00" + r"\ufe00" * 2, r"\ufe00, a character that is not seen"),
        ("病\u200d\u200d変", r"病\u200d\u200d変", r"\u200d, a format character"),
        ("می\u200c\u200dخ", r"می\u200c\u200dخ", r"\u200c, a format character"),
    ],
)  # fmt: skip
def test_marks_selectors_and_joiners_do_not_go_on_without_end(text, rest, first) -> None:
    assert printable(text) == rest and printable(rest) == rest
    assert broken_rule("a label", text, 100).endswith(f"which holds {first}.")
    with pytest.raises(ModelConfigError, match="printable text on one line"):
        LabelSet((text, "nv"))


@pytest.mark.parametrize(
    "text",
    [
        "naïve 🙂",
        "e" + "\u0301" * 10 + "e" + "\u0301" * 10,
        "ཧྐྵྨླྺྼྻྂ",
        "בְּרֵאשִׁ֖ית",
        "กี่",
        "か\u3099",
        "病変",
        "می\u200cخواهم",
        "क्\u200dष",
        "👩\u200d⚕️",
        "ü" * 100,
        "a b",
        "1️⃣",
        *(f"mel{each}" for each in MARKUP.values()),
    ],
)
def test_what_people_write_is_taken_as_it_is(text) -> None:
    assert broken_rule("a label", text, 100) == "" and printable(text) == text
    assert LabelSet((text, "nv")).codes == (text, "nv")


@pytest.mark.parametrize(
    ("call", "longest"),
    [
        (lambda text: LabelSet((text, "nv")), 100),
        (lambda text: LabelSet(("mel", "nv"), {"mel": text}), 200),
        (lambda text: ModelConfig(text, "small", LABELS, PreprocessConfig(32)), 200),
        (lambda text: ModelConfig("m", "small", LABELS, PreprocessConfig(32), licence=text), 1000),
        (lambda text: Records((), LABELS, text), 200),
        (lambda text: Records((), LABELS, licence=text), 1000),
    ],
)
def test_lengths_are_bounded(call, longest) -> None:
    call("x" * longest)
    with pytest.raises(SkinxaiError) as caught:
        call("x" * (longest + 1))
    assert f"of at most {longest} characters" in str(caught.value)
    assert str(caught.value).endswith(f"which has {longest + 1} characters.")


def test_a_message_is_one_line_of_bounded_length_with_its_remedy() -> None:
    error = SkinxaiError(f"a\r\n  b\x1b[2K {'x' * 100_000}", python="pass y=1", command="give --y")
    assert str(error).startswith("a b\\x1b[2K xx") and str(error).endswith("xx; pass y=1.")
    assert error.on_command_line.endswith("xx; give --y.")
    assert len(str(error)) == 20_000
    assert str(error.prefixed("\u202e")).startswith("\\u202e: a b")
    with pytest.warns(SkinxaiWarning) as caught:
        warnings.warn("a\nb\x9b2J", SkinxaiWarning, 1)
    assert str(caught[0].message) == "a b\\x9b2J"


def test_a_models_config_is_refused_with_file_field_rule_and_value(shop) -> None:
    def change(config: dict) -> None:
        config["licence"] = f"MIT\x1b[2K\r{FAKE}"

    model = shop.forged(change)
    with pytest.raises(ModelConfigError) as caught:
        from skinxai import Classifier

        Classifier.from_pretrained(model)
    assert str(caught.value) == (
        f"config.json in {str(model)!r}: licence must be printable text on one line, of at most "
        f"1000 characters, got 'MIT\\x1b[2K\\r{FAKE}', which holds \\x1b, a control character."
    )


def test_a_tables_label_and_ids_are_refused_with_their_lines(shop, tmp_path) -> None:
    for column, kind, what in (
        (1, DatasetLabelError, "a label"), (2, DatasetSchemaError, "lesion_id"),
        (3, DatasetSchemaError, "patient_id"),
    ):  # fmt: skip
        rows = [row.split(",") for row in shop.rows]
        rows[2][column] += "\u202ex"
        path = tmp_path / "t.csv"
        path.write_text("\n".join(map(",".join, rows)), "utf-8")
        with pytest.raises(kind) as caught:
            load_csv(path, shop.pictures)
        assert f"line 3: {what} must be printable text on one line" in str(caught.value)
        assert f"got '{rows[2][column][:-2]}\\u202ex', which holds \\u202e" in str(caught.value)


def test_a_class_folder_is_refused_by_name_and_an_image_file_is_escaped(shop, tmp_path) -> None:
    for code in ("red", "green"):
        (tmp_path / "a" / code).mkdir(parents=True)
        data = (shop.pictures / f"{code}0.png").read_bytes()
        (tmp_path / "a" / code / f"x\x1b[2K\r{FAKE}.png").write_bytes(data)
    records = load_folder(tmp_path / "a")
    assert [item.image_id for item in records] == [
        f"{code}/x\\x1b[2K\\r{FAKE}.png" for code in ("green", "red")
    ]
    (tmp_path / "a" / "red").rename(tmp_path / "a" / "re\u200bd")
    with pytest.raises(DatasetLabelError) as caught:
        load_folder(tmp_path / "a")
    assert str(caught.value) == (
        f"a folder's name in {str(tmp_path / 'a')!r} must be printable text on one line, of at "
        f"most 100 characters, got 're\\u200bd', which holds \\u200b, a format character. It is a "
        f"label; rename the folder."
    )


@pytest.mark.parametrize("name", [*HIDDEN, *MARKUP])
def test_attributes_are_escaped_where_they_enter(name) -> None:
    text = (HIDDEN | MARKUP)[name] + "x"
    item = Record("i", Path("x"), "red", attributes={f"site{text}": f"back{text}", "age": 5})
    assert dict(item.attributes) == {f"site{printable(text)}": f"back{printable(text)}", "age": 5}


def test_ends_of_lines_and_tabs_around_attributes_are_left_out() -> None:
    item = Record("i", Path("x"), "red", attributes={"part\n": "\ttrain\r\n", " a ": " b "})
    assert dict(item.attributes) == {"part": "train", " a ": " b "}


def test_a_prepared_folders_own_cells_are_escaped(shop, tmp_path) -> None:
    for column, cell in (("attributes", "\\u202e"), ("image_id", None), ("lesion_id", None)):
        folder = next(of_prepared_cells(column)(shop, "\u202e")).words[1]
        if cell is None:
            with pytest.raises(IntegrityError, match=r"text on one line, .* which holds \\u202e, "):
                load_prepared(folder)
            continue
        found = load_prepared(folder)
        assert found[0].attributes["site"] == "back\\u202e" and f"by{cell}" in found[0].attributes
        again = prepare(found, tmp_path / "again")
        assert list(again) == list(found) == list(prepare(found, tmp_path / "again"))


ENTRIES = [
    ("model: label", ["csi", "surrogate", "picture", "pipe"]),
    ("model: name", ["return", "code", "entity"]),
    ("model: licence", ["newline", "handler"]),
    ("model: key", ["link"]), ("model: manifest", ["override"]), ("model: tensor", ["csi"]),
    ("model: attribution", ["clipboard", "long"]),
    ("table: label", ["csi", "newline", "long", "formula", "script"]),
    ("table: image", ["surrogate", "long"]), ("table: lesion", ["filler"]),
    ("table: column", ["newline", "script"]), ("table: attribute", ["csi"]),
    ("prepared: name", ["csi", "quotes"]), ("prepared: note", ["csi", "newline"]),
    ("prepared: licence", ["surrogate"]), ("prepared: attributes", ["csi", "formula"]),
    ("splits", ["csi"]),
    ("image file", ["newline", "byte", "formula"]),
    ("folders", ["byte", "newline"]),
    ("argument", ["newline", "long"]),
    ("run file", ["nul", "long"]),
    ("trained on", ["pipe", "picture"]),
]  # fmt: skip
"""A share of what benchmarks/markup_injection.py plants."""


@pytest.mark.parametrize(
    ("entry", "name"), [(entry, name) for entry, names in ENTRIES for name in names]
)
def test_nothing_hidden_forged_or_marked_up_is_shown(shop, entry, name, monkeypatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        looked = 0
        for call, found in shows(shop, entry, (HIDDEN | MARKUP | LONG)[name]):
            assert not found.wrong, (call.words[0], found.wrong)
            looked += len(found.outputs)
    assert looked


def test_bytes_that_are_no_utf8_survive_every_output(shop, tmp_path) -> None:
    picture = tmp_path / os.fsdecode(b"n\xe4vus.png")
    picture.write_bytes(shop.picture.read_bytes())
    out = tmp_path / "out"
    words = ["predict", str(picture), "--model", str(shop.model), "--explain", "gradcam", "--out",
             str(out)]  # fmt: skip
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0 and "n\\udce4vus.png" in found.stdout
    (row,) = json.loads((out / "results.json").read_text("ascii"))
    assert row["source"] == str(tmp_path / "n\\udce4vus.png")
    (cells,) = csv.DictReader(io.StringIO((out / "results.csv").read_text("utf-8")))
    assert cells["source"] == row["source"] and (out / row["overlay"]).is_file()


def test_every_kind_of_hidden_character_is_known() -> None:
    kinds = {unicodedata.category(char) for text in HIDDEN.values() for char in text}
    assert {"Cc", "Cf", "Cs", "Co", "Cn", "Zl"} <= kinds


def test_a_prepared_folders_name_is_refused(shop) -> None:
    calls = of_prepared("name")(shop, "\x1b[2K")
    folder = next(calls).words[1]
    with pytest.raises(IntegrityError, match="name of the data set must be printable text"):
        load_prepared(folder)
