"""``skinxai feedback``: what is printed, and how it ends."""

import json
from pathlib import Path

import pytest
from review_cases import MODEL, case
from typer.testing import CliRunner

from skinxai.cli import app
from skinxai.errors import OptionError, StoreError, UnknownCaseError
from skinxai.review import Deletion, ReviewStore


@pytest.fixture
def review(tmp_path: Path) -> list[str]:
    """A store with two cases that wait; the options that name it."""
    url = f"sqlite:///{tmp_path}/review.db"
    with ReviewStore.open(url, tmp_path / "kept") as store:
        store.record(case("a", mel=0.5, subject="S", image=b"1"))
        store.record(case("b", "refer", mel=0.75))
    return ["--review", url]


def ask(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["feedback", *words])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.output


def test_list_label_and_agreement(review) -> None:
    code, text = ask("list", *review)
    assert code == 0 and text.splitlines()[0].split()[:3] == ["a", "abstain", "0.693"]
    assert "2 of 2 cases that wait" in text
    assert ask("label", "a", "mel", "--reviewer", "ann", *review) == (0, "a  ann: mel\n")
    _, text = ask("label", "a", "nv", "--reviewer", "bob", "--comment", "why", *review)
    assert text == "a  ann: mel, bob: nv  disputed\n"
    found = json.loads(ask("list", "--json", "--opinions", "3", "--reviewer", "ann", *review)[1])
    assert [row["case"] for row in found["cases"]] == ["b"] and found["waiting"] == 1
    assert found["cases"][0]["model"] == MODEL
    _, text = ask("agreement", *review)
    assert "1 case labelled, 1 disputed" in text and "0 of 1 agree, Cohen's kappa 0.000" in text
    assert "kappa undefined" in text
    assert json.loads(ask("agreement", "--json", *review)[1])["pairs"][0]["cases"] == 1
    with pytest.raises(UnknownCaseError):
        ask("label", "c", "nv", "--reviewer", "bob", *review)


def test_the_store_may_stand_in_the_environment(review, monkeypatch) -> None:
    monkeypatch.setenv("SKINXAI_REVIEW", review[1])
    assert ask("list")[0] == 0
    monkeypatch.delenv("SKINXAI_REVIEW")
    assert ask("list")[0] == 2


def test_expire_and_delete(review, tmp_path: Path) -> None:
    images = ["--keep-images", str(tmp_path / "kept")]
    assert ask("expire", *review, *images, "--keep-days", "1") == (0, "deleted  0 images\n")
    with pytest.raises(StoreError, match="opened without their folder") as caught:
        ask("delete-subject", "S", *review)
    assert "give it as --keep-images" in caught.value.on_command_line
    assert ask("delete-subject", "S", *review, *images) == (
        0, "deleted  1 case, 0 labels, 1 image\n"
    )  # fmt: skip
    assert ask("delete-subject", "S", *review, *images)[0] == 1


def test_bytes_that_may_still_be_in_the_file_are_no_success(review, monkeypatch) -> None:
    monkeypatch.setattr(
        ReviewStore, "delete_subject", lambda *_: Deletion(1, 2, 0, overwritten=False)
    )
    code, text = ask("delete-subject", "S", *review)
    assert code == 1 and text.startswith("deleted  1 case, 2 labels, 0 images\n")
    assert "bytes may still be in its file; repeat the command" in text


def test_export_says_what_is_left_out(review, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--splits needs --data"):
        ask("export", str(tmp_path / "out"), *review, "--splits", "s.csv")


@pytest.mark.parametrize("words", ["list", "agreement", "label a mel --reviewer ann"])
def test_a_store_that_is_not_there_is_not_taken_for_an_empty_one(tmp_path: Path, words) -> None:
    with pytest.raises(StoreError, match="there is no review store at") as error:
        ask(*words.split(), "--review", f"sqlite:///{tmp_path}/reveiw.db")
    assert "'skinxai serve --review' makes one" in error.value.on_command_line
    assert list(tmp_path.iterdir()) == []
