"""Model folders as verified bytes.

Which files there are is in `skinxai.model_folders.parts`. An ensemble's folder lists no weights:
`skinxai.model_folders.ensembles` finds its members. Needs no torch.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from skinxai.configs import EnsembleConfig, ModelConfig, strict_json
from skinxai.disk.regular_files import is_file, is_folder
from skinxai.disk.staging import present, write_together
from skinxai.errors import (
    IntegrityError,
    ModelConfigError,
    ModelNotFoundError,
    SkinxaiWarning,
    UnsafeFormatError,
)
from skinxai.model_folders.folder_manifest import manifest_file, parse_manifest
from skinxai.model_folders.part_bytes import MAX_FOLDER_BYTES, read_part
from skinxai.model_folders.parts import CONFIG, MANIFEST, WEIGHTS, in_order, warns

PICKLES = (".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth")
EXPORTED = {".onnx": "onnx", ".xml": "openvino"}
"""Suffix of an exported file → the runtime that it is for, in `RUNNERS`."""
UNSAVED = "unsaved"
"""Revision of a model that answers as no folder does."""
_POINTER = b"version https://git-lfs.github.com/spec/"
"""Begins what git leaves in the place of a large file where Git LFS is not installed."""
BUNDLED = Path(__file__).parents[1] / "bundled"
Fits = Callable[[bytes, Path, Mapping[str, Any]], None]
"""Takes ``config.json``, the folder and the header of weights; raises if they do not fit."""
Config = TypeVar("Config", ModelConfig, EnsembleConfig)


@dataclass(frozen=True)
class ModelFiles:
    """A model folder's files, each already checked against the manifest.

    Args:
        folder: folder that they were read from.
        files: name → bytes; exactly what was hashed.
        digest: sha256 of the manifest's content.
        members: members of an ensemble that exists only in memory (`open_models`).
        fits: as in `read_model_folder`, for members that are read later.
    """

    folder: Path
    files: Mapping[str, bytes]
    digest: str
    members: tuple["ModelFiles", ...] = ()
    fits: Fits | None = field(default=None, compare=False, repr=False)

    @property
    def is_ensemble(self) -> bool:
        """Whether the folder lists members' folders instead of weights of its own."""
        return WEIGHTS not in self.files

    @property
    def revision(self) -> str:
        """First twelve hexadecimal digits of the manifest's digest."""
        return self.digest[:12]


