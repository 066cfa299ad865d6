"""`load_folder`: one folder of images for each class, with or without folders of parts."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from skinxai.data.cleaning import alike, clean, path_id, path_text
from skinxai.data.hints import Remedy, table_remedy, tables_in
from skinxai.data.loading import Root, folder_of
from skinxai.data.masks import is_mask, is_mask_folder
from skinxai.data.records import PART, PART_NAMES, Record, Records
from skinxai.disk.regular_files import is_file
from skinxai.errors import DatasetError, DatasetLabelError
from skinxai.images.listing import OWN, LeftOut, image_files, is_hidden
from skinxai.labels import HAM10000_LABELS, LabelSet
from skinxai.model_folders.parts import MANIFEST
from skinxai.plain_text import MAX_CODE, agreeing, broken_rule, counted, quoted

_OTHERS: Remedy = {
    "python": "pass a folder that has them, or read a table of images with load_csv(csv, images)",
    "command": "give a folder that has them, or a CSV table of images",
}
_PICTURES = re.compile(r"(?i)(images?|imgs?|pictures?|pics?|photos?|photographs?|jpe?gs?|pngs?)")
_NUMBERED = re.compile(
    r"(?i)(.*[ _-])?(folds?|cv|batch|(sub|data)?sets?|splits?|parts?|chunks?|shards?)[ _-]?\d+"
)
_LESIONS = frozenset(
    {*HAM10000_LABELS, *HAM10000_LABELS.names.values(), "benign", "malignant", "nevus", "naevus",
     "nevi", "melanocytic nevi", "mole", "scc", "squamous cell carcinoma", "seborrheic keratosis",
     "actinic keratosis", "lentigo", "cancer", "healthy", "normal"}
)  # fmt: skip


@dataclass
class _Class:
    """One folder of a class."""

    name: str
    path: Path
    part: str
    files: list[Path] = field(default_factory=list)
    left: LeftOut = field(default_factory=lambda: LeftOut(""))

    @property
    def inner(self) -> Counter[str]:
        """Images in each of its own subfolders; ``""`` are those in the folder itself."""
        below = (path.relative_to(self.path).parts for path in self.files)
        return Counter(parts[0] if len(parts) > 1 else "" for parts in below)


def load_folder(root: Root, *, labels: LabelSet | Sequence[str] | None = None) -> Records:
    """Read one subfolder for each class, named by its label code.

    Each image counts as its own lesion.

    Folders ``train``, ``val`` and ``test`` (also ``training``, ``valid``, ``validation`` and
    ``testing``, in any case) above the class folders, or below each of them, are not classes: they
    are read as the attribute ``part``, and `given_split` returns that split.

    Args:
        root: the folder.
        labels: label codes in logit order; ``None`` sorts the subfolders' names. For the
            validation images of another folder pass the training images' ``labels``. A folder
            whose name is one of these labels is always a class.

    Raises:
        DatasetError: if there is no folder, fewer than two classes, a class without a readable
            kind of file, a subfolder that is not a label, folders that are not classes, such
            as ``images`` and ``masks``, or ``fold1`` and ``fold2`` with the same folders in each,
            or masks among the images of the classes.
    """
    root = folder_of(root)
    labels = None if labels is None else LabelSet.of(labels)
    declared = frozenset(labels or ())
    left = LeftOut(os.path.join(str(root), ""))  # noqa: PTH118
    classes, loose = _class_folders(root, declared, left)
    _check_read(classes, root)
    classes = [each for each in classes if each.files]
    if not classes:
        tables, is_model = tables_in(root), is_file(root / MANIFEST)
        raise DatasetError(
            f"{str(root)!r} must hold one subfolder of images for each class, but it "
            f"{'is a model folder' if is_model else 'has no image in any subfolder'}",
            **((table_remedy(tables[0], root) if tables else None) or _OTHERS),
        )
    _check_names(classes, root, declared)
    _check_masks(classes, root)
    notes = ["the images have no lesion ids: each is counted as its own lesion"]
    if labels is None:
        if len({each.name for each in classes}) < 2:
            raise DatasetError(
                f"{str(root)!r} must hold one subfolder of images for each of at least two "
                f"classes, found {sorted({each.name for each in classes})}."
            )
        labels = LabelSet(tuple(sorted({each.name for each in classes})))
        notes.append("no label order was declared: labels are sorted")
    if unknown := sorted({each.name for each in classes} - set(labels)):
        raise DatasetLabelError(
            f"subfolders of {str(root)!r} must be named by labels {list(labels)}, got {unknown}."
        )
    items = _records(classes, root)
    if parts := Counter(item.attributes[PART] for item in items if PART in item.attributes):
        counts = ", ".join(f"{part} {parts[part]}" for part in ("train", "val", "test"))
        notes.append(
            f"the folders of parts were read as a split, not as classes: {counts} "
            f"{agreeing(sum(parts.values()), 'image', 'images')}"
        )
    if any(len(each.inner) > 1 for each in classes):
        count = sum(len(set(each.inner) - {""}) for each in classes)
        notes.append(
            f"{counted(count, 'folder')} below those of the classes "
            f"{agreeing(count, 'counts', 'count')} neither as lesions nor as patients, so that a "
            f"split may tear images apart; if folders are some, give a table that names them"
        )
    if loose:
        lie, were = agreeing(loose, "lies", "lie"), agreeing(loose, "was", "were")
        notes.append(f"{counted(loose, 'image')} {lie} in no folder of a class and {were} left out")
    if left:
        notes.append(left.note)
    return Records(tuple(items), labels, notes=tuple(notes))


def _class_folders(root: Path, declared: frozenset[str], left: LeftOut) -> tuple[list[_Class], int]:
    """The folders of classes with their files, and how many images lie beside them."""
    tops = _folders(root)
    parts = {p: PART_NAMES[p.name.lower()] for p in tops
             if p.name.lower() in PART_NAMES and p.name not in declared}  # fmt: skip
    others = [path for path in tops if path not in parts]
    if parts:
        if beside := [p.name for p in others if any(image_files(str(p), LeftOut("")))]:
            raise DatasetError(
                f"{str(root)!r} must hold either folders of parts or folders of classes, but it "
                f"has the parts {_names(parts)} beside {_names(beside)}; move one or the other "
                f"away."
            )
        classes = [(top, part) for base, part in parts.items() for top in _folders(base)]
    else:
        classes = [(top, "") for top in tops]
    found = []
    for path, part in classes:
        each = _Class(clean(path_text(path.name)), path, part)
        each.files = [Path(name) for name in image_files(str(path), each.left)]
        found.append(each)
        left.add(each.left)
    loose = sum(
        1
        for base in (root, *parts)
        for path in sorted(base.iterdir())
        if path.is_file() and left.is_read(str(path))
    )
    if parts and loose and not any(each.files for each in found):
        raise DatasetError(
            f"the parts {_names(parts)} of {str(root)!r} must hold one folder of images for each "
            f"class, but they hold {counted(loose, 'image')} in no folder; read them with a table "
            f"and load_csv."
        )
    return (found if parts else _parts_below(found)), loose


def _parts_below(classes: list[_Class]) -> list[_Class]:
    """Split each class by the folders of parts below it, if there are any."""
    full = [each for each in classes if each.files]
    named = [name.lower() in PART_NAMES for each in full for name in each.inner]
    if any(named) and not all(named):
        raise DatasetError(
            "class folders must hold either folders of parts (train, val, test) alone or none, but "
            f"they hold {sorted({name or 'images' for each in full for name in each.inner})}; "
            f"move what belongs to no part elsewhere."
        )
    if not named or not all(named):
        return classes
    return [
        _Class(each.name, path, part, [file for file in each.files if path in file.parents])
        for each in full
        for path in _folders(each.path)
        if (part := PART_NAMES.get(path.name.lower()))
    ]


def _records(classes: Sequence[_Class], root: Path) -> list[Record]:
    attributes: Mapping[str, str]
    items = []
    for each in classes:
        attributes = {PART: each.part} if each.part else {}
        items += [
            Record(path_id(str(path.relative_to(root))), path, each.name, attributes=attributes)
            for path in each.files
        ]
    return sorted(items, key=lambda item: item.path)


def _check_read(classes: Sequence[_Class], root: Path) -> None:
    """Refuse a folder whose files are all of kinds that are not read."""
    for each in classes:
        kinds = each.left.kinds - Counter({OWN: each.left.kinds[OWN]})
        if kinds and not each.files:
            raise DatasetError(
                f"folder {each.path.relative_to(root).as_posix()!r} of {str(root)!r} must hold "
                f"images that are read, but it holds {each.left.all_kinds()}; convert them, or "
                f"move the folder away."
            )


def _check_names(classes: Sequence[_Class], root: Path, declared: frozenset[str]) -> None:
    """Refuse folders that are not classes, and labels that differ by blanks, case or zeros."""
    for each in classes:
        if broken := broken_rule(f"a folder's name in {str(root)!r}", each.name, MAX_CODE):
            raise DatasetLabelError(f"{broken} It is a label; rename the folder.")
    raw = {each.path.name for each in classes}
    if same := alike(map(path_id, raw)):
        raise DatasetLabelError(
            f"folders of {str(root)!r} must not differ by blanks, case or zeros alone: "
            f"{' and '.join(map(repr, same[0]))} do; rename one of them, or join them."
        )
    names = sorted(raw - declared)
    odd = [name for name in names if _PICTURES.fullmatch(name) or is_mask_folder(name)]
    if odd:
        _refuse(classes, root, f"{_names(odd)} of {str(root)!r} name kinds of files, not classes")
    if names and all(_NUMBERED.fullmatch(name) for name in names):
        _refuse(
            classes, root, f"{_names(names)} of {str(root)!r} are numbered folders, not classes"
        )
    inner = {each.path: set(each.inner) for each in classes}
    union = set().union(*inner.values())
    if len(names) < 2 or "" in union or len(union) < 2 or all(map(_is_lesion, names)):
        return
    shared = all(len(own) >= max(2, len(union) / 2) for own in inner.values())
    if shared or all(map(_is_lesion, union)):
        _refuse(
            classes,
            root,
            f"folders {_names(names)} of {str(root)!r} hold the same folders, so it is not "
            f"clear which of them are the classes",
        )


def _check_masks(classes: Sequence[_Class], root: Path) -> None:
    """Refuse masks beside photographs: they would be learnt as images of the class."""
    files = [(file, each.path) for each in classes for file in each.files]
    masks = [file.relative_to(root).as_posix() for file, own in files if is_mask(file, own)]
    if 0 < len(masks) < len(files):
        raise DatasetError(
            f"the class folders of {str(root)!r} must hold photographs alone, but the names of "
            f"{len(masks)} of {len(files)} images say that they are masks, {quoted(masks[0])} "
            f"first; move masks away, and rename what is a photograph."
        )


def _refuse(classes: Sequence[_Class], root: Path, why: str) -> NoReturn:
    below = sorted({name for each in classes for name in each.inner if name})
    if not below:
        raise DatasetError(f"{why}; there is no folder in them: name the labels with a table.")
    one = classes[0].path
    upper = sorted({each.path.name for each in classes})
    raise DatasetError(
        f"{why}; one level down are {_names(below)}",
        python=f"if those are the classes, read load_folder({str(one)!r}), or put all folders of a "
        f"class together; if not, pass labels={upper}",
        command=f"if those are the classes, give {one} alone, or put all folders of a class "
        f"together; if not, give a table of the images and their labels",
    )


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not is_hidden(p.name))


def _is_lesion(name: str) -> bool:
    return name.lower().replace("_", " ").strip() in _LESIONS


def _names(found: Iterable[str | Path]) -> str:
    """Up to six names for a message; a path is named by its last part."""
    names = [each.name if isinstance(each, Path) else each for each in found]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(map(quoted, names[:6])) + more
