"""Forged texts and constants of OpenVINO's XML."""

import json
import re
from pathlib import Path
from random import Random

import onnx
from forging.binaries import varint
from forging.values import changed, dumped

CONSTANT = re.compile(r'<data element_type="(\w+)" shape="([^"]*)" offset="(\d+)" size="(\d+)"')


def changed_constants(text: str, weights: bytes, draws: Random) -> tuple[str, bytes, str]:
    """OpenVINO's XML and weights, where a constant is another, or elsewhere."""
    found = list(CONSTANT.finditer(text))
    own, other = draws.choice(found), draws.choice(found)
    how = draws.randrange(6)
    if how == 0:  # its bytes are another's
        new = f'<data element_type="{own[1]}" shape="{own[2]}" offset="{other[3]}" size="{own[4]}"'
        return text[: own.start()] + new + text[own.end() :], weights, "xml offset"
    if how == 1:  # it is another as a whole
        return text[: own.start()] + other[0] + text[own.end() :], weights, "xml constant"
    if how == 2:
        kind = draws.choice(["f32", "i64", "i32", "u8", "boolean", "u4", "string", "undefined"])
        new = own[0].replace(f'"{own[1]}"', f'"{kind}"')
        return text[: own.start()] + new + text[own.end() :], weights, "xml type"
    if how == 3:
        edges = re.findall(r"<edge [^>]*>", text)
        one, two = draws.choice(edges), draws.choice(edges)
        source = re.search(r'from-layer="\d+" from-port="\d+"', two)[0]
        new = re.sub(r'from-layer="\d+" from-port="\d+"', source, one)
        return text.replace(one, new), weights, "xml edge"
    if how == 4 and draws.random() < 0.2:
        last = max(found, key=lambda each: int(each[3]))
        size = len(weights) + 2**31 - 2**24 - int(last[3])
        new = f'<data element_type="u8" shape="{size}" offset="{last[3]}" size="{size}"'
        rest = text[last.end() :]
        if draws.random() < 0.5:  # its output says so as well
            dims = re.compile(r"(<port [^>]*>)(\s*<dim>\d+</dim>)*")
            rest = dims.sub(rf"\g<1><dim>{size}</dim>", rest, count=1)
        return text[: last.start()] + new + rest, weights, "xml a huge constant"
    whole = [each for each in found if each[1] == "i64"]
    own = draws.choice(whole)
    at = int(own[3]) + 8 * draws.randrange(max(1, int(own[4]) // 8))
    value = draws.choice([0, 0, 0, -1, 1, 2, 7, 4096, -(2**63), 2**63 - 1])
    weights = weights[:at] + value.to_bytes(8, "little", signed=True) + weights[at + 8 :]
    return text, weights, "xml value of a constant"


def with_huge_constant(path: Path) -> str:
    """An ONNX file with another constant, of two gigabytes without a byte on the disk."""
    size = 2**31 - 2**26
    tensor = onnx.TensorProto(dims=[size // 4], data_type=1, name="forged")
    head = tensor.SerializeToString() + b"\x4a" + varint(size)
    inner = b"\x2a" + varint(len(head) + size) + head
    with path.open("ab") as file:  # a second part of the graph is joined to the first
        file.write(b"\x3a" + varint(len(inner) + size) + inner)
        file.truncate(file.tell() + size)
    return "graph a huge constant"


def change_text(text: str, draws: Random) -> str:
    try:
        return dumped(changed(json.loads(text), draws)[0]).decode("utf-8", "replace")
    except ValueError:
        return draws.choice(["", "x", text[:-1], text * 2, "\x1b[2K"])
