"""Images are kept for a time, whatever the clock does; everything else stays."""

from pathlib import Path

import pytest
from review_cases import Clock, case
from waiting import Meeting, WatchedLock

from skinxai.errors import StoreError
from skinxai.review.retention import StoreClock


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


def test_the_last_moment_counts(store, clock: Clock) -> None:
    store.record(case("c", image=b"1"))
    clock.passes(30)
    assert store.expire() == 1


def test_between_two_looks_an_hour_passes(store, clock: Clock, tmp_path: Path) -> None:
    store.record(case("one", image=b"1"))
    clock.passes(30 - 0.5 / 24)
    store.record(case("two", image=b"2"))  # looks
    clock.passes(0.75 / 24)
    store.record(case("three", image=b"3"))
    assert files(tmp_path) == [b"1", b"2", b"3"]
    clock.passes(0.5 / 24)
    store.record(case("four", image=b"4"))
    assert files(tmp_path) == [b"2", b"3", b"4"]


def test_the_time_that_was_reached_is_kept_without_a_newer_image(
    store, opened, clock: Clock, tmp_path: Path
) -> None:
    store.record(case("c", image=b"1"))
    clock.passes(29)
    assert store.expire() == 0
    store.close()
    clock.is_set(-400)
    clock.seconds = 5.0
    other = opened(images=tmp_path / "images", keep_days=30, clock=clock, ticks=clock.ticks)
    clock.passes(1.1)
    assert other.expire() == 1


def test_a_process_whose_clock_is_behind_makes_no_image_older(
    store, opened, clock: Clock, tmp_path: Path
) -> None:
    behind = Clock()
    other = opened(images=tmp_path / "images", clock=behind, ticks=behind.ticks)
    clock.is_set(400)
    store.record(case("a", image=b"1"))
    other.record(case("b", image=b"1"))
    assert store.expire() == 0 and files(tmp_path) == [b"1"]


def test_threads_tell_the_time_one_at_a_time(clock: Clock) -> None:
    told = StoreClock(clock, clock.ticks)
    told._lock = lock = WatchedLock(told._lock)
    meeting = Meeting(lock)
    told._ticks = lambda: meeting.attend() or 0.0
    assert meeting.of(told.now) == 1


def test_a_file_that_is_gone_already_and_one_that_cannot_be_deleted(
    store, clock: Clock, tmp_path: Path
) -> None:
    store.record(case("gone", image=b"1"))
    store.record(case("kept", image=b"2"))
    paths = {p.read_bytes(): p for p in (tmp_path / "images").rglob("*") if len(p.name) == 64}
    paths[b"1"].unlink()
    paths[b"2"].unlink()
    paths[b"2"].mkdir()
    with pytest.raises(StoreError, match=r"image .* cannot be read"):
        store.image("kept")
    clock.passes(31)
    for _ in range(2):  # it is tried again: its row goes after its file
        with pytest.raises(StoreError, match=r"image .* cannot be deleted"):
            store.expire()
    paths[b"2"].rmdir()
    paths[b"2"].write_bytes(b"2")
    assert store.expire() == 1
    assert store.image("gone") is store.image("kept") is None


def test_one_file_that_cannot_be_deleted_keeps_no_other(store, clock: Clock, tmp_path) -> None:
    for name in ("one", "two", "three"):
        store.record(case(name, image=name.encode()))
    first, *_ = sorted(store.case(name).case.image_sha256 for name in ("one", "two", "three"))
    path = tmp_path / "images" / first[:2] / first
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    clock.passes(31)
    with pytest.raises(StoreError, match="cannot be deleted"):
        store.expire()
    assert not any(each.is_file() for each in path.parents[1].glob("??/*"))
    kept = {each.case.image_sha256 for each in store.cases() if each.image_kept}
    assert kept == {first}  # its case says so until it is gone
    (path / "in the way").rmdir()
    path.rmdir()
    assert store.expire() == 0 and not any(each.image_kept for each in store.cases())


def test_a_damaged_image_is_not_given_out(store, tmp_path: Path) -> None:
    store.record(case("c", image=b"1"))
    (path,) = (p for p in (tmp_path / "images").rglob("*") if len(p.name) == 64)
    path.write_bytes(b"2")
    with pytest.raises(StoreError, match="is damaged: its sha256 is not its name"):
        store.image("c")
