"""Errors of a call and its surroundings: arguments, names, memory, what is to be written."""

from skinxai.errors.root import SkinxaiError


class OutputError(SkinxaiError):
    """A result that cannot be written where it was asked for."""

    code = "output"


class PartsError(OutputError):
    """Parts of answers that are missing, damaged, there twice, or of another run."""

    code = "parts"


class OptionError(SkinxaiError, ValueError):
    """An argument outside its rule."""

    code = "option"


class UnknownNameError(SkinxaiError, LookupError):
    """A name that no registry, label set or model has."""

    code = "unknown_name"


class OutOfMemoryError(SkinxaiError):
    """No memory even for the smallest part of a batch."""

    code = "out_of_memory"
