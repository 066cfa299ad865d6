"""Files and ZIP archives that visitors of the demo upload: names, order, limits."""

import csv
import io
import struct
import zipfile

import pytest
from test_demo_parts import PNG, zipped

from skinxai import Classifier
from skinxai.demo import uploads
from skinxai.demo.answering import Answers
from skinxai.demo.batch import Row, frame
from skinxai.demo.uploads import Images, Refused, Upload
from skinxai.plain_text import printable
from skinxai.results.folder import table


def test_images_of_files_and_zips_in_order() -> None:
    inner = zipped({"a/one.png": PNG, "a/": b"", "__MACOSX/one.png": b"x", "a/.DS_Store": b"x"})
    found = list(Images([Upload("x.png", PNG), Upload("many.zip", inner), Upload("y", b"z")]))
    assert [each.name for each in found] == ["x.png", "many.zip/a/one.png", "y"]
    assert found[1].data == PNG


@pytest.mark.parametrize("hidden", ["\u202e", "\x1b[2K", "\n", "\ud800", "\u200b", "\u0301" * 11])
def test_names_are_printable_whatever_comes_of_their_file(
    hidden: str, classifier: Classifier
) -> None:
    bad, escape = f"a{hidden}gnp.png", printable(hidden)
    sent = [Upload(bad, PNG), Upload(bad, b""), Upload(bad, b"PK\x03\x04")]
    if hidden != "\ud800":  # no zip has it
        sent.append(Upload("z.zip", zipped({bad: PNG, f"b{hidden}/../x.png": PNG})))
    found = list(Images(sent))
    names = [f"a{escape}gnp.png"] * 3 + [f"z.zip/a{escape}gnp.png", f"z.zip/b{escape}/../x.png"]
    assert [each.name for each in found] == names[: len(found)]
    answers = Answers(classifier)
    (answer, refused) = answers.predict([found[0], Upload(bad, b"text")])
    (row,) = frame(classifier.config.labels, [Row("data:", answer)]).to_dict("records")
    assert row["file"] == answer.source == refused.name == names[0]
    (cells,) = csv.DictReader(io.StringIO(table([answer.to_dict()])))
    assert cells["source"] == names[0]


def test_a_name_without_end_is_shown_by_its_ends() -> None:
    long = Upload("a" * 50_000 + ".png", PNG).name
    (entry,) = Images([Upload("z" * 190 + ".zip", zipped({"b" * 1000 + ".png": PNG}))])
    for name in (long, entry.name):
        assert len(name) == uploads.MAX_NAME and "…" in name and name.endswith(".png")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/x.png", "a/../../x.png", "C:\\x.png",
                                  "..\\x.png", "."])  # fmt: skip
def test_no_name_leads_out_of_a_zip(name: str) -> None:
    bad, good = Images([Upload("z.zip", zipped({name: PNG, "good.png": PNG}))])
    assert isinstance(bad, Refused) and "leads out" in bad.reason
    assert isinstance(good, Upload)


def test_zip_bombs_are_refused_before_they_unpack(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = bytes(uploads.MAX_FILE + 1)
    large = zipped({"zeros.png": zeros, "one.png": PNG}, compression=zipfile.ZIP_DEFLATED)
    assert len(large) < 100_000
    bad, good = Images([Upload("z.zip", large)])
    assert isinstance(bad, Refused) and "25 MiB" in bad.reason and isinstance(good, Upload)
    monkeypatch.setattr(uploads, "MAX_UNPACKED", 1000)
    many = zipped({f"{k}.png": bytes(400) for k in range(5)}, compression=zipfile.ZIP_DEFLATED)
    found = list(Images([Upload("z.zip", many)]))
    assert [isinstance(each, Upload) for each in found] == [True, True, False, False, False]


def test_the_zips_of_a_batch_share_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_UNPACKED", 1000)
    made = zipped({f"{k}.png": bytes(400) for k in range(2)}, compression=zipfile.ZIP_DEFLATED)
    files = [Upload("plain.png", bytes(100)), Upload("a.zip", made), Upload("b.zip", made)]
    assert [isinstance(each, Upload) for each in Images(files)] == [True] * 3 + [False] * 2
    assert Images(files).count == 5


def test_a_zip_that_lies_about_its_sizes_gives_no_more_than_it_says() -> None:
    data = bytearray(zipped({"a.png": bytes(100_000)}, compression=zipfile.ZIP_DEFLATED))
    for place in (data.find(b"PK\x03\x04") + 22, data.find(b"PK\x01\x02") + 24):
        struct.pack_into("<I", data, place, 10)  # the size, unpacked
    (found,) = Images([Upload("z.zip", bytes(data))])
    assert isinstance(found, Refused) and "must be whole" in found.reason


def test_a_zip_with_a_password_or_damage_is_a_sentence() -> None:
    locked = bytearray(zipped({"a.png": PNG}))
    for head, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.find(head) + offset] |= 1
    (found,) = Images([Upload("z.zip", bytes(locked))])
    assert "password" in found.reason
    whole = zipped({"a.png": PNG})
    for cut in range(4, len(whole), 7):
        for found in Images([Upload("z.zip", whole[:cut])]):
            assert isinstance(found, Refused)


def test_too_many_and_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_FILES", 3)
    found = list(Images([Upload(str(k), PNG) for k in range(10)]))
    assert len(found) == 4 and isinstance(found[-1], Refused) and "at most 3" in found[-1].reason
    monkeypatch.setattr(uploads, "MAX_FILE", len(PNG) - 1)
    (found,) = Images([Upload("x", PNG)])
    assert isinstance(found, Refused)
