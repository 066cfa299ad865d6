"""A shadow sees what the live model answered, counts who agrees, and stays out of the way."""

import io
import threading

import pytest
from PIL import Image
from waiting import LIMIT, wait_for

from skinxai.serving import shadowing
from skinxai.serving.shadowing import Shadow
from skinxai.testing.networks import COLOURS, colour_classifier


def upload(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (80, 48), COLOURS[colour]).save(file, "png")
    return file.getvalue()


RED, BLUE = upload("red"), upload("blue")


@pytest.fixture
def told() -> list[bool]:
    return []


@pytest.fixture
def gate(request):
    """Holds the shadow in its first forward pass until it is set."""
    made = threading.Event()
    request.addfinalizer(made.set)
    return made


def held(gate: threading.Event):
    """A classifier that predicts once the gate is open, and an event of its first question."""
    classifier, began = colour_classifier(), threading.Event()
    predict = classifier.predict

    def slowly(*args, **options):
        began.set()
        gate.wait()
        return predict(*args, **options)

    classifier.predict = slowly
    return classifier, began


def test_agreement_is_counted(told) -> None:
    left: list[int] = []
    shadow = Shadow(colour_classifier(), told.append, leave=lambda: left.append(1))
    for live in ("red", "red", "green"):
        assert shadow.see(RED, live)
    assert shadow.see(BLUE, "blue", tta=True)
    wait_for(lambda: len(told) == 4)
    shadow.close()
    assert told == [True, True, False, True] and not left


def test_what_the_shadow_cannot_answer_is_neither(told) -> None:
    left: list[int] = []
    shadow = Shadow(colour_classifier(), told.append, leave=lambda: left.append(1))
    shadow.see(b"no image", "red")
    shadow.see(RED, "red", option_of_the_live_model_alone=True)
    shadow.see(RED, "red")
    wait_for(lambda: told)
    shadow.close()
    assert told == [True] and len(left) == 2


@pytest.mark.parametrize(("images", "size"), [(3, 10**9), (10**9, 3 * len(RED) + 1)])
def test_what_waits_is_bounded_and_the_caller_never_waits(
    told, gate, monkeypatch, images, size
) -> None:
    monkeypatch.setattr(shadowing, "IMAGES", images)
    monkeypatch.setattr(shadowing, "BYTES", size)
    classifier, began = held(gate)
    left: list[int] = []
    shadow = Shadow(classifier, told.append, leave=lambda: left.append(1))
    assert shadow.see(RED, "red")
    began.wait()  # it hangs now
    assert [shadow.see(RED, "red") for _ in range(5)] == [True, True, True, False, False]
    assert len(left) == 2
    gate.set()
    wait_for(lambda: len(told) == 4)
    assert shadow.see(RED, "red")
    shadow.close()


def test_it_waits_while_a_live_image_waits(told) -> None:
    asks = threading.Semaphore(0)
    lively = threading.Event()
    lively.set()

    def busy() -> bool:
        asks.release()
        return lively.is_set()

    shadow = Shadow(colour_classifier(), told.append, busy)
    shadow.see(RED, "red")
    for _ in range(5):
        assert asks.acquire(timeout=LIMIT)
    assert told == []
    lively.clear()
    wait_for(lambda: told)
    shadow.close()


def test_it_ends_and_forgets_what_waits(told, gate) -> None:
    classifier, began = held(gate)
    left: list[int] = []
    shadow = Shadow(classifier, told.append, leave=lambda: left.append(1))
    shadow.see(RED, "red")
    began.wait()
    seen = [shadow.see(RED, "red") for _ in range(3)]
    closing = threading.Thread(target=shadow.close)
    closing.start()
    wait_for(lambda: not seen.append(shadow.see(RED, "red")) and not seen[-1])
    gate.set()
    closing.join()
    assert told == [True] and len(left) == len(seen)  # each is counted, and once


def test_its_thread_gives_way_to_all_others(told) -> None:
    import os
    import sys

    if not sys.platform.startswith("linux"):
        pytest.skip("threads have a priority of their own on Linux alone.")
    shadow = Shadow(colour_classifier(), told.append)
    shadow.see(RED, "red")
    wait_for(lambda: told)
    assert os.getpriority(os.PRIO_PROCESS, shadow._thread.native_id) == 19
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < 19
    shadow.close()
