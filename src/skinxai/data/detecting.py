"""`open_records`: choose the loader that fits a path, for the command line."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from skinxai.data.class_folders import load_folder
from skinxai.data.loading import load_csv
from skinxai.data.prepared import is_prepared, load_prepared
from skinxai.data.published import find_published, load_ham10000
from skinxai.data.records import Records
from skinxai.data.tar_shards import is_shards, load_shards
from skinxai.disk.regular_files import is_file, is_folder
from skinxai.errors import DatasetError, OptionError


def open_records(
    data: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    label_map: Mapping[str, str] | None = None,
    delimiter: str = ",",
) -> Records:
    """Read labelled images with the loader of their form, such as `load_csv` or `load_shards`.

    The data are a table (then ``images`` is its folder, by default its own), a prepared folder, a
    folder of shards, a folder with HAM10000, or a folder with one subfolder for each class. The
    other arguments are those of `load_csv`.

    Raises:
        OptionError: if arguments that only a table takes are given without one, or labels are
            given for a prepared folder or shards with an index.
        IntegrityError: if a prepared folder or shards are damaged.
        DatasetError: if the data cannot be used.
    """
    path = Path(data)
    if is_file(path):
        return load_csv(
            path,
            images if images is not None else path.parent,
            columns=columns,
            labels=labels,
            label_map=label_map,
            delimiter=delimiter,
        )
    if not is_folder(path):
        raise DatasetError(
            f"root must be a folder or a CSV table, found none at {str(path)!r}; check the path."
        )
    if images is not None or columns or label_map:
        raise OptionError(
            f"images, columns and label maps go with a table, but {str(path)!r} is not one",
            python="pass the CSV file",
            command="give the CSV file in its place, or leave --images and the like out",
        )
    if is_shards(path):
        return load_shards(path, labels=labels)
    if is_prepared(path):
        if labels is not None:
            raise OptionError(
                f"labels must be left out for a prepared folder; {str(path)!r} has its own."
            )
        return load_prepared(path)
    if find_published(path) is not None:
        return load_ham10000(path)
    return load_folder(path, labels=labels)
