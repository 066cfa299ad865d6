"""Images are kept for a time, whatever the clock does; everything else stays."""

from pathlib import Path

import pytest
from review_cases import Clock, case

from skinxai.errors import StoreError


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(opened, clock: Clock, tmp_path: Path):
    return opened(images=tmp_path / "images", keep_days=30, clock=clock, ticks=clock.ticks)


def files(tmp_path: Path) -> list[bytes]:
    return sorted(p.read_bytes() for p in (tmp_path / "images").rglob("*") if len(p.name) == 64)


def test_an_image_goes_and_its_case_stays(store, clock: Clock, tmp_path: Path) -> None:
    store.record(case("first", image=b"1"))
    store.label("first", "mel", "ann")
    clock.passes(10)
    store.record(case("second", image=b"2"))
    clock.passes(19.99)
    assert store.expire() == 0 and files(tmp_path) == [b"1", b"2"]
    clock.passes(0.02)
    assert store.expire() == 1 and files(tmp_path) == [b"2"]
    found = store.case("first")
    assert found.agreed == "mel" and not found.image_kept and store.image("first") is None
    assert store.image("second") == b"2"
    assert store.expire(keep_days=5) == 1 and files(tmp_path) == []


def test_an_image_that_comes_again_is_kept_from_then_on(store, clock, tmp_path: Path) -> None:
    store.record(case("one", image=b"1"))
    clock.passes(20)
    store.record(case("two", image=b"1"))
    clock.passes(20)
    assert store.expire() == 0 and store.image("one") == store.image("two") == b"1"
    clock.passes(11)
    assert store.expire() == 1 and store.image("one") is store.image("two") is None


def test_it_is_looked_for_at_opening_and_while_cases_come(
    store, opened, clock: Clock, tmp_path: Path
) -> None:
    store.record(case("one", image=b"1"))
    clock.passes(31)
    store.record(case("two", image=b"2"))
    assert files(tmp_path) == [b"2"]
    clock.passes(31)
    opened(images=tmp_path / "images", keep_days=30, clock=clock, ticks=clock.ticks)
    assert files(tmp_path) == []


def test_a_clock_that_goes_back_and_is_put_right_deletes_nothing_early(
    store, clock: Clock, tmp_path: Path
) -> None:
    clock.is_set(-400)
    store.record(case("c", image=b"1"))  # a year too early, by the system's clock
    clock.passes(1)
    assert store.expire() == 0
    clock.is_set(400)
    assert store.expire() == 0 and files(tmp_path) == [b"1"]
    clock.passes(28.9)
    assert store.expire() == 0
    clock.passes(0.2)
    assert store.expire() == 1


def test_a_clock_that_was_ahead_keeps_nothing_longer(store, clock: Clock, tmp_path: Path) -> None:
    clock.is_set(400)
    store.record(case("c", image=b"1"))
    clock.is_set(-400)
    clock.passes(29.9)
    assert store.expire() == 0
    clock.passes(0.2)
    assert store.expire() == 1 and files(tmp_path) == []


def test_the_next_process_knows_the_time_that_the_last_one_reached(
    store, opened, clock: Clock, tmp_path: Path
) -> None:
    clock.is_set(400)
    store.record(case("c", image=b"1"))
    store.close()
    clock.is_set(-400)
    clock.seconds = 5.0  # another machine's steady clock
    other = opened(images=tmp_path / "images", keep_days=30, clock=clock, ticks=clock.ticks)
    clock.passes(29.9)
    assert other.expire() == 0
    clock.passes(0.2)
    assert other.expire() == 1


def test_what_an_interrupted_recording_left_goes_after_an_hour(
    store, clock: Clock, tmp_path: Path, monkeypatch
) -> None:
    from skinxai.review import recorded_cases as module

    monkeypatch.setattr(module, "_row_of", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.record(case("c", image=b"1"))
    assert files(tmp_path) == [b"1"]
    clock.passes(0.5 / 24)
    assert store.expire() == 0
    clock.passes(0.6 / 24)
    assert store.expire() == 1 and files(tmp_path) == []


def test_a_damaged_image_is_not_given_out(store, tmp_path: Path) -> None:
    store.record(case("c", image=b"1"))
    (path,) = (p for p in (tmp_path / "images").rglob("*") if len(p.name) == 64)
    path.write_bytes(b"2")
    with pytest.raises(StoreError, match="is damaged: its sha256 is not its name"):
        store.image("c")
