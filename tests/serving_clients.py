"""Services within the process, and pictures for them."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
from PIL import Image
from starlette.testclient import TestClient
from waiting import wait_for

from skinxai.serving.app import create_app
from skinxai.serving.service_settings import ServiceSettings
from skinxai.testing import colour_classifier
from skinxai.testing.networks import COLOURS

NAME = "patient_0042_Mustermann.png"


def upload(colour: str, size: tuple[int, int] = (80, 48)) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(file, "png")
    return file.getvalue()


RED, GREEN = upload("red"), upload("green")


def files(*images: bytes) -> list:
    """Parts of a form."""
    return [("images", (NAME, image, "image/png")) for image in images]


def value(client: TestClient, series: str) -> float:
    """Of a metric, as its page writes it."""
    text = client.get("/metrics").text
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert found is not None, (series, text)
    return float(found[1])


@contextmanager
def services() -> Iterator[Callable[..., TestClient]]:
    """Makes clients of services, which end with the context."""
    with ExitStack() as stack:

        def make(classifiers=None, **settings) -> TestClient:
            if classifiers is None and "models" not in settings:
                classifiers = [colour_classifier()]
            app = create_app(ServiceSettings(**settings), classifiers=classifiers)
            client = TestClient(app, base_url="http://127.0.0.1")
            stack.enter_context(client)
            wait_for(lambda: app.service.ready)
            return client

        yield make


def png_of(pixels: np.ndarray) -> bytes:
    """A picture of pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()
