"""`ServiceSettings`: all that can be chosen of the service."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skinxai.errors import OptionError
from skinxai.flags import check_flags
from skinxai.numeric import plain_fields, whole

MIB = 1024**2


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of `skinxai.serving.app.create_app` and of ``skinxai serve``.

    Args:
        models: of each model a folder or name, and ``=WEIGHT`` for its share of the requests;
            ``"bundled"`` is the bundled one.
        shadows: folders or names of models that are asked as well, and whose answers are counted
            but never sent.
        host: address of the interface to listen at.
        port: to listen at; 0: any free one.
        allow_hosts: names by which the service may be called, besides those of this machine.
        api_keys: file with the SHA-256 of each valid key, one a line; ``None``: no key is needed.
        backend: of the models, as in `Classifier.from_pretrained`.
        device: of the models, as there.
        max_batch: most images of one forward pass.
        max_wait: milliseconds that a batch waits for more images, although the model rests.
        queue: most images that wait or are computed; more are refused.
        deadline: seconds within which a request should be answered; an image that cannot be any
            more is not begun.
        max_body_mb: MiB of a request.
        max_images: of a request.
        max_pixels: of an image.
        rate: requests a second of one client; 0: any number.
        watch: seconds between two looks whether the folder of a model was replaced; 0: never.
        cache: ``"memory"``, ``"off"``, or the URL of a Redis.
        cache_secret: seals what is in a Redis against others who can write there; the same for
            all services that share it.
        review: URL of the database that keeps answers for review; ``None``: nothing is kept.
        keep_images: folder for the images of answers that are kept; ``None``: none are kept.
        keep_days: days after which kept images are deleted; ``None``: never. Cases and labels stay.
        drift: watch for images unlike those that the model knows.
        grace: seconds that accepted requests may take when the service ends.
        hang: seconds of one batch after which the service says that it is not alive.

    Raises:
        OptionError: a setting outside its rule.
    """

    models: tuple[str, ...] = ("bundled",)
    shadows: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    allow_hosts: tuple[str, ...] = ()
    api_keys: Path | None = None
    backend: str = "auto"
    device: str = "auto"
    max_batch: int = 16
    max_wait: float = 0.0
    queue: int = 64
    deadline: float = 10.0
    max_body_mb: int = 32
    max_images: int = 32
    max_pixels: int = 40_000_000
    rate: float = 0.0
    watch: float = 0.0
    cache: str = "memory"
    cache_secret: str = field(default="", repr=False)
    review: str | None = None
    keep_images: Path | None = None
    keep_days: float | None = None
    drift: bool = True
    grace: float = 20.0
    hang: float = 120.0

    def __post_init__(self) -> None:
        plain_fields(self)
        for name in ("max_batch", "queue", "max_body_mb", "max_images", "max_pixels"):
            whole(name, getattr(self, name))
        whole("port", self.port, 0)
        for name in ("max_wait", "rate", "grace", "watch"):
            _check(self, name, 0)
        for name in ("deadline", "hang"):
            _check(self, name, 0.001)
        check_flags(drift=self.drift)
        if not self.models:
            raise OptionError("models must name at least one model, got none.")
        if self.keep_images is not None and self.review is None:
            raise OptionError("keep_images needs review, the database of what is kept, got none.")
        if self.keep_days is not None and self.keep_images is None:
            raise OptionError("keep_days needs keep_images, the folder of images, got none.")
        if self.max_images > self.queue:
            raise OptionError(
                f"queue must be >= max_images, or a whole request never fits, got {self.queue} "
                f"and {self.max_images}."
            )

    @property
    def max_body(self) -> int:
        """Bytes of a request."""
        return self.max_body_mb * MIB


def _check(settings: ServiceSettings, name: str, least: float) -> None:
    value: Any = getattr(settings, name)
    if type(value) not in (int, float) or not math.isfinite(value) or value < least:
        raise OptionError(f"{name} must be a number >= {least:g}, got {value!r}.")
