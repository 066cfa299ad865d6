"""Who computes next in the demo, and that each image is decoded once and within its limit."""

import asyncio
import threading
import weakref
from collections.abc import Callable

import pytest
from demo_server import LIMIT
from picture_files import encode, gradient

from skinxai import Classifier
from skinxai.demo import answering, starting, uploads
from skinxai.demo.answering import Answers
from skinxai.demo.uploads import Images, Refused, Upload
from skinxai.demo.waiting import Queue, others
from skinxai.errors import ImageTooLargeError
from skinxai.images.reading import SourceImage
from skinxai.results import Prediction
from skinxai.testing import colour_classifier


class Visitor(threading.Thread):
    """Waits for a turn, and ends it when it is told to."""

    def __init__(self, queue: Queue, name: str, log: list[str]) -> None:
        super().__init__(name=name, daemon=True)
        self.queue, self.log = queue, log
        self.told: list[int] = []
        self.waits, self.computes, self.end = (threading.Event() for _ in range(3))

    def hears(self, before: int) -> None:
        self.told.append(before)
        self.waits.set()

    def run(self) -> None:
        with self.queue.turn(self.hears):
            self.log.append(self.name)
            self.computes.set()
            assert self.end.wait(LIMIT)


def waiting(queue: Queue, log: list[str], *names: str) -> list[Visitor]:
    """Visitors who came in this order, and all wait."""
    found = []
    for name in names:
        found.append(Visitor(queue, name, log))
        found[-1].start()
        assert found[-1].waits.wait(LIMIT)
    return found


def test_first_come_first_served_and_each_knows_its_place() -> None:
    queue, log = Queue(places=1), []
    first = Visitor(queue, "first", log)
    first.start()
    assert first.computes.wait(LIMIT) and first.told == []
    others = waiting(queue, log, "a", "b", "c")
    assert [each.told[0] for each in others] == [1, 2, 3]
    for each in (first, *others):
        assert each.computes.wait(LIMIT)
        each.end.set()
        each.join(LIMIT)
    assert log == ["first", "a", "b", "c"]
    assert queue._running == 0 and queue._waiting == []


def test_who_leaves_the_queue_makes_way() -> None:
    class Left(BaseException):
        pass

    def leave(before: int) -> None:
        raise Left

    queue, log = Queue(places=1), []
    first = Visitor(queue, "first", log)
    first.start()
    assert first.computes.wait(LIMIT)
    with pytest.raises(Left), queue.turn(leave):
        raise AssertionError("it is not its turn")
    (last,) = waiting(queue, log, "last")
    assert last.told[0] == 1
    first.end.set()
    assert last.computes.wait(LIMIT)
    last.end.set()
    last.join(LIMIT)


def test_who_takes_long_lets_all_who_wait_go_first() -> None:
    queue, log = Queue(places=1, slice=0.0), []
    with queue.turn() as turn:
        turn.pass_on()  # nobody waits
        short = waiting(queue, log, "a", "b")
        for each in short:
            each.end.set()
        log.append("slow")
        turn.pass_on()
        log.append("slow again")
    assert log == ["slow", "a", "b", "slow again"]
    assert queue._running == 0


def test_within_its_slice_nobody_is_interrupted() -> None:
    queue, log = Queue(places=1, slice=LIMIT), []
    with queue.turn() as turn:
        (other,) = waiting(queue, log, "other")
        turn.pass_on()
        log.append("still")
    other.end.set()
    other.join(LIMIT)
    assert log == ["still", "other"]


def test_a_failure_gives_its_place_back() -> None:
    queue = Queue(places=1)
    with pytest.raises(ValueError), queue.turn():
        raise ValueError
    with queue.turn(), pytest.raises(ValueError):
        raise ValueError
    assert queue._running == 0


def test_there_are_two_places_at_least() -> None:
    assert Queue().places >= 2


def test_the_place_in_the_queue_is_a_sentence() -> None:
    assert others(1) == "1 other is before you."
    assert others(2) == "2 others are before you."


def test_a_slow_method_stands_aside_between_its_passes() -> None:
    queue, log = Queue(places=1, slice=0.0), []
    answers = Answers(colour_classifier(), queue=queue)
    came: list[Visitor] = []

    def tell(done: int, total: int | None) -> None:
        if not came:
            came.extend(waiting(queue, log, "quick"))
            came[0].end.set()
        else:
            log.append(f"{done} of {total}")

    answers.explain(Upload("x.png", encode(gradient(96, 128))), "occlusion", "red", tell)
    assert log[0] == "quick" and log[-1].endswith(" of 200") and len(log) > 3


def test_each_visitor_hears_of_the_others(classifier: Classifier) -> None:
    queue, log = Queue(places=1), []
    answers = Answers(classifier, queue=queue)
    image = Upload("x.png", encode(gradient(96, 128)))
    asked: list[Callable[[Callable[[int], object]], object]] = [
        lambda waits: answers.predict([image], waits),
        lambda waits: answers.explain(image, "gradcam", "nv", None, waits),
        lambda waits: answers.nearest(image, 2, waits),
    ]
    for ask in asked:
        first = Visitor(queue, "first", log)
        first.start()
        assert first.computes.wait(LIMIT)
        told: list[int] = []
        ask(lambda before, told=told, first=first: (told.append(before), first.end.set()))
        assert told and set(told) == {1}
        first.join(LIMIT)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    decoded: list[str] = []
    own = answering.read_image

    def read(image, **how):
        decoded.append(image.name)
        return own(image, **how)

    monkeypatch.setattr(answering, "read_image", read)
    return decoded


