"""Odd values in the place of those of a JSON tree."""

import json
import re
from pathlib import Path
from random import Random
from typing import Any

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 9, 10**6, 10**9, -(2**31), 2**53, 2**63, 10**30, 10**400,
    0.5, -0.5, 1e300, 1e-320, float("nan"), float("inf"),
    "", "x", "\0", "\ud800", "a\nb", "\x1b[2K", "../x",
    "é" * 9, "x" * 5000, "1", "NaN", [], {}, [None], [[]], {"a": 1}, {"": {}}, [0] * 1000,
    "@RAW:1e400@", "@RAW:-1e999@", "@RAW:" + "9" * 5000 + "@", "@RAW:" + "[" * 5000 + "@",
    "@RAW:" + '{"a":' * 3000 + "1" + "}" * 3000 + "@", "timm/vit_giant_patch14_224",
    "timm/resnet18", "tf_efficientnet_lite1", "imagenet", "/etc/passwd", "colours",
]  # fmt: skip


def dumped(value: Any) -> bytes:
    """JSON with all that JSON does not have."""
    text = json.dumps(value)
    return re.sub(r'"@RAW:(.*?)@"', lambda m: json.loads(f'"{m[1]}"'), text).encode()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, below in items:
        found += places(below, (*path, key))
    return found


def changed(tree: Any, draws: Random) -> tuple[Any, str]:
    """A JSON tree with one change, and where it is."""
    tree = json.loads(json.dumps(tree))
    path = draws.choice(places(tree)[1:] or [()])
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    where = "/".join(map(str, path))
    if not path:
        return draws.choice(ODD), "root"
    how = draws.randrange(10)
    if how == 0:
        del parent[path[-1]]
    elif how == 1 and isinstance(parent, dict):
        parent[draws.choice(["unknown", "", "\0", "\ud800", "_target_", "x" * 300])] = draws.choice(
            ODD
        )
    elif how == 2 and isinstance(parent, list):
        parent.append(draws.choice([*parent, *ODD]))
    elif how == 3 and isinstance(parent[path[-1]], int | float):
        parent[path[-1]] = parent[path[-1]] * draws.choice([-1, 10, 1000, 10**12]) + 1
    elif how == 4 and isinstance(parent[path[-1]], str):
        parent[path[-1]] = parent[path[-1]][: draws.randrange(9)] + draws.choice(
            ["", "\0", "z", "\u202e"]
        )
    elif how == 5:
        parent[path[-1]] = [parent[path[-1]]]
    elif how == 6:
        parent[path[-1]] = {"value": parent[path[-1]]}
    else:
        parent[path[-1]] = draws.choice(ODD)
    return tree, where


def change_json(path: Path, draws: Random) -> str:
    tree, where = changed(json.loads(path.read_bytes()), draws)
    data = dumped(tree)
    if draws.random() < 0.03:
        data = draws.choice(
            [data[: len(data) // 2], b"\xef\xbb\xbf" + data, data.decode().encode("utf-16"), b""]
        )
    path.write_bytes(data)
    return f"{path.name} {where}"
