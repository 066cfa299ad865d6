"""Sentences of errors in the words of the command line: options and values as they are typed."""

import re
from collections.abc import Mapping

_QUOTED = re.compile(r"(?<!\w)('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")(?!\w)")
_VALUE = re.compile(r"(?<![.!?] )(?<!=)(?<!^)\b(None|True|False)\b(?! of)")
_ITEM = r"(?:\0\d+\0|None|True|False)"  # the first: what was quoted there
_LIST = re.compile(rf"(?<!\w)(?:\[({_ITEM}(?:, {_ITEM})*)\]|\(({_ITEM}(?:, {_ITEM})*),?\))")
_SIZE = re.compile(r"\bgot \((\d+), (\d+)\)")
_SAME = {
    "model": ("init_weights",),
    "root": ("data",),
    "records": ("data",),
    "repo_id": ("repo",),
    "output_dir": ("out",),
    "folder": ("out",),
    "path": ("out",),
    "size": ("image_size",),
    "image_size": ("size",),
    "columns": ("column",),
    "label_map": ("label",),
}
"""Arguments of functions whose option has another name."""


def as_typed(sentence: str, options: Mapping[str, str]) -> str:
    """A sentence whose arguments of Python are this command's options.

    A word in quotation marks is what a user wrote, and stays. Outside of them a name with an
    underscore can only be an argument; one without may be an ordinary word, and is an argument
    where the sentence begins with it and says what it must be.

    Args:
        sentence: of an error.
        options: names of the command's parameters → how they are typed.

    Returns:
        E.g. ``"--init-weights must be none or 'imagenet', got 'imagenett'."``
    """
    known = {old: options[new] for old, names in _SAME.items() for new in names if new in options}
    known |= options
    first, _, rest = sentence.partition(" ")
    if first in known and rest.startswith(("must ", "goes with ")):
        sentence = f"{known[first]} {rest}"
    quoted = _QUOTED.findall(sentence := sentence.replace("\0", r"\x00"))
    places = iter(range(len(quoted)))
    sentence = _QUOTED.sub(lambda _: f"\0{next(places)}\0", sentence)
    sentence = _LIST.sub(lambda match: match[1] or match[2], sentence)
    sentence = _SIZE.sub(r"got \1x\2", sentence).replace("(height, width)", "HEIGHTxWIDTH")
    own = "|".join(name for name in known if "_" in name) or "(?!)"
    argument = re.compile(rf"(?<![\w./-])({own})(?!\w|\.\w|[(=/])")
    sentence = argument.sub(lambda match: known[match[1]], sentence)
    sentence = _VALUE.sub(lambda match: match[1].lower(), sentence)
    return re.sub(r"\0(\d+)\0", lambda match: quoted[int(match[1])], sentence)
