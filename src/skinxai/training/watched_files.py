"""`WatchedFiles`: whether the image files of a run still hold what it hashed when it began."""

import os
from collections.abc import Iterable, Mapping

from skinxai.data.hashing import pixel_hashes
from skinxai.data.records import Record, Records
from skinxai.images.limits import MAX_PIXELS

State = tuple[int, int, int, int]


class WatchedFiles:
    """The state of each image file, noted before it is hashed, and then its hash.

    A file whose state has changed is read and compared with its hash: a copy or a backup of the
    same image is none the worse. Of files in a tar it is enough that a tar that has changed is not
    read any more.

    Args:
        records: images, of all parts.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._states = {item.image_id: _state(item) for item in records}
        self.hashes: Mapping[str, str | None] = {}
        """Id of each image → the beginning of its `skinxai.data.pixel_hash`; ``None``: unread."""

    def exchanged(self, records: Records, max_pixels: int = MAX_PIXELS) -> list[Record]:
        """Those whose files hold another image now; a file that cannot be read is none."""
        states = {item.image_id: _state(item) for item in records}
        changed = [name for name, now in states.items() if now not in (None, self._states[name])]
        if not changed:
            return []
        some = records.subset(changed)
        found = []
        for item, now in zip(some, pixel_hashes(some, cached=False, max_pixels=max_pixels),
                             strict=True):  # fmt: skip
            if not isinstance(now, str):
                continue
            if now.startswith(self.hashes[item.image_id] or "-"):
                self._states[item.image_id] = states[item.image_id]
            else:
                found.append(item)
        return found


def _state(item: Record) -> State | None:
    """What differs of a file that was written or exchanged; ``None`` of one that is not there."""
    try:
        found = os.stat(item.path)  # noqa: PTH116  (a third of the time)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
