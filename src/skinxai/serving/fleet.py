"""`Fleet`: the models of a service, side by side, each exchanged as a whole or not at all."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from skinxai.classifier import Classifier
from skinxai.errors import ModelConfigError, OptionError, UnknownNameError, did_you_mean
from skinxai.serving.routing import Router

_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
TRIAL = np.full((256, 256, 3), 128, np.uint8)
"""What each model is asked before it answers anybody."""

Load = Callable[[str], Classifier]
"""Loads a model by folder or name, as `Classifier.from_pretrained` does."""


class Worker(Protocol):
    """What answers with one loaded model, for as long as it is in use."""

    def close(self) -> object:
        """End, after everything that waits has been answered."""
        ...


@dataclass(frozen=True)
class Member:
    """A model as it was configured.

    Args:
        source: a folder, a name, or ``"bundled"``. What is a folder now stays one: where it is gone
            when the model is loaded again, no repository of its name is asked for.
        weight: of its share of the requests, > 0.
        shadow: it sees what the live models answer, and answers nobody.
        given: a model that is loaded already, under its own name.
    """

    source: str
    weight: float = 1.0
    shadow: bool = False
    given: Classifier | None = None

    def __post_init__(self) -> None:
        if (folder := self.folder) is not None:
            object.__setattr__(self, "source", str(folder.absolute()))

    @property
    def folder(self) -> Path | None:
        """The folder that it comes from, if it is one."""
        if self.given is not None or self.source == "bundled":
            return None
        return path if (path := Path(self.source)).is_dir() else None

    @property
    def role(self) -> str:
        """``"live"`` or ``"shadow"``."""
        return "shadow" if self.shadow else "live"


@dataclass(frozen=True, eq=False)
class Running:
    """A model as it was loaded. Its answers all come from the same files.

    Args:
        name: as it was configured, without a path. It stays where the model is exchanged.
        member: as it was configured.
        classifier: what answers.
        worker: what `Fleet`'s ``begin`` made for it.
    """

    name: str
    member: Member
    classifier: Classifier
    worker: Any

    @property
    def model(self) -> str:
        """``name@revision``, as its answers have it."""
        return self.classifier.model

    @property
    def revision(self) -> str:
        """The short digest of its files."""
        return self.classifier.model.rpartition("@")[2]


Changed = Callable[[Running, Running | None], object]
"""Is told of a model that answers from now on, and of the one in whose place."""


class Fleet:
    """The models of a service.

    A request takes a model once, by `lease`, and uses it for all of its images: a model that is
    exchanged meanwhile ends when the last of its requests is answered.

    Args:
        members: at least one that is no shadow; all with the same labels.
        load: loads a model.
        begin: makes the worker of a loaded model.
        changed: see `Changed`.

    Raises:
        OptionError: no live model, two of one name, or other labels.
        ModelError: a model that cannot be loaded.
    """

    def __init__(
        self,
        members: Sequence[Member],
        load: Load,
        begin: Callable[[str, Member, Classifier], Worker],
        changed: Changed = lambda new, old: None,
    ) -> None:
        self._load, self._begin, self._changed = load, begin, changed
        self._lock, self._reloading = threading.Condition(), threading.Lock()
        self._leases: dict[Running, int] = {}
        self._running: dict[str, Running] = {}
        if all(member.shadow for member in members):
            raise OptionError("model must be given at least once, got shadows alone.")
        loaded: list[tuple[str, Member, Classifier]] = []
        for member in members:
            classifier = _tried(member.given or load(member.source))
            name = _name(member, classifier)
            if any(name == other for other, _, _ in loaded):
                raise OptionError(
                    f"models must have different names, got {name!r} twice; give the folder "
                    f"another name, or a link to it."
                )
            if loaded and classifier.config.labels != loaded[0][2].config.labels:
                raise OptionError(
                    f"models must have the same labels, but {name!r} has "
                    f"{list(classifier.labels)} and {loaded[0][0]!r} {list(loaded[0][2].labels)}."
                )
            loaded.append((name, member, classifier))
        self._router = Router({n: m.weight for n, m, _ in loaded if not m.shadow})
        for name, member, classifier in loaded:
            self._start(name, member, classifier)

    @property
    def live(self) -> tuple[Running, ...]:
        """The models that answer."""
        with self._lock:
            return tuple(each for each in self._running.values() if not each.member.shadow)

    @property
    def shadows(self) -> tuple[Running, ...]:
        """The models that only see what others answer."""
        with self._lock:
            return tuple(each for each in self._running.values() if each.member.shadow)

    @contextmanager
    def lease(self, key: str = "", name: str | None = None) -> Iterator[Running]:
        """A model for one request, which is not ended as long as the context lasts.

        Args:
            key: requests of one key get the same model.
            name: of a live model, in the place of a key.

        Raises:
            UnknownNameError: no live model of that name.
        """
        with self._lock:
            running = self._running.get(self._router.choose(key) if name is None else name)
            if running is None or running.member.shadow:
                known = [each.name for each in self._running.values() if not each.member.shadow]
                raise UnknownNameError(
                    f"Unknown model {name!r}; the service has {known}.{did_you_mean(name, known)}"
                )
            self._leases[running] += 1
        try:
            yield running
        finally:
            with self._lock:
                self._leases[running] -= 1
                self._lock.notify_all()

    def reload(self, name: str) -> Running:
        """Load a model again, beside the one that answers, and put it in its place.

        It returns when the new model answers; the old one ends after its last request.

        Args:
            name: of a model or a shadow.

        Raises:
            UnknownNameError: no such model.
            ModelError: a folder that is damaged, torn, of other labels, or whose network does not
                answer. The old model goes on.
        """
        with self._reloading:
            with self._lock:
                old = self._running.get(name)
            if old is None:
                raise UnknownNameError(f"Unknown model {name!r}; there are {list(self._running)}.")
            classifier = _tried(old.member.given or self._load(old.member.source))
            if classifier.config.labels != old.classifier.config.labels:
                raise ModelConfigError(
                    f"{name!r} must keep its labels {list(old.classifier.labels)}, but the new "
                    f"model has {list(classifier.labels)}; start the service again to change them."
                )
            new = self._start(name, old.member, classifier)
        threading.Thread(target=self._end, args=(old,), name="skinxai-retired").start()
        return new

    def close(self) -> None:
        """End all models, each after its last request."""
        with self._lock:
            left = list(self._leases)
        for running in left:
            self._end(running)

    def _start(self, name: str, member: Member, classifier: Classifier) -> Running:
        new = Running(name, member, classifier, self._begin(name, member, classifier))
        with self._lock:
            old = self._running.get(name)
            self._leases[new] = 0
            self._running[name] = new
        self._changed(new, old)
        return new

    def _end(self, running: Running) -> None:
        with self._lock:
            self._lock.wait_for(lambda: not self._leases.get(running))
            known = self._leases.pop(running, None)
        if known is not None:
            running.worker.close()


def _tried(classifier: Classifier) -> Classifier:
    """The same, after its network answered once with finite numbers."""
    classifier.predict(TRIAL)
    return classifier


def _name(member: Member, classifier: Classifier) -> str:
    """A folder's or repository's own name; of others the model's."""
    if member.given is not None or member.source == "bundled":
        return classifier.model.partition("@")[0]
    last = Path(member.source).absolute().name.partition("@")[0]
    return _PLAIN.sub("-", last) or "model"