def weights_digest(weights: Iterable[bytes], shares: Iterable[float] | None = None) -> str:
    """sha256 of a weights file; of an ensemble, of a line for each member: share, its own sha256.

    What a folder holds besides the weights may change without another answer. A single model has no
    shares.
    """
    digests = [hashlib.sha256(data).hexdigest() for data in weights]
    if shares is None:
        return digests[0]
    lines = [f"{share!r} {own}\n" for share, own in zip(shares, digests, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_model_folder(
    folder: Path, *, revision: str | None = None, fits: Fits | None = None
) -> ModelFiles:
    """Read every file that the manifest lists and check each against its sha256.

    A changed model card gives a warning; any other changed file is refused before it is parsed. A
    folder that is overwritten meanwhile is read again, so that all files are of one model.

    Args:
        folder: a model folder.
        revision: the beginning of the manifest's digest, at least seven digits.
        fits: function that compares the header of weights of more than `HUGE` bytes with the
            config before they are read.

    Raises:
        ModelNotFoundError: if there is neither a manifest nor weights.
        UnsafeFormatError: if there are only pickled weights.
        IntegrityError: if a file is missing, truncated or changed, or the manifest is damaged.
    """
    path = folder / MANIFEST
    if not is_file(present(path)) and not is_file(path):  # else moved there meanwhile
        if not is_file(folder / WEIGHTS) and (found := _pickles(folder)):
            raise UnsafeFormatError(
                f"model folder {str(folder)!r} must hold {WEIGHTS}, found {found[0]!r}; pickled "
                f"weights can run code and are never opened."
            )
        raise ModelNotFoundError(
            f"model folder {str(folder)!r} must hold {MANIFEST}, found "
            f"{'none' if is_folder(folder) else 'no such folder'}",
            python="write the folder with save_pretrained()",
            command="name a folder that 'skinxai train', 'import' or 'pull' wrote",
        )
    state = _state(path)
    manifest = read_part(path)
    listed, digest = parse_manifest(manifest, folder)
    if pickled := [name for name in listed if Path(name).suffix.lower() in PICKLES]:
        raise UnsafeFormatError(
            f"{MANIFEST} in {str(folder)!r} must list only *.json, *.safetensors and the card, but "
            f"it lists {pickled[0]!r}; save the model again."
        )
    if revision is not None and (len(revision) < 7 or not digest.startswith(revision)):
        raise IntegrityError(
            f"revision of {str(folder)!r} must begin with {revision!r} (at least 7 digits), "
            f"but it is {digest[:12]}."
        )
    files: dict[str, bytes] = {}
    left = MAX_FOLDER_BYTES
    for name in sorted(listed, key=lambda name: name != CONFIG):
        expected = listed[name]
        look = partial(fits, files[CONFIG], folder) if fits and name == WEIGHTS else None
        try:
            data = read_part(folder / name, left, look)
        except IntegrityError:
            if read_part(path) == manifest and _state(path) == state:
                raise
            return read_model_folder(folder, revision=revision, fits=fits)
        if hashlib.sha256(data).hexdigest() != expected:
            again = hashlib.sha256(read_part(folder / name, left)).hexdigest()
            changed = read_part(path) != manifest or _state(path) != state
            if again == expected or changed:  # written meanwhile, even twice
                return read_model_folder(folder, revision=revision, fits=fits)
            if data.startswith(_POINTER):
                raise IntegrityError(
                    f"{name} in {str(folder)!r} must be the file itself, but it is a pointer of "
                    f"Git LFS; run 'git lfs pull' there, or fetch the model by 'skinxai pull'."
                )
            message = (
                f"{name} in {str(folder)!r} must have the sha256 that its manifest lists, "
                f"{expected[:12]}…, but it has another"
            )
            if not warns(name):
                raise IntegrityError(f"{message}; fetch or save the model again.")
            warnings.warn(f"{message}; the model itself is unchanged.", SkinxaiWarning, 3)
        left -= len(data)
        files[name] = data
    return ModelFiles(folder, files, digest, fits=fits)


def _state(path: Path) -> tuple[int, int, int] | None:
    """What differs of a manifest that was written anew, also with the same content."""
    try:
        found = present(path).stat()
    except OSError:  # moved meanwhile
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def read_config(files: ModelFiles, kind: type[Config]) -> Config:
    """Read the config of a model or of an ensemble from verified files.

    Raises:
        ModelConfigError: if it is not JSON, or breaks the schema of ``kind``.
    """
    return parse_config(files.files[CONFIG], files.folder, kind)


def parse_config(data: bytes, folder: Path, kind: type[Config]) -> Config:
    """Parse the bytes of ``config.json`` as `read_config` does."""
    try:
        return kind.from_dict(strict_json(data))
    except ModelConfigError as error:
        raise error.prefixed(f"{CONFIG} in {str(folder)!r}") from error
    except ValueError as error:
        raise ModelConfigError(f"{CONFIG} in {str(folder)!r} must be JSON: {error}") from error
    except TypeError as error:
        raise ModelConfigError(f"{CONFIG} in {str(folder)!r}: {error}") from error


def contents(folder: Path, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of every verified file of a model, or of an ensemble and its members.

    The manifest comes last, so that a folder that is not whole has none.
    """
    files = read_model_folder(folder)
    if files.is_ensemble:
        for member in read_config(files, EnsembleConfig).members:
            yield from contents(folder / member.folder, f"{prefix}{member.folder}/")
    for name, data in in_order(files.files).items():
        yield prefix + name, data
    yield prefix + MANIFEST, read_part(folder / MANIFEST)


def write_model_folder(folder: str | os.PathLike[str], files: Mapping[str, bytes]) -> str:
    """Write a model folder, and return the manifest's digest.

    The files are given without the manifest. An existing folder is replaced whole or not at all,
    but for its other files.
    """
    manifest, digest = manifest_file(files)
    write_together(folder, in_order({**files, MANIFEST: manifest}))
    return digest


def _pickles(folder: Path) -> list[str]:
    found = folder.iterdir() if is_folder(folder) else ()
    return sorted(path.name for path in found if path.suffix.lower() in PICKLES)
