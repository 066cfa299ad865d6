"""`ImageFolder`: images that are kept, each in a file named by its hash."""

from pathlib import Path

from skinxai.disk.regular_files import (
    check_path,
    is_file,
    is_folder,
    read_file,
)
from skinxai.disk.writing import write_atomic
from skinxai.errors import OutputError, StoreError, StoreFullError
from skinxai.images.limits import MAX_BYTES
from skinxai.review.cases import sha256
from skinxai.review.engines import is_full

MARK = "skinxai-review-images.txt"
"""File that names the store whose images lie beside it."""


class ImageFolder:
    """A folder of one store's images, which only its own user can open.

    Args:
        folder: made where it does not exist.
        store: number of the store.

    Raises:
        StoreError: another store's folder, one with other files, or one that cannot be written.
    """

    def __init__(self, folder: Path, store: str) -> None:
        self.folder = folder
        try:
            check_path(folder)
            if not is_folder(folder):
                folder.mkdir(mode=0o700, parents=True)
            if not is_file(folder / MARK):
                others = [p for p in folder.iterdir() if not p.name.startswith(".")]
                if not others:
                    write_atomic(folder / MARK, f"{store}\n".encode())
            found = "no store, but other files"
            if is_file(folder / MARK):
                found = read_file(folder / MARK, 1000).decode(errors="replace").strip()
        except OSError as error:
            raise StoreError(
                f"images of a review store must be a folder that can be written, got "
                f"{str(folder)!r}: {error.strerror}."
            ) from error
        if found != store:
            raise StoreError(
                f"images must be the folder of this review store, {store}, but {str(folder)!r} is "
                f"of {found!r:.80}; give the store's own folder, or a new one."
            )

    def path(self, digest: str) -> Path:
        """Of an image by its sha256."""
        return self.folder / digest[:2] / digest

    def write(self, digest: str, data: bytes) -> None:
        """Keep an image.

        Raises:
            StoreFullError: no room on the disk.
            StoreError: another reason why it cannot be written.
        """
        path = self.path(digest)
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_atomic(path, data)
        except (OSError, OutputError) as error:
            if is_full(error) or is_full(error.__cause__):
                raise StoreFullError(
                    f"the disk of the folder {str(self.folder)!r} is full: the image and its case "
                    f"were not kept; make room."
                ) from error
            raise StoreError(
                f"images must be a folder that can be written, got {str(self.folder)!r}: {error}"
            ) from error

    def read(self, digest: str) -> bytes | None:
        """An image's bytes; ``None`` where it is no longer there."""
        try:
            data = read_file(self.path(digest), MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"image {str(self.path(digest))!r} cannot be read: {error.strerror}."
            ) from error
        if sha256(data) != digest:
            raise StoreError(
                f"image {str(self.path(digest))!r} is damaged: its sha256 is not its name; restore "
                f"it from a copy, or delete it."
            )
        return data

    def delete(self, digest: str) -> bool:
        """Delete an image's file; whether there was one."""
        try:
            self.path(digest).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(
                f"image {str(self.path(digest))!r} cannot be deleted: {error.strerror}."
            ) from error
        return True