def test_an_image_is_decoded_once(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = counted(monkeypatch)
    answers = Answers(classifier)
    image = Upload("x.png", encode(gradient(96, 128)))
    answers.predict([image])
    answers.image(image)
    answers.thumbnail(image)
    answers.explain(image, "gradcam", None)
    answers.nearest(image, 2)
    assert decoded == ["x.png"]


def test_images_of_a_batch_are_decoded_once_with_their_thumbnails(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = counted(monkeypatch)
    answers = Answers(classifier)
    images = [Upload(f"{k}.png", encode(gradient(96, 100 + k))) for k in range(3)]
    bad = Upload("bad.png", b"just words")
    found = answers.predict([images[0], bad, *images[1:]])
    assert [isinstance(each, Refused) for each in found] == [False, True, False, False]
    assert all(answers.thumbnail(each).startswith("data:image/jpeg") for each in images)
    assert decoded == ["0.png", "bad.png", "1.png", "2.png"]
    assert [type(each) for each in answers.predict([bad, bad])] == [Refused] * 2
    assert len(decoded) == 4


def test_images_of_too_many_pixels_are_refused_with_what_a_visitor_can_do(
    classifier: Classifier,
) -> None:
    answers = Answers(classifier, max_pixels=96 * 128)
    right, large = encode(gradient(96, 128)), encode(gradient(97, 128))
    found = answers.predict([Upload("a.png", right), Upload("b.png", large)])
    assert found[1] == Refused(
        "b.png", "Image must have at most 12288 pixels, got 128×97; shrink it."
    )
    assert not isinstance(found[0], Refused)


def test_the_limit_of_pixels_is_an_option(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering.Classifier, "from_pretrained", lambda *a, **k: classifier)
    for value, expected in ((None, 25_000_000), ("1000", 1000)):
        monkeypatch.delenv(answering.PIXELS, raising=False)
        if value:
            monkeypatch.setenv(answering.PIXELS, value)
        answering.shared.cache_clear()
        assert answering.shared()._max_pixels == expected
    answering.shared.cache_clear()


def test_a_file_whose_content_was_put_out_says_so() -> None:
    assert list(Images([Upload("a.png", b"")])) == [Refused("a.png", uploads.EMPTY)]


def test_a_batch_stands_aside_between_its_images(classifier: Classifier) -> None:
    queue = Queue(places=1, slice=0.0)
    answers = Answers(classifier, queue=queue)
    images = [Upload(f"{side}.png", encode(gradient(side, side))) for side in (40, 44)]
    log: list[str] = []
    read, visitors = answers._read, []

    def seen(upload: Upload) -> SourceImage:
        log.append(upload.name)
        if not visitors:
            visitors.extend(waiting(queue, log, "other"))
            visitors[0].end.set()
        return read(upload)

    answers._read = seen
    answers.predict(images)
    assert log == ["40.png", "other", "44.png"]


def test_large_images_are_decoded_one_at_a_time_and_small_ones_beside_them(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "AT_ONCE", 50 * 50)
    answers = Answers(classifier)
    small, large = (Upload(f"{side}.png", encode(gradient(side, side))) for side in (40, 60))
    with answers._large:
        assert isinstance(answers.predict([small])[0], Prediction)
        thread = threading.Thread(target=answers.predict, args=([large],), daemon=True)
        inside, read = threading.Event(), answering.read_image

        def watched(*images: object, **options: int) -> SourceImage:
            try:
                return read(*images, **options)
            except ImageTooLargeError:
                inside.set()
                raise

        monkeypatch.setattr(answering, "read_image", watched)
        thread.start()
        assert inside.wait(LIMIT)
        assert large.key not in answers._kept
    thread.join(LIMIT)
    assert isinstance(answers.predict([large])[0], Prediction)


def test_an_image_of_a_batch_is_forgotten_before_the_next_is_read(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[SourceImage] = weakref.WeakSet()
    found, read = [], answering.read_image

    def watched(*images: object, **options: int) -> SourceImage:
        found.append(len(alive))
        image = read(*images, **options)
        alive.add(image)
        return image

    monkeypatch.setattr(answering, "read_image", watched)
    Answers(classifier).predict(
        [Upload(f"{side}.png", encode(gradient(side, side))) for side in (40, 44, 48)]
    )
    assert found == [0, 0, 0]


def test_memory_is_given_back_with_the_place(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, running = Queue(), []
    monkeypatch.setattr(answering, "give_back", lambda: running.append(queue._running))
    Answers(classifier, queue=queue).predict([Upload("a.png", encode(gradient(40, 40)))])
    assert running == [1, 0]  # after the image was read, and after the answer


def test_memory_of_files_whose_visitors_left_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = threading.Semaphore(0)
    monkeypatch.setattr(starting, "give_back", given.release)
    monkeypatch.setattr(starting, "EVERY", 0.0)

    async def some_time() -> bool:
        tidying = asyncio.create_task(starting._tidy())
        twice = await asyncio.to_thread(lambda: given.acquire() and given.acquire(timeout=LIMIT))
        tidying.cancel()
        return twice

    assert asyncio.run(some_time())
