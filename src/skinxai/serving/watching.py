"""`Watch`: reloads models whose folders were replaced."""

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from skinxai.errors import SkinxaiError
from skinxai.serving.fleet import Fleet

logger = logging.getLogger("skinxai.serving.watching")

State = tuple[tuple[str, int, int, int], ...]


class Watch:
    """Looks at the folders of a fleet's models, in a thread of its own.

    A folder is loaded again when it has changed and then stayed the same for one look, so that a
    slow copy is seldom tried half. What is refused is logged, and tried again after a next change.

    Args:
        fleet: the models.
        seconds: between two looks, > 0.
        loaded: states of folders before the fleet loaded them; what changed since then is noticed.
    """

    def __init__(
        self, fleet: Fleet, seconds: float, loaded: Mapping[Path, State] | None = None
    ) -> None:
        self._fleet, self._seconds = fleet, seconds
        self._known: dict[str, State] = {}
        self._last: dict[str, State] = {}
        for name, folder in self._folders():
            self._last[name] = state_of(folder)
            self._known[name] = (loaded or {}).get(folder, self._last[name])
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="skinxai-watch", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Look at each folder once."""
        for name, folder in self._folders():
            state, before = state_of(folder), self._last.get(name)
            self._last[name] = state
            if state == before and state != self._known.get(name):
                self._known[name] = state
                reload(self._fleet, name)

    def close(self) -> None:
        """Look no longer."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self.look()
            except Exception:  # else no change would ever be noticed again
                logger.exception("the folders of the models could not be looked at")

    def _folders(self) -> list[tuple[str, Path]]:
        running = [*self._fleet.live, *self._fleet.shadows]
        found = [(each.name, each.member.folder) for each in running]  # one may go meanwhile
        return [(name, folder) for name, folder in found if folder is not None]


def reload(fleet: Fleet, name: str) -> bool:
    """Reload a model, log how that went, and return whether it was exchanged."""
    try:
        new = fleet.reload(name)
    except SkinxaiError as error:
        logger.error("model %s goes on as it is: %s (%s)", name, error.on_command_line, error.code)
        return False
    except Exception:
        logger.exception("model %s goes on as it is", name)
        return False
    logger.info("model %s answers as %s", name, new.model)
    return True


def state_of(folder: Path) -> State:
    """What tells whether a folder was changed: of each file its name, time, size and number."""
    found = []
    for place, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(place, name)
            try:
                seen = path.stat()
            except OSError:  # it went meanwhile
                continue
            relative = str(path.relative_to(folder))
            found.append((relative, seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return tuple(sorted(found))
